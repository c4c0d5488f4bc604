// What is promised of an answer, and what takes the promise back.

import { percent } from "./charts.js";
import { h } from "./dom.js";
import { firstOf } from "./names.js";

const MOST_NAMED = 4;

/** Notices above what is decided; `outside` is that of kinds.js, `blind` that of question.js. */
export function notices({ outside, blind }) {
  return [
    blind && notice("Nothing of the input reaches the answer any more.", " Whatever is asked is answered the same, for the units squashed were the only way."),
    outside.length > 0 && notice("Outside what was seen in training: ", `${said(outside)}. Neither a coverage nor a rate of errors is claimed for such a row.`),
  ].filter(Boolean);
}

/** A prediction set or an interval, with the coverage that is promised of it. */
export function possible(kind, { coverage, outside }, content) {
  if (outside.length) return h("p", { class: "set" }, `The ${kind} would be `, h("strong", {}, content), `; that it holds the truth in ${percent(coverage)} of cases is not claimed here.`);
  return h("p", { class: "set" }, `Cannot be ruled out at a coverage of ${percent(coverage)}: `, h("strong", {}, content), ".");
}

/** The same for a table. */
export function possibleInShort({ coverage, outside }, content) {
  return `${content} · ${outside.length ? "coverage not claimed" : `coverage ${percent(coverage)}`}`;
}

const notice = (title, text) => h("p", { class: "notice warn" }, h("strong", {}, title), text);

/** "age 120 (0 to 89), size 7 (20 to 200) and 3 others". */
function said(outside) {
  return firstOf(outside.map(({ name, value, range }) => `${name} ${value} (${range})`), MOST_NAMED);
}
