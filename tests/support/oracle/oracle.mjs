// Answers a JSON array of questions to quill-delta on stdin with a JSON array of answers on stdout.
//   ["compose", a, b] | ["transform", a, b, priority] | ["transformPosition", a, index, priority] | ["invert", a, base]
//   ["invertByValue", a, base] | ["diff", a, b] | ["slice", a, start, end] | ["concat", a, b] | ["length", a]
//   ["build", [["insert", …], ["retain", …], …]] | ["methods"] | ["inherited"]
// A delta answers as its operations, what is thrown as {"error"}.
import Delta from "quill-delta";

// `invert` compares attribute values by identity. With one object for each value it compares them by value.
const interned = new Map();
const intern = (value) => {
  if (value === null || typeof value !== "object") return value;
  const key = JSON.stringify(value);
  if (!interned.has(key)) interned.set(key, value);
  return interned.get(key);
};
const internAttributes = (operations) => {
  for (const { attributes } of operations) {
    for (const name in attributes) attributes[name] = intern(attributes[name]);
  }
  return new Delta(operations);
};

const ask = ([verb, a, b, c]) => {
  const delta = new Delta(a);
  switch (verb) {
    case "compose":
    case "diff":
    case "concat":
    case "invert":
      return delta[verb](new Delta(b));
    case "transform":
      return delta.transform(new Delta(b), c);
    case "transformPosition":
      return delta.transformPosition(b, c);
    case "invertByValue":
      return internAttributes(a).invert(internAttributes(b));
    case "slice":
      return delta.slice(b, c);
    case "length":
      return delta.length();
    case "methods":
      return Object.getOwnPropertyNames(Delta.prototype).filter((name) => name !== "constructor");
    case "inherited":
      return Object.getOwnPropertyNames(Object.prototype);
    case "build":
      return a.reduce((built, [step, ...of]) => built[step](...of), new Delta());
  }
  throw new Error(`no such verb: ${verb}`);
};

const answer = (question) => {
  try {
    const found = ask(question);
    return found instanceof Delta ? found.ops : found;
  } catch (error) {
    return { error: error.message };
  }
};

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
process.stdout.write(JSON.stringify(JSON.parse(Buffer.concat(chunks).toString()).map(answer)));
