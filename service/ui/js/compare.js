// Two inputs side by side: the pinned A and the current B.

import { answerPanel } from "./answer.js";
import { byProbability } from "./answer_classes.js";
import { format, percent } from "./charts.js";
import { possibleInShort } from "./claims.js";
import { h } from "./dom.js";
import { firstNames, shortened } from "./names.js";

const LONG = 24;
const MOST_ON_A_LINE = 14;
const MOST_POSSIBLE = 4;
const FEW_UNITS = 8;

/** A snapshot: {manifest, reply, question, picture, described} → {element, show(B)}. */
export function comparison(pinned) {
  const body = h("tbody");
  const pictures = h("div", { class: "pictures" });
  const caption = h("caption", {}, "A as pinned, B now; of the options, only those that differ");
  const head = h("thead", {}, h("tr", {}, h("td"), h("th", { scope: "col", class: "number" }, "A"), h("th", { scope: "col", class: "number" }, "B")));
  const table = h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Comparison" }, h("table", { class: "comparison" }, caption, head, body));
  const show = (current) => {
    const [a, b] = [figures(pinned), figures(current)];
    body.replaceChildren(...lines(a.answer, b.answer), ...lines(a.options, b.options).filter((one) => one.matches(".differs")));
    pictures.replaceChildren(...[["A", pinned.picture], ["B", current.picture]].filter(([, one]) => one).map(figure));
  };
  return { element: h("div", { class: "comparison-head" }, pictures, table), show };
}

/** The panel of A, which does not change. */
export function pinnedPanel({ manifest, reply }) {
  const panel = answerPanel(manifest);
  panel.show(reply);
  return panel.element;
}

/** The rows of a table of two maps from name to text. */
function lines(a, b) {
  return [...new Set([...a.keys(), ...b.keys()])].map((name) => line(name, a.get(name), b.get(name)));
}

function line(name, a = "–", b = "–") {
  return h("tr", { class: a === b ? "" : "differs" }, h("th", { scope: "row" }, name), cell(a), cell(b));
}

const cell = (text) => h("td", { class: text.length > MOST_ON_A_LINE ? "number" : "number whole" }, text);

function figure([name, picture]) {
  return h("figure", {}, picture, h("figcaption", {}, name));
}

/** The answer and the options, each a map from name to text in the order of the table. */
function figures({ manifest, reply, question, described }) {
  const row = reply.predictions[0];
  const answer = new Map(manifest.task === "classification" ? ofClasses(reply, row) : ofValues(reply, row));
  const outside = firstNames(reply.outside.map(({ name }) => name), MOST_POSSIBLE) || "nothing";
  return { answer, options: new Map([["Model", `${reply.model} ${reply.version}`], ...options(question, manifest), ["Outside training range", outside], ...described]) };
}

function ofClasses(reply, row) {
  return [
    ["Without dropout", `${shortened(row.deterministic.label, LONG)}, ${percent(row.deterministic.probability)}`],
    ["With dropout", `${shortened(row.label, LONG)}, ${percent(Math.max(...row.mean_probabilities))}`],
    ["Votes for it", `${row.votes[reply.labels.indexOf(row.label)]} of ${reply.samples}`],
    ["Uncertainty, nats", format(row.predictive_entropy)],
    ["… within networks", format(row.expected_entropy)],
    ["… between networks", format(row.mutual_information)],
    ["Decision", row.decision ?? "not decided"],
    ["Prediction set", setInShort(reply, row.deterministic)],
  ];
}

function setInShort(reply, deterministic) {
  if (!deterministic.prediction_set) return "–";
  return possibleInShort(reply, firstNames(byProbability(deterministic, reply.labels, MOST_POSSIBLE), MOST_POSSIBLE) || "empty");
}

function ofValues(reply, row) {
  const ends = row.deterministic.interval;
  return [
    ["Without dropout", row.deterministic.values.map(format).join(", ")],
    ["With dropout", row.mean.map(format).join(", ")],
    ["Standard deviation", row.total_std.map(format).join(", ")],
    ["… noise", row.aleatoric_std.map(format).join(", ")],
    ["… between networks", row.epistemic_std.map(format).join(", ")],
    ["Interval", ends ? possibleInShort(reply, ends.map(([low, high]) => `${format(low)} to ${format(high)}`).join("; ")) : "–"],
  ];
}

/** The units, if they are few enough to list. */
const listed = (units) => (units.length > FEW_UNITS ? `${units.length} (${units[0]} … ${units.at(-1)})` : `${units.length} (${units.join(", ")})`);

function options({ body }, { sites }) {
  const dropped = (body.ablate ?? []).map((one) => `${one.units ? listed(one.units) : percent(one.fraction)} of ${sites[one.site].name}`);
  return [
    ["Samples", String(body.samples)],
    ["p", body.dropout_rate === undefined ? "as trained" : format(body.dropout_rate)],
    ["Seed", String(body.seed)],
    ["Units dropped", dropped.join(" + ") || "0"],
  ];
}
