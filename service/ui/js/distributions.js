// The answers of the thinned networks: for each class, the distribution of its probability.

import { chart, countBins, element, percent } from "./charts.js";
import { shortened } from "./names.js";

const ROW = 28;
const HIGH = 22;
const FLATTER = 0.4;
const BINS = 50;
const MOST_CLASSES = 12;
const FOOT = 18;
const LETTER = 7.2;
const GAP = 14;
const [LEAST_LETTERS, FIGURES] = [8, 112];
const NAME_SHARE = 0.23;

/** rows: [{name, values, mean, plain, votes}], probabilities from 0 to 1; `plain` is the answer without dropout. */
export function distributions({ rows, width, total }) {
  const room = Math.max(LEAST_LETTERS, Math.floor((NAME_SHARE * width) / LETTER));
  const letters = Math.min(room, Math.max(...rows.map((row) => row.name.length)));
  const [left, right] = [GAP + LETTER * letters, width - FIGURES];
  const x = (share) => left + share * (right - left);
  const most = Math.max(1, ...rows.flatMap((row) => (row.counts = countBins(row.values, 0, 1, BINS))));
  const drawn = rows.map((row, i) => {
    const y = i * ROW;
    const base = y + ROW - 4;
    return element(
      "g",
      {},
      element("text", { x: 0, y: base - 4, class: "strong" }, shortened(row.name, letters), element("title", {}, row.name)),
      element("path", { d: `M${left} ${base + 0.5}H${right}`, class: "axis" }),
      element("path", { d: outline(row.counts, most, x, base), class: "ridge" }),
      element("path", { d: `M${x(row.mean)} ${base - HIGH}V${base}`, class: "mark-accent" }),
      element("path", { d: diamond(x(row.plain), base), class: "diamond" }),
      element("text", { x: right + 62, y: base - 4, class: "end" }, percent(row.mean)),
      element("text", { x: width, y: base - 4, class: row.votes ? "end strong" : "end" }, String(row.votes)),
    );
  });
  const bottom = rows.length * ROW;
  const feet = [0, 0.5, 1].map((share) =>
    element("text", { x: x(share), y: bottom + 12, class: share === 0 ? "" : share === 1 ? "end" : "middle" }, `${100 * share} %`),
  );
  const heads = [
    element("text", { x: right + 62, y: bottom + 12, class: "end" }, "mean"),
    element("text", { x: width, y: bottom + 12, class: "end" }, "votes"),
  ];
  const texts = rows.map((row) => `${row.name}: mean ${percent(row.mean)}, ${row.votes} of ${total} votes, without dropout ${percent(row.plain)}`);
  return chart(`Answers of the networks. ${texts.join("; ")}`, width, bottom + FOOT, ...drawn, ...feet, ...heads);
}

/** Split many classes into the most probable ones, in their usual order, and the others, by falling probability. */
export function leadingClasses(means) {
  const order = means.map((_, i) => i).sort((a, b) => means[b] - means[a]);
  const most = order.length > MOST_CLASSES + 1 ? MOST_CLASSES : order.length;
  return { leading: order.slice(0, most).sort((a, b) => a - b), others: order.slice(most) };
}

/** Scale heights by a power below 1, so that a single network is visible beside a hundred. */
function outline(counts, most, x, base) {
  const steps = counts.map((count, i) => {
    const y = Math.round(10 * (base - HIGH * (count / most) ** FLATTER)) / 10;
    return `L${Math.round(10 * x(i / BINS)) / 10} ${y}H${Math.round(10 * x((i + 1) / BINS)) / 10}`;
  });
  return `M${x(0)} ${base}${steps.join("")}V${base}Z`;
}

const diamond = (x, y) => `M${x} ${y - 5}l5 5l-5 5l-5 -5Z`;
