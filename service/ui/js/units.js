// The units of each dropout site, which can be dropped: zero in every network, also in the one without dropout.

import { slider } from "./controls.js";
import { percent } from "./charts.js";
import { h } from "./dom.js";
import { errorLine } from "./errors.js";
import { cellGrid } from "./grid.js";
import { shuffled } from "./image.js";
import { onScheme } from "./paint.js";

const MOST_SHOWN = 4096;
const CELL = 20;
const NEARLY_ALL = 0.99;

/** {element, dropped}: a map from a site's number to the set of its dropped units, or a fraction for many units. */
export function unitsEditor({ sites, onchange, signal }) {
  const dropped = new Map();
  const error = errorLine("ablate");
  const reset = h("button", { type: "button", disabled: true, onclick: () => setAll() }, "Restore all");
  const changed = () => {
    reset.disabled = ![...dropped.values()].some((units) => units.size ?? units);
    onchange();
  };
  const editors = sites.map((site, i) => (count(site) <= MOST_SHOWN ? siteGrid : siteFraction)(site, i, dropped, changed, signal));
  const setAll = () => {
    editors.forEach((editor) => editor.clear());
    changed();
  };
  const element = h("div", { class: "sites" }, ...editors.map((editor) => editor.element), error, h("div", { class: "buttons" }, reset));
  return { element, dropped };
}

const count = (site) => site.shape.reduce((product, size) => product * size, 1);

const columnsFor = (units) => (units <= 16 ? units : units <= 64 ? 16 : units <= 1024 ? 32 : 64);

function siteGrid(site, number, dropped, changed, signal) {
  const units = count(site);
  const columns = columnsFor(units);
  const rows = Math.ceil(units / columns);
  const gone = new Set();
  dropped.set(number, gone);
  let dropping = true;

  const canvas = h("canvas", {
    width: columns * CELL,
    height: rows * CELL,
    tabindex: 0,
    role: "application",
    "aria-label": `Units of ${site.name}: arrow keys move, Space drops or restores one`,
  });
  const unitAt = ({ x, y }) => {
    const unit = Math.floor(y) * columns + Math.floor(x);
    return x >= 0 && x < columns && y >= 0 && unit < units ? unit : null;
  };
  const put = (unit) => {
    if (unit === null || gone.has(unit) === dropping) return;
    if (dropping) gone.add(unit);
    else gone.delete(unit);
    update();
  };
  const toggle = (point) => {
    const unit = unitAt(point);
    if (unit === null) return;
    dropping = !gone.has(unit);
    put(unit);
  };
  const drag = (from, to) => {
    const steps = Math.ceil(2 * Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y), 0.5));
    for (let i = 0; i <= steps; i += 1) {
      put(unitAt({ x: from.x + (i / steps) * (to.x - from.x), y: from.y + (i / steps) * (to.y - from.y) }));
    }
  };
  const describe = (x, y) => {
    const unit = unitAt({ x, y });
    return unit === null ? "No unit here" : `Unit ${unit}, ${gone.has(unit) ? "dropped" : "kept"}`;
  };
  const grid = cellGrid({ canvas, columns, rows, press: toggle, drag, act: toggle, describe });

  const fraction = slider({
    label: "Drop a fraction",
    min: 0,
    max: 1,
    step: 0.01,
    value: 0,
    text: percent,
    onchange: (share) => {
      gone.clear();
      for (const unit of shuffled(units, number + 1).slice(0, Math.round(share * units))) gone.add(unit);
      draw();
      changed();
    },
  });
  const title = h("h3", {}, site.name);
  const text = h("span", { class: "small muted" });
  const draw = () => {
    drawUnits(canvas, columns, units, gone);
    text.textContent = `${gone.size} of ${units} dropped`;
  };
  const update = () => {
    draw();
    fraction.set(Math.round((100 * gone.size) / units) / 100);
    changed();
  };
  onScheme(draw, signal);
  draw();
  const clear = () => {
    gone.clear();
    fraction.set(0);
    draw();
  };
  return { element: h("div", { class: "site" }, h("div", { class: "card-head" }, title, text), grid, fraction.element), clear };
}

/** A site with too many units to show: a fraction of them, chosen by the service from the seed. */
function siteFraction(site, number, dropped, changed) {
  dropped.set(number, 0);
  const one = slider({
    label: `Drop a fraction of ${count(site)} units`,
    min: 0,
    max: NEARLY_ALL,
    step: 0.01,
    value: 0,
    text: percent,
    onchange: (share) => {
      dropped.set(number, share);
      changed();
    },
  });
  const clear = () => {
    dropped.set(number, 0);
    one.set(0);
  };
  return { element: h("div", { class: "site" }, h("h3", {}, site.name), one.element), clear };
}

function drawUnits(canvas, columns, units, gone) {
  const style = getComputedStyle(document.documentElement);
  const context = canvas.getContext("2d");
  const [kept, dropped] = [style.getPropertyValue("--accent"), style.getPropertyValue("--hole")];
  const gap = columns > 32 ? 2 : 3;
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (let unit = 0; unit < units; unit += 1) {
    context.fillStyle = gone.has(unit) ? dropped : kept;
    context.fillRect((unit % columns) * CELL + gap, Math.floor(unit / columns) * CELL + gap, CELL - 2 * gap, CELL - 2 * gap);
  }
}
