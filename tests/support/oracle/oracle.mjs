// Answers a JSON array of questions to quill-delta on stdin with a JSON array of answers on stdout.
// ["compose", a, b] | ["transform", a, b, priority] | ["transformPosition", a, index, priority] | ["invert", a, base]
import Delta from "quill-delta";

// `invert` compares attribute values by identity. With one object for each value, that is what the product does: by value.
const interned = new Map();
const intern = (name, value) => {
  if (value === null || typeof value !== "object" || name === "ops") return value;
  const key = JSON.stringify(value);
  if (!interned.has(key)) interned.set(key, value);
  return interned.get(key);
};
const internAttributes = (operations) => {
  for (const { attributes } of operations) {
    for (const name in attributes) attributes[name] = intern(name, attributes[name]);
  }
  return new Delta(operations);
};

const answer = ([verb, a, b, priority]) => {
  const delta = internAttributes(a);
  switch (verb) {
    case "compose":
      return delta.compose(new Delta(b)).ops;
    case "transform":
      return delta.transform(new Delta(b), priority).ops;
    case "transformPosition":
      return delta.transformPosition(b, priority);
    case "invert":
      return delta.invert(internAttributes(b)).ops;
  }
  throw new Error(`no such verb: ${verb}`);
};

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
process.stdout.write(JSON.stringify(JSON.parse(Buffer.concat(chunks).toString()).map(answer)));
