// The answer of a classification: with and without dropout, each network's, what the uncertainty is made of, what to do.

import { format, percent, splitBar } from "./charts.js";
import { distributions, leadingClasses } from "./distributions.js";
import { h } from "./dom.js";

/** The parts of an answer as elements, to be put in their places. */
export function classAnswer({ manifest, reply, width }) {
  const row = reply.predictions[0];
  return { verdict: verdict(reply, row), decision: decision(manifest, reply, row), spread: spread(reply, row, width), split: split(row, reply.labels.length, width) };
}

/** In a few words, for where the panel is out of sight. */
export function glanceClasses(reply) {
  const row = reply.predictions[0];
  return [`${row.label}, ${percent(Math.max(...row.mean_probabilities))}`, `uncertainty ${format(row.predictive_entropy)}`, row.decision ?? ""];
}

/** In one line, for those who hear the page. */
export function sayClasses(reply) {
  const row = reply.predictions[0];
  const votes = `${Math.max(...row.votes)} of ${reply.samples} networks vote for ${winner(reply, row)}`;
  const decided = row.decision ? (row.decision === "accept" ? "; accepted" : "; referred to a person") : "";
  return `Without dropout ${row.deterministic.label}, ${percent(row.deterministic.probability)}. With dropout ${row.label}, ${percent(Math.max(...row.mean_probabilities))}; ${votes}${decided}.`;
}

function verdict(reply, row) {
  const most = Math.max(...row.votes);
  const votes = `${most} of ${reply.samples} networks vote for ${winner(reply, row)}`;
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
    h("p", { class: "big" }, h("span", { class: "label" }, label), " ", h("span", { class: "share" }, percent(probability))),
    h("p", { class: "small muted" }, note),
  );
}

const winner = (reply, row) => reply.labels[row.votes.indexOf(Math.max(...row.votes))];

function decision(manifest, reply, row) {
  const parts = [row.decision ? decided(reply.decided, row) : undecided(manifest)];
  const set = row.deterministic.prediction_set;
  if (set) parts.push(possible(set, percent(reply.coverage)));
  return h("div", { class: "decision" }, ...parts);
}

function possible(set, coverage) {
  if (!set.length) return h("p", { class: "set" }, h("strong", {}, "No class"), ` is probable enough at a coverage of ${coverage}.`);
  return h("p", { class: "set" }, `Cannot be ruled out at a coverage of ${coverage}: `, h("strong", {}, set.join(", ")), ".");
}

function decided({ threshold, error_rate: rate }, row) {
  const accepted = row.decision === "accept";
  const tag = h("span", { class: `tag ${accepted ? "good" : "warn"}` }, accepted ? "Accept" : "Refer to a person");
  const side = accepted ? "is at most" : "is above";
  const why = ` The uncertainty, ${format(row.predictive_entropy)}, ${side} ${format(threshold)}: of the answers that pass so, at most ${percent(rate)} are wrong, at 90 % confidence, of rows like those it was calibrated on.`;
  return h("p", {}, tag, why);
}

function undecided(manifest) {
  const why = manifest.abstention.length
    ? "The thresholds hold for the network as it was trained, not for one that was changed."
    : "This model was published without thresholds.";
  return h("p", {}, h("span", { class: "tag" }, "Not decided"), ` ${why}`);
}

function spread(reply, row, width) {
  const samples = row.sampled ?? row.quantiles;
  const chosen = leadingClasses(row.mean_probabilities);
  const rows = chosen.map((i) => ({
    name: reply.labels[i],
    values: samples.map((sample) => sample[i]),
    mean: row.mean_probabilities[i],
    plain: row.deterministic.probabilities[i],
    votes: row.votes[i],
  }));
  const rest = reply.labels.length - chosen.length;
  const more = rest ? h("p", { class: "small muted" }, `and ${rest} less probable classes`) : null;
  return h("div", {}, distributions({ rows, width, total: reply.samples }), more ?? "");
}

function split(row, classes, width) {
  const parts = [
    { name: "ambiguous", value: row.expected_entropy, kind: "fill-neutral" },
    { name: "does not know", value: row.mutual_information, kind: "fill" },
  ];
  const all = `of at most ${format(Math.log(classes))} nats`;
  return h(
    "div",
    { class: "split" },
    h("p", { class: "split-total" }, h("strong", { class: "entropy" }, format(row.predictive_entropy)), ` ${all}`),
    splitBar({ label: "Uncertainty", parts, max: Math.log(classes), width }),
    meaning("neutral", "Ambiguous", row.expected_entropy, "What each network by itself is unsure of: the input looks like more than one class."),
    meaning("accent", "Does not know", row.mutual_information, "What the networks disagree on: the model has learned too little of inputs like this."),
  );
}

/** A part of the uncertainty, its colour and what it means. */
export function meaning(kind, name, value, text) {
  return h(
    "p",
    { class: "meaning" },
    h("span", { class: `swatch ${kind}`, "aria-hidden": "true" }),
    h("span", {}, h("strong", {}, `${name} `, h("span", { class: "number" }, format(value))), h("br"), h("span", { class: "small muted" }, text)),
  );
}
