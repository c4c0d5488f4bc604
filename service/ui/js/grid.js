// A canvas as a grid of cells for pointer and keyboard: arrows move a cursor, Space acts on its cell, Shift with an
// arrow acts while moving.

import { h } from "./dom.js";

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Wrap a canvas. Points are {x, y} in cells, with fractions. `press` begins a stroke and `drag(from, to)` continues it;
 * `act` is called by the keyboard with the centre of a cell; `describe(x, y)` returns a cell in words.
 */
export function cellGrid({ canvas, columns, rows, press, drag, act, describe }) {
  const cursor = h("span", { class: "cursor", "aria-hidden": "true", hidden: true });
  const spoken = h("span", { class: "hidden-text", role: "status" });
  const place = { x: 0, y: 0 };
  let last = null;

  const pointOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * columns, y: ((event.clientY - box.top) / box.height) * rows };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    last = pointOf(event);
    cursor.hidden = true;
    press(last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    for (const step of event.getCoalescedEvents?.() ?? [event]) {
      const next = pointOf(step);
      drag(last, next);
      last = next;
    }
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(name, () => (last = null));

  const show = () => {
    cursor.hidden = false;
    cursor.style.left = `${(100 * place.x) / columns}%`;
    cursor.style.top = `${(100 * place.y) / rows}%`;
    cursor.style.width = `${100 / columns}%`;
    cursor.style.height = `${100 / rows}%`;
    spoken.textContent = describe(place.x, place.y);
  };
  const actHere = () => act({ x: place.x + 0.5, y: place.y + 0.5 });
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move && event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (move) {
      place.x = Math.max(0, Math.min(columns - 1, place.x + move[0]));
      place.y = Math.max(0, Math.min(rows - 1, place.y + move[1]));
    }
    if (!move || event.shiftKey) actHere();
    show();
  });
  canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && show());
  canvas.addEventListener("blur", () => (cursor.hidden = true));

  return h("div", { class: "cells" }, canvas, cursor, spoken);
}
