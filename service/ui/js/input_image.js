// The image editor: draw or pick an image, rotate it, add noise, drop pixels; beside it the network's input.

import { slider } from "./controls.js";
import { percent } from "./charts.js";
import { h } from "./dom.js";
import { cellGrid } from "./grid.js";
import { addNoise, dropPixels, stroke, turn } from "./image.js";
import { imageRange } from "./kinds.js";
import { onScheme, paint, pixelCanvas } from "./paint.js";

const PEN = 0.055;
const THINNEST_PEN = 0.65;
const ERASER = 2;
const UNCHANGED = { turn: 0, noise: 0, drop: 0 };

/** An editor: {element, row(), picture(), describe(), outside(), altered()}; values stay in the training range. */
export function imageEditor({ kind, manifest, examples, onchange, signal }) {
  const { shape } = kind;
  const [, height, width] = shape;
  const range = imageRange(manifest, examples);
  const radius = Math.max(THINNEST_PEN, PEN * width);
  const pen = { radius, value: range.high };
  let drawn = kind.toValues(examples[0]);
  let shown = drawn;
  let picked = true;
  const change = { ...UNCHANGED, noiseSeed: 1, dropSeed: 1 };

  const sheet = pixelCanvas(shape, {
    tabindex: 0,
    role: "application",
    "aria-label": "Drawing",
    "aria-describedby": "draw-help",
    id: "drawing",
  });
  const seen = pixelCanvas(shape, { role: "img", "aria-label": "Input of the network", id: "seen" });

  const update = () => {
    shown = apply(drawn, shape, range, change);
    paint(sheet, drawn, shape, range);
    paint(seen, shown, shape, range);
    onchange();
  };
  const draw = (from, to) => {
    drawn = drawn.slice();
    stroke(drawn, shape, from, to, pen);
    load(drawn, null);
  };
  const grid = cellGrid({
    canvas: sheet,
    columns: width,
    rows: height,
    press: (point) => draw(point, point),
    drag: draw,
    act: (point) => draw(point, point),
    describe: (x, y) => `Row ${y + 1}, column ${x + 1}: ${Number(drawn[y * width + x].toPrecision(3))}`,
  });

  /** Set an image; `example` is its number in the gallery, or null. */
  const load = (values, example) => {
    drawn = values;
    picked = example !== null;
    gallery.choose(example);
    update();
  };
  const gallery = makeGallery(examples.map(kind.toValues), shape, range, load, signal);
  const tools = makeTools(pen, radius, range, () => load(new Float64Array(drawn.length).fill(range.low), null));
  const changes = makeChanges(change, update);
  onScheme(() => {
    paint(sheet, drawn, shape, range);
    paint(seen, shown, shape, range);
  }, signal);

  const element = h(
    "div",
    { class: "editor" },
    gallery.element,
    h(
      "div",
      { class: "sheets" },
      h("figure", {}, grid, h("figcaption", {}, "Draw here")),
      h("figure", {}, h("div", { class: "cells" }, seen), h("figcaption", {}, "Input of the network")),
    ),
    h("p", { id: "draw-help", class: "hidden-text" }, "Arrow keys move, Space inks a pixel, Shift with an arrow draws a line."),
    tools,
    changes.element,
  );
  load(drawn, 0);
  return {
    element,
    row: () => kind.toRow(shown),
    picture: () => {
      const copy = pixelCanvas(shape, { role: "img", "aria-label": "The picture" });
      paint(copy, shown, shape, range);
      return copy;
    },
    describe: () => changes.describe(),
    outside: () => [],
    altered: () => !picked || !isUnchanged(change),
  };
}

function apply(values, shape, range, change) {
  const turned = turn(values, shape, change.turn, range.low);
  const noisy = addNoise(turned, change.noise, change.noiseSeed, range);
  return dropPixels(noisy, shape, change.drop, change.dropSeed, range.low);
}

/** The model's example rows as small images to pick. */
function makeGallery(pictures, shape, range, load, signal) {
  const canvases = pictures.map(() => pixelCanvas(shape, { "aria-hidden": "true" }));
  const paintAll = () => canvases.forEach((canvas, i) => paint(canvas, pictures[i], shape, range));
  const buttons = canvases.map((canvas, i) =>
    h("button", { type: "button", class: "pick", "aria-label": `Example ${i + 1}`, "aria-pressed": "false", onclick: () => pick(i) }, canvas),
  );
  const choose = (chosen) => buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === chosen)));
  const pick = (i) => load(pictures[i], i);
  paintAll();
  onScheme(paintAll, signal);
  return { element: h("div", { class: "gallery", role: "group", "aria-label": "Examples" }, ...buttons), choose };
}

function makeTools(pen, radius, range, clear) {
  const take = (value) => {
    pen.value = value;
    pen.radius = value === range.low ? ERASER * radius : radius;
    inkButton.setAttribute("aria-pressed", String(value === range.high));
    eraseButton.setAttribute("aria-pressed", String(value === range.low));
  };
  const inkButton = h("button", { type: "button", onclick: () => take(range.high) }, "Pen");
  const eraseButton = h("button", { type: "button", onclick: () => take(range.low) }, "Eraser");
  take(range.high);
  const clearButton = h("button", { type: "button", onclick: clear }, "Clear");
  return h("div", { class: "buttons", role: "group", "aria-label": "Drawing tools" }, inkButton, eraseButton, clearButton);
}

/** Sliders for changes of the image. */
function makeChanges(change, update) {
  const set = (name) => (value) => {
    change[name] = value;
    update();
    undo.disabled = isUnchanged(change);
  };
  const again = (name, label) =>
    h("button", { type: "button", class: "quiet", onclick: () => set(name)(change[name] + 1) }, label);
  const sliders = {
    turn: slider({ label: "Turn", min: 0, max: 360, step: 1, value: 0, text: (v) => `${v}°`, onchange: set("turn") }),
    noise: slider({ label: "Add noise", min: 0, max: 1, step: 0.01, value: 0, text: percent, onchange: set("noise"), hint: again("noiseSeed", "Other noise") }),
    drop: slider({ label: "Drop pixels", min: 0, max: 1, step: 0.01, value: 0, text: percent, onchange: set("drop"), hint: again("dropSeed", "Other pixels") }),
  };
  const undo = h(
    "button",
    {
      type: "button",
      disabled: true,
      onclick: () => {
        Object.assign(change, UNCHANGED);
        for (const one of Object.values(sliders)) one.set(0);
        undo.disabled = true;
        update();
      },
    },
    "Undo these",
  );
  const describe = () => [
    ["Turned", `${change.turn}°`],
    ["Noise", percent(change.noise)],
    ["Pixels dropped", percent(change.drop)],
  ];
  const element = h("div", { class: "changes" }, ...Object.values(sliders).map((one) => one.element), undo);
  return { element, describe };
}

const isUnchanged = (change) => Object.keys(UNCHANGED).every((name) => change[name] === UNCHANGED[name]);
