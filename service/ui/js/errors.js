// What is wrong with what is set, where it belongs: in the service's own words, or the page's before it asks.

import { byId, freshId, h } from "./dom.js";

/** The line below a control for what is wrong with it, which the control names as its description. */
export function errorLine(field, ...controls) {
  const line = h("p", { id: freshId("error"), class: "control-error", "data-field": field, hidden: true });
  for (const control of controls) control.setAttribute("aria-describedby", line.id);
  return line;
}

/** The page's own look at a control: `mistake` in words, or null. It stays told until it is mended. */
export function check(line, mistake) {
  line.toggleAttribute("data-own", mistake !== null);
  tell(line, mistake ?? "");
  grey();
  return mistake === null;
}

/** A refusal: beside the control that it names, else above the answer, which is out of date now. */
export function showError(error) {
  clearErrors();
  tell(placeOf(error.details?.field ?? "") ?? byId("answer-error"), error.message);
  byId("answer-body").classList.add("stale");
}

/** What the service has refused is over; what the page itself sees is not. */
export function clearErrors() {
  for (const line of [byId("answer-error"), ...lines()]) if (!line.matches("[data-own]")) tell(line, "");
  byId("answer-body").classList.remove("stale");
  grey();
}

/** While something that is set cannot be asked, the answer is not that to it. */
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

/** The place that names most of the field: that of `inputs[0][3]` before that of `inputs`. */
function placeOf(field) {
  const places = lines().filter((place) => field.startsWith(place.dataset.field));
  return places.sort((a, b) => b.dataset.field.length - a.dataset.field.length)[0];
}
