/** The two questions of whoever writes: am I online, and is my text safe? */

import type { CoscribeDocument } from "../src/index.ts";

/** Shorter waits are not worth a word. */
const SAVING_AFTER_MS = 300;

const ENDINGS: Record<number, string> = {
  1000: "Closed",
  4401: "Not signed in",
  4403: "No access",
  4404: "No such document",
  4410: "Deleted",
};

export function showState(doc: CoscribeDocument): void {
  const place = document.getElementById("state") as HTMLElement;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const show = (state: string, text: string) => {
    place.dataset["state"] = state;
    place.textContent = text;
  };
  const update = () => {
    clearTimeout(timer);
    if (doc.closed) return show("closed", ENDINGS[doc.closed.code] ?? "Disconnected");
    if (!doc.joined) return show("connecting", "Connecting…");
    if (!doc.synced) return show("offline", "Offline — edits kept");
    if (doc.role === "reader") return show("reader", "Read only");
    if (!doc.hasPending) return show("saved", "Saved");
    timer = setTimeout(() => show("saving", "Saving…"), SAVING_AFTER_MS);
  };
  doc.on("status", update);
  doc.on("synced", update);
  doc.on("pending", update);
  doc.on("role", (role) => {
    document.body.classList.toggle("reading", role === "reader");
    update();
  });
  update();
}
