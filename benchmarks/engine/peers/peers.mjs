// Measures npm's quill-delta and diamond-types; a process of its own, started by `python -m benchmarks.engine`.
// node --expose-gc peers.mjs speed FOLDER | memory FOLDER TRACE: the last line is one JSON object.
// Operations are parsed and expanded before the clock starts: only the library's own work counts.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";
import Quill from "quill-delta";

const require = createRequire(import.meta.url);
const Delta = Quill.default ?? Quill;
const [, , mode, folder, trace] = process.argv;
const TRACES = ["automerge-paper", "sveltecomponent", "friendsforever_flat", "rich-json-crdt-blog-post"];
const MERGES = 200;
const MEMORY_UNITS = 4_000_000;

const lines = (name) => readFileSync(`${folder}/${name}`, "utf8").split("\n").map(JSON.parse);

function expand(compact) {
  return new Delta(
    compact.map((part) => {
      if (typeof part === "string") return { insert: part };
      if (typeof part === "number") return part > 0 ? { retain: part } : { delete: -part };
      return part;
    }),
  );
}

const seconds = {};
const proofs = {};

function timed(run) {
  globalThis.gc();
  const started = process.hrtime.bigint();
  const result = run();
  return [Number(process.hrtime.bigint() - started) / 1e9, result];
}

function composeAll(deltas) {
  let document = new Delta();
  for (const delta of deltas) document = document.compose(delta);
  return document;
}

function quillSubmits() {
  for (const name of TRACES) {
    const deltas = lines(`${name}.ops`).map(expand);
    const [spent, document] = timed(() => composeAll(deltas));
    seconds[`submit ${name}`] = spent / deltas.length;
    const end = expand(lines(`${name}.end`)[0]);
    if (!isDeepStrictEqual(document.ops, end.ops)) throw new Error(`${name}: another document`);
  }
}

function quillMerges(size, behind, remember) {
  const name = `${remember ? "merge and remember" : "merge"} ${size} ${behind}`;
  let document = new Delta().insert(readFileSync(`${folder}/text-${size}.txt`, "utf8"));
  const deltas = lines(`merge-${size}.ops`).slice(0, behind + MERGES).map(expand);
  const log = deltas.slice(0, behind);
  for (const delta of log) document = document.compose(delta);
  const [spent] = timed(() => {
    for (let base = 0; base < MERGES; base++) {
      let delta = deltas[behind + base];
      for (let at = remember ? base : 0; at < log.length; at++) delta = log[at].transform(delta, false);
      document = document.compose(delta);
      if (remember) log.push(delta);
    }
  });
  seconds[name] = spent / MERGES;
  const text = document.ops.map((op) => op.insert).join("");
  proofs[name] = createHash("sha256").update(text).digest("hex");
}

function diamondSubmits() {
  const { Doc } = require("diamond-types-node");
  const edits = lines("automerge-paper.ops").map((compact) => {
    const edit = { at: 0, deleted: 0, text: "" };
    for (const part of compact) {
      if (typeof part === "string") edit.text = part;
      else if (part > 0) edit.at = part;
      else edit.deleted = -part;
    }
    return edit;
  });
  const document = new Doc("peer");
  const [spent] = timed(() => {
    for (const { at, deleted, text } of edits) {
      if (deleted) document.del(at, deleted);
      if (text) document.ins(at, text);
    }
  });
  if (document.get() !== lines("automerge-paper.end")[0][0]) throw new Error("diamond-types: another text");
  seconds["diamond-types"] = spent / edits.length;
}

// Bytes of the heap a unit, for so many copies of one document that the noise of a collection does not matter.
function memory(name) {
  const raw = readFileSync(`${folder}/${name}.end`, "utf8");
  const units = expand(JSON.parse(raw)).length();
  const copies = new Array(Math.ceil(MEMORY_UNITS / units)).fill(null);
  const used = () => {
    for (let round = 0; round < 4; round++) globalThis.gc();
    return process.memoryUsage().heapUsed;
  };
  const before = used();
  for (let number = 0; number < copies.length; number++) copies[number] = expand(JSON.parse(raw));
  return (used() - before) / copies.length / units;
}

if (mode === "memory") {
  console.log(JSON.stringify({ memory: memory(trace) }));
} else {
  quillSubmits();
  for (const [size, behind] of [[10000, 10], [100000, 10], [100000, 100], [100000, 1000], [1000000, 10]]) {
    quillMerges(size, behind, false);
    quillMerges(size, behind, true);
  }
  diamondSubmits();
  console.log(JSON.stringify({ seconds, proofs }));
}
