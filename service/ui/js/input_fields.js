// Named values: a slider and a number field each, or the names of a category; changes from the example are marked.

import { freshId, h } from "./dom.js";
import { check, errorLine } from "./errors.js";
import { exact, outside, ranges } from "./kinds.js";

const STEPS = 200;

/** An editor: {element, row(), picture(), describe(), outside(), altered()}. */
export function fieldsEditor({ manifest, examples, onchange }) {
  const optional = manifest.inputs[0].imputation.length > 0;
  const whole = manifest.inputs[0].dtype.startsWith("int");
  const limits = ranges(manifest, examples);
  let example = examples[0];
  const row = [...example];
  const names = row.map((_, i) => manifest.features[i] ?? `value ${i + 1}`);

  const changed = (i) => (value) => {
    row[i] = value;
    mark(i);
    onchange();
  };
  const fields = names.map((name, i) => {
    const categories = Object.hasOwn(manifest.categories, name) && manifest.categories[name];
    const column = examples.map((one) => one[i]);
    const steps = whole || [...column.filter((value) => value !== null), limits[i].low, limits[i].high].every(Number.isInteger);
    const settings = { ...limits[i], whole, steps, optional };
    return categories ? choice(name, categories, optional, changed(i), i) : quantity(name, settings, changed(i), i);
  });
  const altered = () => row.some((value, i) => value !== example[i]);
  const mark = (i) => {
    fields[i].mark(row[i] === example[i] ? undefined : example[i], outside(manifest, row).find((one) => one.place === i));
    undo.disabled = !altered();
  };
  const load = (chosen) => {
    example = examples[chosen];
    fields.forEach((field, i) => {
      row[i] = example[i];
      field.set(example[i]);
      mark(i);
    });
    onchange();
  };
  const undo = h("button", { type: "button", disabled: true, onclick: () => load(Number(select.value)) }, "Undo changes");
  const id = freshId("example");
  const options = examples.map((_, i) => h("option", { value: i }, `Row ${i + 1}`));
  const select = h("select", { id, onchange: () => load(Number(select.value)) }, ...options);
  const element = h(
    "div",
    { class: "editor" },
    h("div", { class: "buttons from" }, h("label", { for: id }, "Example"), select, undo),
    h("div", { class: "fields" }, ...fields.map((field) => field.element)),
  );
  load(0);
  return {
    element,
    row: () => [...row],
    picture: () => null,
    describe: () => names.map((name, i) => [name, written(row[i])]),
    outside: () => outside(manifest, row),
    altered,
  };
}

/** `steps`: the slider moves by whole numbers; `whole`: the model accepts no others; `optional`: may be empty. */
function quantity(name, { low, middle, high, whole, steps, optional }, onchange, place) {
  const [id, rangeId] = [freshId("field"), freshId("slider")];
  const step = steps ? Math.max(1, Math.round((high - low) / STEPS)) : stepOf(high - low);
  const range = h("input", { id: rangeId, type: "range", min: low, max: high > low ? high : low + 1, step: steps ? step : "any", "aria-label": `${name}, as a slider` });
  const input = h("input", { id, type: "number", step: whole ? 1 : "any" });
  range.addEventListener("input", () => {
    const value = steps ? Number(range.value) : Number((Math.round(Number(range.value) / step) * step).toPrecision(15));
    const within = Math.max(Number(range.min), Math.min(Number(range.max), value));
    set(within);
    onchange(within);
  });
  input.addEventListener("input", () => {
    const missing = optional && input.value === "" && !input.validity.badInput;
    const valid = missing || (input.value !== "" && input.validity.valid);
    if (!check(field.error, valid ? null : `Expected a ${whole ? "whole " : ""}number.`)) return field.unmark();
    const value = missing ? null : Number(input.value);
    slide(value);
    onchange(value);
  });
  const set = (value) => {
    input.value = value ?? "";
    slide(value);
    check(field.error, null);
  };
  const slide = (value) => {
    range.value = value ?? middle;
    range.setAttribute("aria-valuetext", written(value)); // the slider's own step may be coarser
  };
  const field = framed(name, id, [input, range], set, place);
  return field;
}

function choice(name, categories, optional, onchange, place) {
  const id = freshId("field");
  const values = optional ? [...categories, null] : categories;
  const options = values.map((value) => h("option", {}, written(value)));
  const select = h("select", { id, onchange: () => onchange(values[select.selectedIndex]) }, ...options);
  return framed(name, id, [select], (value) => (select.selectedIndex = values.indexOf(value)), place);
}

/** A label, the inputs, the example's value if it differs, and the training range if the value is outside. */
function framed(name, id, inputs, set, place) {
  const before = h("span", { id: freshId("before"), class: "before" });
  const error = errorLine(`inputs[0][${place}]`, inputs[0]);
  const beyond = h("p", { id: freshId("beyond"), class: "beyond", hidden: true });
  inputs[0].setAttribute("aria-describedby", `${error.id} ${before.id} ${beyond.id}`);
  const element = h("div", { class: "control field" }, h("div", {}, h("label", { for: id }, name), before), ...inputs, error, beyond);
  const mark = (value, outside) => {
    beyond.textContent = outside ? `Outside the range of the training data: ${outside.range}` : "";
    beyond.hidden = !outside;
    element.classList.toggle("changed", value !== undefined);
    before.textContent = value === undefined ? "" : ` was ${written(value)}`;
  };
  const unmark = () => (beyond.hidden = true);
  return { element, error, set, mark, unmark };
}

const written = (value) => (typeof value === "number" ? exact(value) : (value ?? "missing"));

/** A round step that gives a slider about as many positions as it can show. */
function stepOf(width) {
  return width > 0 ? 10 ** Math.floor(Math.log10(width / STEPS)) : 0.01;
}
