// Elements of a page, made in one expression.

/** An element; attributes that are null or false are left out, children are elements or text. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null));
  return made;
}

/** A table; rows are lists of cells, the first of which names the row. One that is drawn anew all the time is no stop
 * of the keyboard, others are, for they scroll where they are too wide. */
export function table({ caption, head, rows, numbers = [], live = false }) {
  const kind = (i) => (numbers.includes(i) ? "number" : null);
  const headings = head.map((text, i) => make("th", { scope: "col", class: kind(i) }, text));
  const body = rows.map((cells) => make("tr", {}, cells.map((cell, i) =>
    i ? make("td", { class: kind(i) }, cell) : make("th", { scope: "row", class: kind(i) }, cell))));
  const whole = make("table", {}, make("caption", { class: "hidden-text" }, caption), make("thead", {}, make("tr", {}, headings)), make("tbody", {}, body));
  return make("div", live ? {} : { class: "table-scroll", tabindex: "0", role: "region", "aria-label": caption }, whole);
}

/** Terms and what they come to. */
export function figures(items) {
  return make("dl", { class: "figures" }, items.map(({ name, value, note = null }) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value, note ? make("span", { class: "note" }, note) : null))));
}
