// Errors shown beside their controls: those of the service, and those found by the page before a request.

import { byId, freshId, h } from "./dom.js";

/** The line below a control for its error, which describes the control. */
export function errorLine(field, ...controls) {
  const line = h("p", { id: freshId("error"), class: "control-error", "data-field": field, hidden: true });
  for (const control of controls) control.setAttribute("aria-describedby", line.id);
  return line;
}

/** Show or clear the page's own error of a control: `mistake` in words, or null. */
export function check(line, mistake) {
  line.toggleAttribute("data-own", mistake !== null);
  tell(line, mistake ?? "");
  grey();
  return mistake === null;
}

/** Show an error of the service beside the control that it names, or else above the answer, which is now stale. */
export function showError(error) {
  clearErrors();
  tell(placeOf(error.details?.field ?? "") ?? byId("answer-error"), error.message);
  byId("answer-body").classList.add("stale");
}

/** Clear the errors of the service; those found by the page stay. */
export function clearErrors() {
  for (const line of [byId("answer-error"), ...lines()]) if (!line.matches("[data-own]")) tell(line, "");
  byId("answer-body").classList.remove("stale");
  grey();
}

/** Mark the answer as stale while an input is invalid. */
function grey() {
  const wrong = lines().some((line) => line.matches("[data-own]"));
  byId("answer-other").hidden = !wrong;
  byId("answer-body").classList.toggle("other", wrong);
}

function tell(line, text) {
  line.textContent = text;
  line.hidden = !text;
  for (const control of document.querySelectorAll(`[aria-describedby~="${line.id}"]`)) control.setAttribute("aria-invalid", String(Boolean(text)));
}

const lines = () => [...document.querySelectorAll("[data-field]")];

/** The most specific place of a field: that of `inputs[0][3]` before that of `inputs`. */
function placeOf(field) {
  const places = lines().filter((place) => field.startsWith(place.dataset.field));
  return places.sort((a, b) => b.dataset.field.length - a.dataset.field.length)[0];
}
