// Paint values on canvases, in shades of the page's colours, or in true colours for three channels.

import { h } from "./dom.js";

/** A canvas with one pixel per value, scaled by style.css. */
export function pixelCanvas([, height, width], attributes = {}) {
  return h("canvas", { width, height, class: "pixels", ...attributes });
}

/** Shows values of this shape, from low (paper) to high (ink). */
export function paint(canvas, values, [channels, height, width], { low, high }) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const [paper, ink] = [colour("--paper"), colour("--pen")];
  const pixels = height * width;
  for (let i = 0; i < pixels; i += 1) {
    for (let c = 0; c < 3; c += 1) {
      const value = values[(channels === 3 ? c : 0) * pixels + i];
      const share = Math.max(0, Math.min(1, (value - low) / (high - low)));
      image.data[4 * i + c] = channels === 3 ? 255 * share : paper[c] + share * (ink[c] - paper[c]);
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Return red, green and blue of a colour variable in style.css. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim().split(/\s+/).map(Number);
}

/** Calls back when the colours of the page change, until the signal is aborted. */
export function onScheme(repaint, signal) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint, { signal });
}
