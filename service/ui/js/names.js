// Lists and abbreviations of names of classes.

import { h } from "./dom.js";

const LONGEST = 32;

/** A name in a sentence; a long one ends in an ellipsis and has its full text as a tooltip. */
export function named(name, longest = LONGEST) {
  return name.length > longest ? h("span", { title: name }, shortened(name, longest)) : name;
}

export function shortened(name, longest = LONGEST) {
  return name.length > longest ? `${name.slice(0, longest - 1)}…` : name;
}

/** Several names in a sentence: "a, b and 87 others". */
export const firstNames = (names, most) => firstOf(names.map((name) => shortened(name)), most);

/** The same for any texts. */
export function firstOf(texts, most) {
  const few = texts.length > most + 1 ? texts.slice(0, most) : texts;
  const rest = texts.length - few.length;
  return few.join(", ") + (rest ? ` and ${rest} others` : "");
}
