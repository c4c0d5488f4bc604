// Refusals of the service, in its own words, where they belong.

import { byId } from "./dom.js";

/** Beside the control that the error names, else above the answer, which is out of date now. */
export function showError(error) {
  clearErrors();
  const place = placeOf(error.details?.field ?? "") ?? byId("answer-error");
  place.textContent = error.message;
  place.hidden = false;
  byId("answer-body").classList.add("stale");
}

export function clearErrors() {
  for (const place of [byId("answer-error"), ...document.querySelectorAll("[data-field]")]) place.hidden = true;
  byId("answer-body").classList.remove("stale");
}

/** The place that names most of the field: that of `inputs[0][3]` before that of `inputs`. */
function placeOf(field) {
  const places = [...document.querySelectorAll("[data-field]")].filter((place) => field.startsWith(place.dataset.field));
  return places.sort((a, b) => b.dataset.field.length - a.dataset.field.length)[0];
}
