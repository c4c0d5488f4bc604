// What is promised of an answer, and what takes the promise back.

import { percent } from "./charts.js";
import { h } from "./dom.js";
import { firstOf } from "./names.js";

const MOST_NAMED = 4;

/** What belongs to an answer besides the reply: what was asked, and what is known against the claims made of it. */
export function claimsOn(reply, manifest, { coverage, outside, altered, blind }) {
  const weighted = manifest.class_weights.length > 0;
  const usual = manifest.evaluation.mc?.mutual_information;
  return { ...reply, coverage, outside, altered, blind, weighted, usual, tested: contradicted(manifest, coverage) };
}

/** Whether a coverage or a rate of errors is claimed: the rows they were calibrated on are not like one made by hand. */
export const isClaimed = ({ outside, altered }) => !outside.length && !altered;

/** The coverage of the test rows {found, low, high}, where it is not what calibration lets expect; else null. */
function contradicted({ conformal, evaluation }, coverage) {
  const found = evaluation.deterministic?.[`coverage_${coverage}`];
  const [low, high] = conformal.find((one) => one.coverage === coverage)?.expected ?? [0, 1];
  return found < low || found > high ? { found, low, high } : null;
}

/** Notices above what is decided; `outside` is that of kinds.js, `altered` that of an editor, `blind` that of question.js. */
export function notices({ outside, altered, blind, weighted }) {
  return [
    blind && notice("Nothing of the input reaches the answer any more.", " Whatever is asked is answered the same, for the units squashed were the only way."),
    outside.length > 0 && notice("Outside what was seen in training: ", `${said(outside)}. Neither a coverage nor a rate of errors is claimed for such a row.`),
    altered && !outside.length && remark("Drawn or altered:", " a coverage and a rate of errors are claimed for rows like those of the calibration data only."),
    weighted && remark("Weighted classes:", " the probabilities are not those of rows as they come, but as if each class were as frequent as its weight in training made it."),
  ].filter(Boolean);
}

/** A prediction set or an interval, with the coverage that is promised of it. */
export function possible(kind, reply, content) {
  const { coverage, tested } = reply;
  if (!isClaimed(reply)) return h("p", { class: "set" }, `The ${kind} would be `, h("strong", {}, content), `; that it holds the truth in ${percent(coverage)} of cases is not claimed here.`);
  if (tested) return h("p", { class: "set" }, `The ${kind}, calibrated for a coverage of ${percent(coverage)}, is `, h("strong", {}, content), `. Of the test rows ${exactly(tested.found)} have the truth in theirs; ${exactly(tested.low)} to ${exactly(tested.high)} were to be expected of rows like those it was calibrated on.`);
  return h("p", { class: "set" }, `Cannot be ruled out at a coverage of ${percent(coverage)}: `, h("strong", {}, content), ".");
}

/** The same for a table. */
export function possibleInShort(reply, content) {
  const claimed = isClaimed(reply) && !reply.tested;
  return `${content} · ${claimed ? `coverage ${percent(reply.coverage)}` : "coverage not claimed"}`;
}

const exactly = (share) => `${Number((100 * share).toFixed(2))} %`;
const remark = (title, text) => h("p", { class: "notice" }, h("strong", {}, title), text);
const notice = (title, text) => h("p", { class: "notice warn" }, h("strong", {}, title), text);

/** "age 120 (0 to 89), size 7 (20 to 200) and 3 others". */
function said(outside) {
  return firstOf(outside.map(({ name, value, range }) => `${name} ${value} (${range})`), MOST_NAMED);
}
