// A panel that shows the newest answer of a model.

import { classAnswer, glanceClasses, sayClasses } from "./answer_classes.js";
import { notices } from "./claims.js";
import { glanceValues, sayValues, valueAnswer } from "./answer_values.js";
import { h } from "./dom.js";

const NARROWEST = 240;

/** Return {element, show(reply)}; the panel redraws itself when its size changes. */
export function answerPanel(manifest) {
  const classes = manifest.task === "classification";
  const places = Object.fromEntries(["verdict", "decision", "spread", "split"].map((name) => [name, h("div")]));
  const opened = new Set();
  let latest = null;
  const show = (reply) => {
    latest = reply;
    const width = Math.max(NARROWEST, places.spread.clientWidth);
    const focused = element.contains(document.activeElement) && document.activeElement.dataset.fold;
    const parts = (classes ? classAnswer : valueAnswer)({ manifest, reply, width, fold });
    for (const [name, place] of Object.entries(places)) place.replaceChildren(parts[name]);
    if (focused) element.querySelector(`[data-fold="${focused}"]`)?.focus();
  };
  /** Long content, created only while it is unfolded; it stays unfolded when the answer changes. */
  const fold = (name, summary, make) => {
    const toggle = (event) => {
      event.preventDefault();
      if (!opened.delete(name)) opened.add(name);
      show(latest);
    };
    const open = opened.has(name);
    return h("details", { open }, h("summary", { "data-fold": name, onclick: toggle }, summary), open && make());
  };
  const element = h(
    "div",
    { class: "panel" },
    places.verdict,
    places.decision,
    h("section", { class: "part" }, h("h3", {}, "Answers of the networks"), legend(classes), places.spread),
    h("section", { class: "part" }, h("h3", {}, "Parts of the uncertainty"), places.split),
  );
  let width = 0;
  new ResizeObserver(() => {
    if (latest && places.spread.clientWidth !== width) show(latest);
    width = places.spread.clientWidth;
  }).observe(element);
  return { element, show };
}

/** Return the answer in one line, for screen readers. */
export function say(manifest, reply) {
  const answer = manifest.task === "classification" ? sayClasses(reply) : sayValues(reply);
  return [answer, ...notices(reply).map((notice) => notice.textContent)].join(" ");
}

/** Return the answer as a list of short texts, shown while the panel is out of view. */
export function glance(manifest, reply) {
  return manifest.task === "classification" ? glanceClasses(reply) : glanceValues(reply);
}

function legend(classes) {
  if (!classes) return h("p", { class: "legend small muted" }, "Each bar counts networks; the line is the answer without dropout.");
  return h(
    "p",
    { class: "legend small muted" },
    h("span", {}, h("span", { class: "swatch ridge", "aria-hidden": "true" }), "networks at each probability"),
    h("span", {}, h("span", { class: "swatch bar", "aria-hidden": "true" }), "their mean"),
    h("span", {}, h("span", { class: "swatch rhomb", "aria-hidden": "true" }), "without dropout"),
  );
}
