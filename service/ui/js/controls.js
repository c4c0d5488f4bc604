// Labelled sliders.

import { freshId, h } from "./dom.js";
import { check, errorLine } from "./errors.js";

const STEPS = 300;

/** A slider with its value beside the label. `set` shows a value without calling `onchange`. */
export function slider({ label, min, max, step, value, text, onchange, hint = null, field = null }) {
  const id = freshId("slider");
  const output = h("output", { for: id });
  const input = h("input", { id, type: "range", min, max, step, oninput: () => changed(Number(input.value)) });
  const set = (next) => {
    input.value = next;
    output.textContent = text(next);
    input.setAttribute("aria-valuetext", text(next));
  };
  const changed = (next) => {
    set(next);
    onchange(next);
  };
  set(value);
  const error = field && errorLine(field, input);
  const element = h("div", { class: "control" }, h("label", { for: id }, label), output, input, hint, error);
  return { element, input, set };
}

/** A logarithmic slider beside a number field, for whole numbers over decades. */
export function decades({ label, min, max, value, onchange, field }) {
  const [id, rangeId] = [freshId("number"), freshId("slider")];
  const place = (number) => Math.round((STEPS * Math.log(number / min)) / Math.log(max / min));
  const number = (position) => Math.round(min * (max / min) ** (position / STEPS));
  const range = h("input", { id: rangeId, type: "range", min: 0, max: STEPS, "aria-label": `${label}, as a slider` });
  const input = h("input", { id, type: "number", min, max, step: 1, class: "short" });
  const set = (next) => {
    range.value = place(next);
    range.setAttribute("aria-valuetext", String(next));
    if (Number(input.value) !== next) input.value = next;
    check(error, null);
  };
  range.addEventListener("input", () => {
    set(number(Number(range.value)));
    onchange(number(Number(range.value)));
  });
  input.addEventListener("input", () => {
    if (!check(error, wholeMistake(input))) return;
    set(Number(input.value));
    onchange(Number(input.value));
  });
  const error = errorLine(field, input);
  set(value);
  return { element: h("div", { class: "control" }, h("label", { for: id }, label), input, range, error), range, input, set };
}

/** The error of a field for a whole number within its bounds, or null. */
export function wholeMistake(input) {
  const value = Number(input.value);
  const fits = input.value !== "" && Number.isInteger(value) && value >= Number(input.min) && value <= Number(input.max);
  return fits ? null : `Expected a whole number from ${input.min} to ${input.max}.`;
}
