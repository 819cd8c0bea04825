/**
 * Who we are: a cookie that no script can read. Where there is none, a guest's name is asked for. Only the name is
 * remembered here, never a token.
 */

import type { Credentials, Reason } from "../src/index.ts";

const REMEMBERED = "coscribe.name";
const FIRST = ["Bright", "Calm", "Curious", "Gentle", "Happy", "Keen", "Lively", "Quiet", "Swift", "Witty"];
const LAST = ["Badger", "Finch", "Fox", "Hare", "Heron", "Lynx", "Otter", "Owl", "Robin", "Seal"];

/** `knownBefore`: the server has let us in already, as somebody. */
export function identity(knownBefore: () => boolean): (reason: Reason) => Promise<Credentials | void> {
  let name = new URLSearchParams(location.search).get("name")?.trim() || null;
  return async (reason) => {
    if (reason !== "rejected") return;
    const newUser = knownBefore();
    if (name !== null && (await becomeGuest(name)) === null) return { newUser };
    name = await askName();
    return { newUser };
  };
}

/** Returns what is wrong, in words to show; null if all is well. */
async function becomeGuest(name: string): Promise<string | null> {
  const response = await fetch("/v1/auth/guest", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name }),
  });
  if (response.ok) return null;
  const problem: { detail?: unknown } = await response.json().catch(() => ({}));
  return typeof problem.detail === "string" ? problem.detail : `The server answered ${response.status}.`;
}

function askName(): Promise<string> {
  const dialog = document.getElementById("welcome") as HTMLDialogElement;
  const form = dialog.querySelector("form") as HTMLFormElement;
  const input = document.getElementById("name") as HTMLInputElement;
  const problem = document.getElementById("welcome-problem") as HTMLElement;
  input.value = remembered() ?? `${pick(FIRST)} ${pick(LAST)}`;
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  input.select();
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      const name = input.value.trim();
      problem.textContent = await becomeGuest(name).catch(() => "The server cannot be reached.");
      if (problem.textContent) return;
      remember(name);
      dialog.close();
      resolve(name);
    };
  });
}

function pick(words: string[]): string {
  return words[Math.floor(Math.random() * words.length)] as string;
}

/** Storage may be switched off. */
function remembered(): string | null {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}

function remember(name: string): void {
  try {
    localStorage.setItem(REMEMBERED, name);
  } catch {
    // then it is asked for again
  }
}
