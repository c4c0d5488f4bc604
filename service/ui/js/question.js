// The body of the page's request.

import { modelPath } from "./api.js";

const MOST_VALUES = 50_000;
const LEVELS = 100;

/** Return path and body of a request, as a program would send it. `inputs` is one row, or an object of rows by input. */
export function makeQuestion({ manifest, row, samples, seed, rate, dropped, coverage, errorRate }) {
  const several = manifest.inputs.length > 1;
  const inputs = several ? Object.fromEntries(Object.entries(row ?? {}).map(([name, one]) => [name, [one]])) : [row];
  const body = { inputs, samples, seed };
  const ablate = [...dropped].filter(([, units]) => units.size ?? units).map(([site, units]) => ablation(site, units));
  if (rate !== null) body.dropout_rate = rate;
  if (ablate.length) body.ablate = ablate;
  if (coverage !== null && !ablate.length) body.coverage = coverage;
  if (errorRate !== null && !ablate.length && rate === null) body.error_rate = errorRate;
  return { path: `${modelPath(manifest.model, manifest.version)}/uncertainty`, body };
}

/**
 * Return the same with the samples to show, or with quantiles where the samples would be many. If all units of a site
 * are dropped, two other rows are sent too, to find whether the answer still depends on the row.
 */
export function withSamples({ path, body }, manifest, examples) {
  const many = body.samples * manifest.output.shape[0] > MOST_VALUES;
  const levels = Array.from({ length: LEVELS }, (_, i) => (i + 0.5) / LEVELS);
  const inputs = (body.ablate ?? []).some((one) => isWhole(one, manifest.sites)) ? withRows(body.inputs, examples.slice(0, 2)) : body.inputs;
  return { path, body: { ...body, inputs, ...(many ? { quantiles: levels } : { return_samples: true }) } };
}

/** Whether a reply gives every row the same answer. */
export function isBlind({ predictions }) {
  const [first, ...others] = predictions.map((row) => JSON.stringify([row.deterministic, row.mean_probabilities ?? row.mean]));
  return others.length > 1 && others.every((answer) => answer === first);
}

const isWhole = ({ site, units }, sites) => units?.length === sites[site].shape.reduce((product, size) => product * size, 1);

function withRows(inputs, rows) {
  if (Array.isArray(inputs)) return [...inputs, ...rows];
  return Object.fromEntries(Object.entries(inputs).map(([name, list]) => [name, [...list, ...rows.map((row) => row[name])]]));
}

function ablation(site, units) {
  return typeof units === "number" ? { site, fraction: units } : { site, units: [...units].sort((a, b) => a - b) };
}
