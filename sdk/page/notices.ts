/** What needs words: edits that were refused, with their text to copy, and why a document was closed. */

import type { Delta } from "quill";

import type { CoscribeDocument, Parked } from "../src/index.ts";
import { copyText } from "./link.ts";

const REASONS: Record<string, string> = {
  fork: "The document went on without this edit.",
  forbidden: "You may not change this document any more.",
  too_large: "This edit is too large, and was taken back.",
};

export function showNotices(doc: CoscribeDocument): void {
  doc.on("parked", showParked);
  doc.on("closed", ({ message }) => show(`The connection is over: ${message}`, "Reload the page to try again."));
}

function showParked({ code, message, delta }: Parked): void {
  const text = insertedText(delta);
  const notice = show(
    REASONS[code] ?? `An edit was refused and taken back: ${message}`,
    text || "It held no new text.",
  );
  if (text) notice.append(button("Copy text", () => void copyText(text)));
}

function show(title: string, text: string): HTMLElement {
  const notice = document.createElement("section");
  notice.className = "notice";
  const [heading, body] = [document.createElement("strong"), document.createElement("p")];
  heading.textContent = title;
  body.textContent = text;
  notice.append(
    heading,
    body,
    button("Dismiss", () => notice.remove()),
  );
  document.getElementById("notices")?.append(notice);
  return notice;
}

function insertedText(delta: Delta): string {
  return delta.ops.map(({ insert }) => (typeof insert === "string" ? insert : "")).join("");
}

function button(label: string, act: () => void): HTMLElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.onclick = act;
  return made;
}
