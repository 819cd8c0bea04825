// Measures npm's quill-delta and diamond-types; a process of its own, started by `python -m benchmarks.engine`.
// node --expose-gc peers.mjs speed|memory FOLDER: the last line is one JSON object of seconds an operation.
// Operations are parsed and expanded before the clock starts: only the library's own work counts.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";
import Quill from "quill-delta";

const require = createRequire(import.meta.url);
const Delta = Quill.default ?? Quill;
const [, , mode, folder] = process.argv;
const TRACES = ["automerge-paper", "sveltecomponent", "friendsforever_flat", "rich-json-crdt-blog-post"];
const MERGES = 200;
const COPIES = 20;

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

function quillMerges() {
  for (const [size, behind] of [[10000, 10], [100000, 10], [100000, 100], [100000, 1000], [1000000, 10]]) {
    let document = new Delta().insert(readFileSync(`${folder}/text-${size}.txt`, "utf8"));
    const deltas = lines(`merge-${size}.ops`).slice(0, behind + MERGES).map(expand);
    const log = deltas.slice(0, behind);
    for (const delta of log) document = document.compose(delta);
    const [spent] = timed(() => {
      for (let base = 0; base < MERGES; base++) {
        let delta = deltas[behind + base];
        for (let at = base; at < log.length; at++) delta = log[at].transform(delta, false);
        document = document.compose(delta);
        log.push(delta);
      }
    });
    seconds[`merge ${size} ${behind}`] = spent / MERGES;
    const text = document.ops.map((op) => op.insert).join("");
    proofs[`merge ${size} ${behind}`] = createHash("sha256").update(text).digest("hex");
  }
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

function memory() {
  const found = {};
  for (const name of TRACES) {
    const raw = readFileSync(`${folder}/${name}.end`, "utf8");
    const units = expand(JSON.parse(raw)).length();
    globalThis.gc();
    const before = process.memoryUsage().heapUsed;
    const copies = [];
    for (let count = 0; count < COPIES; count++) copies.push(expand(JSON.parse(raw)));
    globalThis.gc();
    found[name] = (process.memoryUsage().heapUsed - before) / copies.length / units;
  }
  return found;
}

if (mode === "memory") {
  console.log(JSON.stringify({ memory: memory() }));
} else {
  quillSubmits();
  quillMerges();
  diamondSubmits();
  console.log(JSON.stringify({ seconds, proofs }));
}
