// The options of sampling (number of samples, p, seed) and of the decision.

import { format, percent } from "./charts.js";
import { decades, slider, wholeMistake } from "./controls.js";
import { freshId, h } from "./dom.js";
import { check, errorLine } from "./errors.js";

const MOST = 1000;
const USUAL = 100;
const LARGEST_P = 0.95;
const LARGEST_SEED = Number.MAX_SAFE_INTEGER;
const USUAL_COVERAGE = 0.95;

/** {element, values}: samples, rate (null: as trained), seed, coverage and errorRate (null: not requested). */
export function samplingEditor({ manifest, onchange }) {
  const coverages = manifest.conformal.map((one) => one.coverage);
  const values = {
    samples: USUAL,
    rate: null,
    seed: 0,
    coverage: coverages.includes(USUAL_COVERAGE) ? USUAL_COVERAGE : (coverages.at(-1) ?? null),
    errorRate: null,
  };
  const set = (name) => (value) => {
    values[name] = value;
    onchange();
  };
  const samples = decades({ label: "T, number of samples", min: 1, max: MOST, value: USUAL, onchange: set("samples"), field: "samples" });
  const element = h("div", { class: "stack" }, samples.element, rateControl(manifest, set("rate")), seedControl(set("seed")));
  const deciding = h("div", { class: "stack" }, ...deciders(manifest, coverages, values, set));
  return { element, deciding, values };
}

function rateControl({ sites }, onchange) {
  const trained = [...new Set(sites.map((site) => format(site.p)))].join(", ");
  const fixed = sites.some((site) => site.kind === "alpha");
  const rate = slider({
    label: "p, fraction of units dropped",
    min: 0,
    max: LARGEST_P,
    step: 0.01,
    value: sites[0].p,
    text: format,
    onchange: (value) => {
      box.checked = false;
      onchange(value);
    },
    field: "dropout_rate",
  });
  const id = freshId("trained");
  const box = h("input", {
    id,
    type: "checkbox",
    checked: true,
    onchange: () => {
      if (box.checked) rate.set(sites[0].p);
      onchange(box.checked ? null : Number(rate.input.value));
    },
  });
  rate.input.disabled = box.disabled = fixed;
  const why = fixed ? " (alpha dropout has it in the network)" : "";
  rate.element.append(h("label", { class: "check wide", for: id }, box, `as trained: ${trained}${why}`));
  return rate.element;
}

function seedControl(onchange) {
  const id = freshId("seed");
  const input = h("input", { id, type: "number", min: 0, max: LARGEST_SEED, step: 1, value: 0, class: "short" });
  const read = () => {
    if (check(error, wholeMistake(input))) onchange(Number(input.value));
  };
  input.addEventListener("input", read);
  const next = h(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        input.value = wholeMistake(input) || Number(input.value) === LARGEST_SEED ? 0 : Number(input.value) + 1;
        read();
      },
    },
    "Other samples",
  );
  const error = errorLine("seed", input);
  return h("div", { class: "control" }, h("label", { for: id }, "Seed of the samples"), input, next, error);
}

function deciders({ abstention, task }, coverages, values, set) {
  const made = [];
  if (abstention.length) {
    const options = [["", "as the model decides"], ...abstention.map((one) => [one.error_rate, `at most ${percent(one.error_rate)}`])];
    made.push(select("Allowed error rate of accepted answers", options, "", (text) => set("errorRate")(text === "" ? null : Number(text)), "error_rate"));
  }
  if (coverages.length) {
    const options = coverages.map((coverage) => [coverage, `in ${percent(coverage)} of cases`]);
    const what = task === "classification" ? "The prediction set contains" : "The interval contains";
    made.push(select(`${what} the truth`, options, values.coverage, (text) => set("coverage")(Number(text)), "coverage"));
  }
  return made;
}

function select(label, options, chosen, onchange, field) {
  const id = freshId("select");
  const made = options.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  const element = h("select", { id, class: "wide", onchange: () => onchange(element.value) }, ...made);
  const error = errorLine(field, element);
  return h("div", { class: "control" }, h("label", { class: "wide", for: id }, label), element, error);
}
