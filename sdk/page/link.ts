/** The address of this document, to hand on. */

const SAID_FOR_MS = 1_600;

export function offerLink(): void {
  const button = document.getElementById("copy-link") as HTMLButtonElement;
  const label = button.querySelector("span") as HTMLElement;
  const text = label.textContent;
  button.onclick = async () => {
    const done = await copyText(location.origin + location.pathname);
    label.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (label.textContent = text), SAID_FOR_MS);
  };
}

/** Without TLS, off the loopback, browsers offer the old way alone. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
