/** Who is here: one disc a person, with their colour, and a list behind them. Names are text, never markup. */

import type { CoscribeDocument } from "../src/index.ts";
import { colorOf } from "../src/colors.ts";

const SHOWN = 5;

interface Person {
  id: string;
  name: string;
  self: boolean;
}

export function showPeople(doc: CoscribeDocument): void {
  const button = document.getElementById("people-button") as HTMLElement;
  const list = document.getElementById("people") as HTMLElement;
  const update = () => {
    const people = peopleOf(doc);
    const more = people.length - SHOWN;
    button.replaceChildren(...people.slice(0, SHOWN).map(disc), ...(more > 0 ? [element("more", `+${more}`)] : []));
    button.hidden = people.length === 0;
    button.title = people.map(label).join(", ");
    list.replaceChildren(...people.map(row));
  };
  doc.on("presence", update);
  doc.on("status", update);
  update();
}

/** Ourselves first; one person in two windows is one person. */
function peopleOf(doc: CoscribeDocument): Person[] {
  const people = new Map<string, Person>();
  if (doc.user) people.set(doc.user.id, { ...doc.user, self: true });
  for (const { user } of doc.presence.others()) {
    if (!people.has(user.id)) people.set(user.id, { ...user, self: false });
  }
  return [...people.values()];
}

function label({ name, self }: Person): string {
  return self ? `${name} (you)` : name;
}

function disc(person: Person): HTMLElement {
  const words = person.name.split(/\s+/).filter(Boolean);
  const initials = [...words.slice(0, 1), ...words.slice(1).slice(-1)].map((word) => [...word][0] ?? "").join("");
  const made = element("disc", initials.toUpperCase());
  made.style.backgroundColor = colorOf(person.id);
  return made;
}

function row(person: Person): HTMLElement {
  const made = element("person", "");
  made.append(disc(person), element("name", label(person)));
  return made;
}

function element(className: string, text: string): HTMLElement {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}
