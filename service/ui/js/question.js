// What the page asks, as the body of a request.

import { modelPath } from "./api.js";

const MOST_VALUES = 50_000;
const LEVELS = 100;

/** The path and body of a question, as a program would send it. `inputs` is one row, or an object of rows by input. */
export function makeQuestion({ manifest, row, samples, seed, rate, squashed, coverage, errorRate }) {
  const several = manifest.inputs.length > 1;
  const inputs = several ? Object.fromEntries(Object.entries(row ?? {}).map(([name, one]) => [name, [one]])) : [row];
  const body = { inputs, samples, seed };
  const ablate = [...squashed].filter(([, units]) => units.size ?? units).map(([site, units]) => ablation(site, units));
  if (rate !== null) body.dropout_rate = rate;
  if (ablate.length) body.ablate = ablate;
  if (coverage !== null && !ablate.length) body.coverage = coverage;
  if (errorRate !== null && !ablate.length && rate === null) body.error_rate = errorRate;
  return { path: `${modelPath(manifest.model, manifest.version)}/uncertainty`, body };
}

/** The same, and what each network answers, to be shown: every sample, or quantiles where these would be many. */
export function withSamples({ path, body }, manifest) {
  const many = body.samples * manifest.output.shape[0] > MOST_VALUES;
  const levels = Array.from({ length: LEVELS }, (_, i) => (i + 0.5) / LEVELS);
  return { path, body: { ...body, ...(many ? { quantiles: levels } : { return_samples: true }) } };
}

function ablation(site, units) {
  return typeof units === "number" ? { site, fraction: units } : { site, units: [...units].sort((a, b) => a - b) };
}
