// The answer of a regression: with and without dropout, the samples, and the parts of the uncertainty.

import { BLIND, meaning } from "./answer_classes.js";
import { countBins, format, histogram, splitBar } from "./charts.js";
import { notices, possible } from "./claims.js";
import { h } from "./dom.js";

const BINS = 30;

/** Return the parts of an answer as elements by place. */
export function valueAnswer({ reply, width }) {
  const row = reply.predictions[0];
  const outputs = row.mean.map((_, i) => i);
  return {
    verdict: h("div", { class: "verdicts" }, ...outputs.map((i) => verdict(reply, row, i))),
    decision: h("div", { class: "decision" }, ...notices(reply), ...outputs.map((i) => interval(reply, row, i)).filter(Boolean)),
    spread: h("div", {}, ...outputs.map((i) => samplesOf(row, i, width))),
    split: h("div", {}, ...outputs.map((i) => split(reply, row, i, width))),
  };
}

/** Return the answer as short texts, shown while the panel is out of view. */
export function glanceValues(reply) {
  const row = reply.predictions[0];
  return [`${format(row.mean[0])} ± ${format(row.total_std[0])}`, `between networks ${format(row.epistemic_std[0])}`];
}

/** Return the answer in one line, for screen readers. */
export function sayValues(reply) {
  const row = reply.predictions[0];
  const means = row.mean.map((mean, i) => `${format(mean)} ± ${format(row.total_std[i])}`);
  return `Without dropout ${row.deterministic.values.map(format).join(", ")}. With dropout ${means.join(", ")}.`;
}

function verdict(reply, row, i) {
  const number = row.mean.length > 1 ? ` · value ${i + 1}` : "";
  return h(
    "div",
    { class: "verdict" },
    one(`Without dropout${number}`, format(row.deterministic.values[i]), "", "one network, all its units", "plain"),
    one(`With dropout${number}`, format(row.mean[i]), `± ${format(row.total_std[i])}`, `mean of ${reply.samples} networks, and one standard deviation`, "mean"),
  );
}

function one(title, value, spread, note, kind) {
  return h(
    "div",
    { class: `one-answer ${kind}` },
    h("h3", {}, title),
    h("p", { class: "big" }, h("span", { class: "label figure" }, value), " ", h("span", { class: "share" }, spread)),
    h("p", { class: "small muted" }, note),
  );
}

function interval(reply, row, i) {
  const ends = row.deterministic.interval?.[i];
  return ends && possible("interval", reply, `${format(ends[0])} to ${format(ends[1])}`);
}

function samplesOf(row, i, width) {
  const values = (row.sampled ?? row.quantiles).map((sample) => sample[i]);
  const room = Math.max(row.total_std[i], 1e-9 * Math.abs(row.mean[i]), 1e-12);
  const [low, high] = [row.mean[i] - 3 * room, row.mean[i] + 3 * room];
  const edges = Array.from({ length: BINS + 1 }, (_, k) => low + (k * (high - low)) / BINS);
  const counts = countBins(values, low, high, BINS);
  const plain = Math.max(low, Math.min(high, row.deterministic.values[i]));
  return histogram({ label: "The networks' answers", edges, counts, marks: [{ name: "without dropout", value: plain }], width, height: 170 });
}

function split({ blind }, row, i, width) {
  const [unknown, noise] = [row.epistemic_std[i], row.aleatoric_std[i]];
  const parts = [
    { name: "noise of the target, as a variance", value: noise ** 2, kind: "fill-neutral" },
    { name: "between networks, as a variance", value: unknown ** 2, kind: "fill" },
  ];
  return h(
    "div",
    { class: "split" },
    h("p", { class: "split-total" }, h("strong", { class: "entropy" }, format(row.total_std[i])), " total standard deviation; the bar shows fractions of the variance"),
    splitBar({ label: "Uncertainty", parts, width }),
    meaning("neutral", "Noise", format(noise), noise ? "How far targets are from the answer: noise, and the error that the network leaves unexplained." : "The model was published without observation noise."),
    meaning("accent", "Between networks", format(unknown), blind ? BLIND : "How much the networks disagree, as a standard deviation. High where the model has learned too little about such inputs; a low value does not prove the opposite."),
  );
}
