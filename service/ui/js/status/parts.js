// Parts of the status page.

import { h } from "../dom.js";

/** A table; rows are lists of cells, the first of which names the row. The keyboard can focus it to scroll, unless it
 * is `live`, as it is then redrawn all the time. */
export function table({ caption, head, rows, numbers = [], live = false }) {
  const kind = (i) => (numbers.includes(i) ? "number" : null);
  const headings = head.map((text, i) => h("th", { scope: "col", class: kind(i) }, text));
  const cell = (content, i) => (i ? h("td", { class: kind(i) }, content) : h("th", { scope: "row", class: kind(i) }, content));
  const body = rows.map((cells) => h("tr", {}, ...cells.map(cell)));
  const whole = h("table", {},
    h("caption", { class: "hidden-text" }, caption), h("thead", {}, h("tr", {}, ...headings)), h("tbody", {}, ...body));
  return h("div", live ? {} : { class: "table-scroll", tabindex: "0", role: "region", "aria-label": caption }, whole);
}

/** A list of terms with their values: [{name, value, note?}]. */
export function figures(items) {
  return h("dl", { class: "figures" }, ...items.map(({ name, value, note }) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value), note && h("dd", { class: "note" }, note))));
}
