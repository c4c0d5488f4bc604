// The answer of a classification: with and without dropout, of each network, the parts of the uncertainty, the decision.

import { format, percent, splitBar } from "./charts.js";
import { isClaimed, notices, possible } from "./claims.js";
import { distributions, leadingClasses } from "./distributions.js";
import { h } from "./dom.js";
import { firstNames, named, shortened } from "./names.js";

const MOST_POSSIBLE = 8;
const LONG = 12;
const LEAST = 0.001;

/** Return the parts of an answer as elements by place; `fold(name, summary, make)` folds long content. */
export function classAnswer({ manifest, reply, width, fold }) {
  const row = reply.predictions[0];
  return {
    verdict: verdict(reply, row),
    decision: decision(manifest, reply, row, fold),
    spread: spread(reply, row, width, fold),
    split: split(reply, row, width),
  };
}

/** Return the answer as short texts, shown while the panel is out of view. */
export function glanceClasses(reply) {
  const row = reply.predictions[0];
  return [`${shortened(row.label, LONG)}, ${percent(Math.max(...row.mean_probabilities))}`, `uncertainty ${format(row.predictive_entropy)}`, row.decision ?? ""];
}

/** Return the answer in one line, for screen readers. */
export function sayClasses(reply) {
  const row = reply.predictions[0];
  const votes = `${Math.max(...row.votes)} of ${reply.samples} networks vote for ${winner(reply, row)}`;
  const decided = row.decision ? (row.decision === "accept" ? "; accepted" : "; referred to a person") : "";
  return `Without dropout ${row.deterministic.label}, ${percent(row.deterministic.probability)}. With dropout ${row.label}, ${percent(Math.max(...row.mean_probabilities))}; ${votes}${decided}.`;
}

function verdict(reply, row) {
  const votes = h("span", {}, `${Math.max(...row.votes)} of ${reply.samples} networks vote for `, named(winner(reply, row)));
  return h(
    "div",
    { class: "verdict" },
    oneAnswer("Without dropout", row.deterministic.label, row.deterministic.probability, "one network, all its units", "plain"),
    oneAnswer("With dropout", row.label, Math.max(...row.mean_probabilities), votes, "mean"),
  );
}

function oneAnswer(title, label, probability, note, kind) {
  return h(
    "div",
    { class: `one-answer ${kind}` },
    h("h3", {}, title),
    h("p", { class: "big" }, h("span", { class: label.length > LONG ? "label long" : "label", title: label.length > LONG && label }, label), " ", h("span", { class: "share" }, percent(probability))),
    h("p", { class: "small muted" }, note),
  );
}

const winner = (reply, row) => reply.labels[row.votes.indexOf(Math.max(...row.votes))];

function decision(manifest, reply, row, fold) {
  const decide = row.decision ? decided(reply, row) : undecided(manifest);
  return h("div", { class: "decision" }, ...notices(reply), decide, ...set(reply, row, fold));
}

/** The prediction set in a sentence, with a fold for many names. */
function set(reply, { deterministic }, fold) {
  if (!deterministic.prediction_set) return [];
  const names = byProbability(deterministic, reply.labels, MOST_POSSIBLE);
  if (!names.length && isClaimed(reply)) return [h("p", { class: "set" }, h("strong", {}, "No class"), ` is probable enough at a coverage of ${percent(reply.coverage)}.`)];
  const sentence = possible("prediction set", reply, firstNames(names, MOST_POSSIBLE) || "empty");
  if (names.length <= MOST_POSSIBLE + 1) return [sentence];
  return [sentence, fold("set", `All ${names.length}`, () => h("p", { class: "small" }, names.join(", ")))];
}

/** Return the prediction set, with the most probable classes first if there are more than are shown. */
export function byProbability({ prediction_set: names, probabilities }, labels, most) {
  if (names.length <= most + 1) return names;
  const probability = new Map(labels.map((label, i) => [label, probabilities[i]]));
  return [...names].sort((a, b) => probability.get(b) - probability.get(a));
}

function decided(reply, row) {
  const { threshold, error_rate: rate } = reply.decided;
  const accepted = row.decision === "accept";
  const tag = h("span", { class: `tag ${accepted ? "good" : "warn"}` }, accepted ? "Accept" : "Refer to a person");
  const side = accepted ? "is at most" : "is above";
  const compared = ` The uncertainty, ${format(row.predictive_entropy)}, ${side} ${format(threshold)}`;
  if (!isClaimed(reply)) return h("p", {}, tag, `${compared}; no error rate of accepted answers is claimed here.`);
  const why = `${compared}: of the accepted answers, at most ${percent(rate)} are wrong with 90 % confidence, for rows like those of the calibration data.`;
  return h("p", {}, tag, why);
}

function undecided(manifest) {
  const why = manifest.abstention.length
    ? "The thresholds are valid for the network as it was trained, not for a changed one."
    : "This model was published without thresholds.";
  return h("p", {}, h("span", { class: "tag" }, "Not decided"), ` ${why}`);
}

function spread(reply, row, width, fold) {
  const samples = row.sampled ?? row.quantiles;
  const { leading, others } = leadingClasses(row.mean_probabilities);
  const rowOf = (i) => ({
    name: reply.labels[i],
    values: samples.map((sample) => sample[i]),
    mean: row.mean_probabilities[i],
    plain: row.deterministic.probabilities[i],
    votes: row.votes[i],
  });
  const chart = (classes) => distributions({ rows: classes.map(rowOf), width, total: reply.samples });
  const more = others.length ? fold("classes", `and ${others.length} others, less probable`, () => chart(others)) : "";
  return h("div", {}, chart(leading), more);
}

function split({ labels, blind, usual }, row, width) {
  const parts = [
    { name: "within networks", value: row.expected_entropy, kind: "fill-neutral" },
    { name: "between networks", value: row.mutual_information, kind: "fill" },
  ];
  const all = `of at most ${format(Math.log(labels.length))} nats`;
  return h(
    "div",
    { class: "split" },
    h("p", { class: "split-total" }, h("strong", { class: "entropy" }, format(row.predictive_entropy)), ` ${all}`),
    splitBar({ label: "Uncertainty", parts, max: Math.log(labels.length), width }),
    meaning("neutral", "Within networks", nats(row.expected_entropy), blind ? BLIND : "Expected entropy: how uncertain each network is by itself. High where an input looks like more than one class."),
    meaning("accent", "Between networks", nats(row.mutual_information), blind ? BLIND : `Mutual information: how much the networks disagree. High where the model has learned too little about such inputs; a low value does not prove the opposite.${usual ? ` Its mean over the test rows is ${nats(usual)}.` : ""}`),
  );
}

/** The meaning of a part of the uncertainty if the answer does not depend on the input. */
export const BLIND = "The same for every input, so it is not about this one.";

/** Format nats; tiny values are not written in digits. */
const nats = (value) => (value < LEAST ? `below ${LEAST}` : format(value));

/** A part of the uncertainty: its colour, name, value in words and meaning. */
export function meaning(kind, name, value, text) {
  return h(
    "p",
    { class: "meaning" },
    h("span", { class: `swatch ${kind}`, "aria-hidden": "true" }),
    h("span", {}, h("strong", {}, `${name} `, h("span", { class: "number" }, value)), h("br"), h("span", { class: "small muted" }, text)),
  );
}
