/** The editor page: one document in one window. */

import Quill from "quill";
import Delta from "quill-delta";
import QuillCursors from "quill-cursors/core";
import "quill/dist/quill.snow.css";
import "quill-cursors/css";
import "./style.css";
import "./editor.css";
import "./notices.css";

import { Client } from "../src/index.ts";
import type { CoscribeDocument } from "../src/index.ts";
import { bindQuill } from "../src/quill.ts";
import { identity } from "./identity.ts";
import { offerLink } from "./link.ts";
import { showNotices } from "./notices.ts";
import { showPeople } from "./people.ts";
import { showState } from "./state.ts";

declare global {
  interface Window {
    /** For tests, and for whoever is curious. */
    coscribe: { doc: CoscribeDocument; quill: Quill };
  }
}

/** What may come in from elsewhere is shown; what is left out here stands as a placeholder and stays untouched. */
const FORMATS = [
  ...["bold", "italic", "underline", "strike", "code", "link", "script", "color", "background", "font", "size"],
  ...["header", "list", "indent", "blockquote", "code-block", "align", "direction", "image"],
];

/** Quill draws inline code and code blocks alike. */
const CODE_BLOCK_ICON =
  '<svg viewBox="0 0 18 18"><rect class="ql-stroke" x="2.5" y="3" width="13" height="12" rx="2" fill="none"/>' +
  '<path class="ql-stroke" fill="none" d="M7.5 7 5.5 9l2 2M10.5 7l2 2-2 2"/></svg>';

function newEditor(): Quill {
  (Quill.import("ui/icons") as Record<string, string>)["code-block"] = CODE_BLOCK_ICON;
  Quill.register("modules/cursors", QuillCursors);
  return new Quill("#editor", {
    theme: "snow",
    placeholder: "Write something together…",
    readOnly: true,
    formats: FORMATS,
    modules: {
      toolbar: "#toolbar",
      cursors: { selectionChangeSource: null, hideDelayMs: 2000 },
      history: { userOnly: true },
      // Pictures would travel inside the text: there is no place to upload them to.
      uploader: { mimetypes: [] },
      clipboard: { matchers: [["img", () => new Delta()]] },
    },
  });
}

function start(): void {
  const id = decodeURIComponent(location.pathname.split("/").pop() ?? "");
  document.title = `${id} · Coscribe`;
  (document.getElementById("title") as HTMLElement).textContent = id;
  const quill = newEditor();
  const doc: CoscribeDocument = new Client({ authenticate: identity(() => doc.user !== null) }).open(id);
  doc.presence.set({ cursor: null });
  bindQuill(quill, doc, { cursors: quill.getModule("cursors") });
  showState(doc);
  showPeople(doc);
  showNotices(doc);
  offerLink();
  // On a touch screen, focus would bring up the keyboard unasked.
  const typist = matchMedia("(pointer: fine)").matches;
  doc.on("synced", () => typist && document.activeElement === document.body && quill.focus({ preventScroll: true }));
  window.addEventListener("beforeunload", (event) => doc.hasPending && event.preventDefault());
  window.coscribe = { doc, quill };
}

start();
