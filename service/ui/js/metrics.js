// A reader of Prometheus' text format, independent of the page.

const ONE_LABEL = /([a-zA-Z_]\w*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"/;
const LABELS = new RegExp(`(?:[ \\t]*${ONE_LABEL.source.replace(/\((?!\?)/g, "(?:")}[ \\t]*(?:,|(?=\\})))*[ \\t]*`);
const SAMPLE = new RegExp(`^([a-zA-Z_:][\\w:]*)[ \\t]*(?:\\{(${LABELS.source})\\}|(?=[ \\t]))[ \\t]*([^\\s{}]+)(?:[ \\t]|$)`);
const EVERY_LABEL = new RegExp(ONE_LABEL, "g");
const WORDS = { "+Inf": Infinity, "-Inf": -Infinity, Inf: Infinity, NaN };

/** Return the samples of a text, in order: [{name, labels, value}], without comments and malformed lines. */
export function parse(text) {
  return text.split("\n").flatMap((line) => {
    const match = line.startsWith("#") ? null : SAMPLE.exec(line.trimStart());
    const value = match && (WORDS[match[3]] ?? Number(match[3]));
    if (!match || (Number.isNaN(value) && match[3] !== "NaN")) return [];
    return [{ name: match[1], labels: parseLabels(match[2] ?? ""), value }];
  });
}

function parseLabels(text) {
  const labels = {};
  for (const [, name, value] of text.matchAll(EVERY_LABEL)) labels[name] = unescape(value);
  return labels;
}

function unescape(text) {
  return text.replace(/\\(.)/g, (whole, letter) => ({ n: "\n", '"': '"', "\\": "\\" })[letter] ?? whole);
}

/** Return the samples of a name whose labels have the wanted values; a wanted value may be a predicate. */
export function select(samples, name, wanted = {}) {
  const conditions = Object.entries(wanted);
  const fits = (labels) => conditions.every(([label, want]) =>
    typeof want === "function" ? want(labels[label] ?? "") : (labels[label] ?? "") === String(want));
  return samples.filter((sample) => sample.name === name && fits(sample.labels));
}

/** Return the sum of samples, as of several workers or versions. */
export function total(samples, name, wanted) {
  return select(samples, name, wanted).reduce((sum, { value }) => sum + value, 0);
}

/** Return the distinct values of a label in the samples of a name. */
export function valuesOf(samples, name, label) {
  return [...new Set(select(samples, name).map(({ labels }) => labels[label] ?? ""))];
}

/** Return the sum of histograms, or null: {bounds, counts, sum, count}, with upper bounds, the last infinite, and
 * the count of each bucket alone. */
export function histogramOf(samples, name, wanted) {
  const reached = new Map();
  for (const { labels, value } of select(samples, `${name}_bucket`, wanted)) {
    const bound = WORDS[labels.le] ?? Number(labels.le);
    reached.set(bound, (reached.get(bound) ?? 0) + value);
  }
  if (!reached.size) return null;
  const bounds = [...reached.keys()].sort((a, b) => a - b);
  const counts = bounds.map((bound, i) => reached.get(bound) - (i ? reached.get(bounds[i - 1]) : 0));
  return { bounds, counts, sum: total(samples, `${name}_sum`, wanted), count: reached.get(bounds.at(-1)) };
}

/** Return the difference of a histogram to an earlier one, which may be null. */
export function grown(after, before) {
  if (!after || !before) return after;
  const counts = after.counts.map((count, i) => Math.max(0, count - (before.counts[i] ?? 0)));
  const count = counts.reduce((sum, each) => sum + each, 0);
  return { bounds: after.bounds, counts, sum: Math.max(0, after.sum - before.sum), count };
}

/** Return a quantile of a histogram, with linear interpolation within a bucket, as in Prometheus. */
export function quantile(histogram, share) {
  if (!histogram?.count) return null;
  const { bounds, counts, count } = histogram;
  let left = share * count;
  const bucket = counts.findIndex((inside) => inside > 0 && (left -= inside) <= 1e-9);
  const low = bucket > 0 ? bounds[bucket - 1] : 0;
  if (!Number.isFinite(bounds[bucket])) return low;
  return bounds[bucket] + (left / counts[bucket]) * (bounds[bucket] - low);
}

/** Return the mean of a histogram, or null for an empty one. */
export function mean(histogram) {
  return histogram?.count ? histogram.sum / histogram.count : null;
}
