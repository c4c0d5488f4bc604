// Names of the metrics of an evaluation, as in the model card.

/** The main metrics, in order; better is "higher", "lower" or empty. */
export const MAIN = {
  accuracy: { title: "Accuracy", better: "higher" },
  balanced_accuracy: { title: "Balanced accuracy", better: "higher" },
  nll: { title: "NLL, nats", better: "lower" },
  brier: { title: "Brier score", better: "lower" },
  ece: { title: "ECE, 15 bins", better: "lower" },
  ece_weighted: { title: "ECE, class weights", better: "lower" },
  aurc: { title: "AURC", better: "lower" },
  excess_aurc: { title: "Excess AURC", better: "lower" },
  rmse: { title: "Root mean square error", better: "lower" },
  mae: { title: "Mean absolute error", better: "lower" },
  crps: { title: "CRPS", better: "lower" },
  aurc_mae: { title: "AURC, absolute error", better: "lower" },
  excess_aurc_mae: { title: "Excess AURC, absolute error", better: "lower" },
  error_correlation: { title: "Correlation of error and deviation", better: "higher" },
  mutual_information: { title: "Mean mutual information, nats", better: "" },
};

const PATTERNS = [
  [/^auroc_([a-z]+)_(.+)$/, (found, by) => `AUROC: ${DOUBTFUL[found] ?? words(found)}, detected by ${DOUBTS[by] ?? words(by)}`],
  [/^coverage_([\d.]+)$/, (aim) => `Truths inside sets or intervals of ${share(aim)}`],
  [/^set_size_([\d.]+)$/, (aim) => `Classes in a set of ${share(aim)}`],
  [/^width_([\d.]+)$/, (aim) => `Width of an interval of ${share(aim)}`],
  [/^accepted_([\d.]+)$/, (aim) => `Rows accepted at an error rate of ${share(aim)}`],
  [/^error_rate_([\d.]+)$/, (aim) => `Errors among the accepted, aimed at ${share(aim)}`],
];
const DOUBTFUL = { wrong: "wrong among right answers", noise: "noise among test rows", rotated: "turned images", other: "rows of other data" };
const DOUBTS = { entropy: "entropy", confidence: "1 − highest probability", mutual_information: "mutual information", std: "deviation of the samples" };

export const PLOTS = {
  "reliability.svg": "Reliability: accuracy against confidence. On the dashed line both are equal.",
  "risk_coverage.svg": "Risk and coverage: error rate of the rows answered, against their fraction. Lower is better.",
  "predicted_and_true.svg": "The first output, predicted against true, with intervals.",
};

export function figureName(key) {
  for (const [pattern, name] of PATTERNS) {
    const match = pattern.exec(key);
    if (match) return name(...match.slice(1));
  }
  return MAIN[key]?.title ?? words(key);
}

export function plotCaption(file) {
  return PLOTS[file] ?? words(file.replace(/\.svg$/, ""));
}

const share = (aim) => `${Number((100 * aim).toPrecision(6))} %`;
const words = (key) => `${key.charAt(0).toUpperCase()}${key.slice(1).replaceAll("_", " ")}`;
