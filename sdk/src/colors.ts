/** One colour a person, the same on every screen; each is readable under white text and on light and dark pages. */
const COLORS = [
  "#c2410c",
  "#a16207",
  "#4d7c0f",
  "#047857",
  "#0e7490",
  "#1d6fd1",
  "#4f5bd5",
  "#7c3aed",
  "#a21caf",
  "#be185d",
  "#b91c3c",
  "#57606a",
];

export function colorOf(userId: string): string {
  let hash = 2166136261;
  for (let at = 0; at < userId.length; at += 1) hash = Math.imul(hash ^ userId.charCodeAt(at), 16777619);
  return COLORS[(hash >>> 0) % COLORS.length] as string;
}
