// Named values: a slider and a number each, or the names of a category; what differs from the example is marked.

import { format } from "./charts.js";
import { freshId, h } from "./dom.js";
import { ranges } from "./kinds.js";

const STEPS = 200;

/** An editor: {element, row(), picture(), describe()}. */
export function fieldsEditor({ manifest, examples, onchange }) {
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
    const whether = whole || [...column, limits[i].low, limits[i].high].every(Number.isInteger);
    return categories ? choice(name, categories, changed(i), i) : quantity(name, limits[i], whether, changed(i), i);
  });
  const mark = (i) => {
    fields[i].mark(row[i] === example[i] ? null : example[i]);
    undo.disabled = row.every((value, j) => value === example[j]);
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
    describe: () => names.map((name, i) => [name, typeof row[i] === "number" ? format(row[i]) : String(row[i])]),
  };
}

function quantity(name, { low, high }, whole, onchange, place) {
  const [id, rangeId] = [freshId("field"), freshId("slider")];
  const step = whole ? Math.max(1, Math.round((high - low) / STEPS)) : stepOf(high - low);
  const range = h("input", { id: rangeId, type: "range", min: low, max: high > low ? high : low + 1, step: whole ? step : "any", "aria-label": `${name}, as a slider` });
  const input = h("input", { id, type: "number", step: whole ? 1 : "any" });
  range.addEventListener("input", () => {
    const value = Number((Math.round(Number(range.value) / step) * step).toPrecision(7));
    input.value = value;
    input.setAttribute("aria-invalid", "false");
    onchange(value);
  });
  input.addEventListener("input", () => {
    const valid = input.value !== "" && input.validity.valid;
    input.setAttribute("aria-invalid", String(!valid));
    if (!valid) return;
    range.value = input.value;
    onchange(Number(input.value));
  });
  const set = (value) => {
    input.value = value;
    range.value = value;
    input.setAttribute("aria-invalid", "false");
  };
  return framed(name, id, [input, range], set, place);
}

function choice(name, categories, onchange, place) {
  const id = freshId("field");
  const options = categories.map((category) => h("option", {}, category));
  const select = h("select", { id, onchange: () => onchange(select.value) }, ...options);
  return framed(name, id, [select], (value) => (select.value = value), place);
}

/** A label, what is set, and what the example had where that differs. */
function framed(name, id, inputs, set, place) {
  const before = h("span", { class: "before" });
  const error = h("p", { class: "control-error", "data-field": `inputs[0][${place}]`, hidden: true });
  const element = h("div", { class: "control field" }, h("label", { for: id }, name, before), ...inputs, error);
  const mark = (value) => {
    element.classList.toggle("changed", value !== null);
    before.textContent = value === null ? "" : ` was ${typeof value === "number" ? format(value) : value}`;
  };
  return { element, set, mark };
}

/** A round step that gives a slider about as many places as it can show. */
function stepOf(width) {
  return width > 0 ? 10 ** Math.floor(Math.log10(width / STEPS)) : 0.01;
}
