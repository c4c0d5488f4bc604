// The claims about an answer (coverage, error rate), and the conditions under which they are not valid.

import { percent } from "./charts.js";
import { h } from "./dom.js";
import { firstOf } from "./names.js";

const MOST_NAMED = 4;

/** Add the request's options and the conditions against its claims to a reply. */
export function claimsOn(reply, manifest, { coverage, outside, altered, blind }) {
  const weighted = manifest.class_weights.length > 0;
  const usual = manifest.evaluation.mc?.mutual_information;
  return { ...reply, coverage, outside, altered, blind, weighted, usual, tested: contradicted(manifest, coverage) };
}

/** Whether a coverage or an error rate is claimed: they are calibrated for real rows, not for changed ones. */
export const isClaimed = ({ outside, altered }) => !outside.length && !altered;

/** The coverage of the test rows {found, low, high} if it differs from the expected one, else null. */
function contradicted({ conformal, evaluation }, coverage) {
  const found = evaluation.deterministic?.[`coverage_${coverage}`];
  const [low, high] = conformal.find((one) => one.coverage === coverage)?.expected ?? [0, 1];
  return found < low || found > high ? { found, low, high } : null;
}

/** The notices above the decision; `outside` is from kinds.js, `altered` from an editor, `blind` from question.js. */
export function notices({ outside, altered, blind, weighted }) {
  return [
    blind && notice("The answer no longer depends on the input.", " Every input gets the same answer, as all paths lead through the dropped units."),
    outside.length > 0 && notice("Outside the range of the training data: ", `${listed(outside)}. Neither a coverage nor an error rate is claimed for such a row.`),
    altered && !outside.length && remark("Drawn or altered:", " a coverage and an error rate are claimed only for rows like those of the calibration data."),
    weighted && remark("Weighted classes:", " the probabilities are those for classes as frequent as their weights in training made them, not as they occur."),
  ].filter(Boolean);
}

/** A prediction set or an interval, with its claimed coverage. */
export function possible(kind, reply, content) {
  const { coverage, tested } = reply;
  if (!isClaimed(reply)) return h("p", { class: "set" }, `The ${kind} would be `, h("strong", {}, content), `; that it contains the truth in ${percent(coverage)} of cases is not claimed here.`);
  if (tested) return h("p", { class: "set" }, `The ${kind}, calibrated for a coverage of ${percent(coverage)}, is `, h("strong", {}, content), `. It contains the truth for ${exactly(tested.found)} of the test rows; ${exactly(tested.low)} to ${exactly(tested.high)} were expected for rows like those of the calibration data.`);
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
function listed(outside) {
  return firstOf(outside.map(({ name, value, range }) => `${name} ${value} (${range})`), MOST_NAMED);
}
