// Charts of Prometheus' histograms, with columns of equal width although the buckets grow tenfold.

import { chart, element, percent } from "../charts.js";

const HEIGHT = 170;
const [TOP, BOTTOM] = [16, HEIGHT - 24];
const LABEL_ROOM = 46;

/** Fractions of two histograms with the same buckets: `all` broad and pale, `now` slim in front. `say` writes a bound. */
export function buckets({ label, all, now, say, width = 420, marks = [] }) {
  const [first, last] = used(all, now, marks);
  const shown = all.bounds.slice(first, last + 1);
  const step = width / shown.length;
  const columns = shown.map((_, i) => ({ all: share(all, first + i), now: share(now, first + i) }));
  const most = Math.max(...columns.flatMap((column) => [column.all, column.now]), 1e-9);
  const high = (part) => (part / most) * (BOTTOM - TOP);
  const column = (part, x, broad, kind) =>
    element("rect", { x, y: BOTTOM - high(part), width: broad, height: high(part), rx: 1.5, class: kind });
  const drawn = columns.flatMap((parts, i) => [
    column(parts.all, i * step + 1, step - 2, "fill-soft"),
    ...(now.count ? [column(parts.now, i * step + step * 0.28, step * 0.44, "fill")] : []),
  ]);
  const axis = element("path", { d: `M0 ${BOTTOM + 0.5}H${width}`, class: "axis" });
  const top = element("text", { x: 0, y: 10 }, percent(most));
  const texts = columns.flatMap((parts, i) => (parts.all || parts.now ? [spoken(shown, i, first ? all.bounds[first - 1] : 0, parts, now, say)] : []));
  return chart(
    `${label}. ${texts.join("; ") || "nothing yet"}`, width, HEIGHT,
    ...drawn, axis, top, ...feet(shown, step, width, say), ...marks.flatMap((mark) => line(mark, all.bounds, first, step, width)),
  );
}

/** The first and last bucket with values or marks, with a margin on both sides. */
function used(all, now, marks) {
  const marked = marks.map(({ value }) => all.bounds.findIndex((bound) => value <= bound));
  const held = all.counts.map((count, i) => count + now.counts[i] + Number(marked.includes(i)));
  const first = held.findIndex((count) => count > 0);
  const last = held.findLastIndex((count) => count > 0);
  return first < 0 ? [0, held.length - 1] : [Math.max(0, first - 1), Math.min(held.length - 1, last + 1)];
}

function share(histogram, i) {
  return histogram.count ? histogram.counts[i] / histogram.count : 0;
}

/** Bounds are written between columns, as many as fit. */
function feet(bounds, step, width, say) {
  const every = Math.ceil(LABEL_ROOM / step);
  return bounds.flatMap((bound, i) => {
    const x = (i + 1) * step;
    if (i % every || !Number.isFinite(bound) || x > width - LABEL_ROOM / 4) return [];
    return [element("path", { d: `M${x} ${BOTTOM}v4`, class: "axis" }), element("text", { x, y: HEIGHT - 6, class: "middle" }, say(bound))];
  });
}

/** A mark of a known value, placed linearly within its bucket. */
function line({ name, value }, bounds, first, step, width) {
  const bucket = bounds.findIndex((bound) => value <= bound);
  const low = bucket ? bounds[bucket - 1] : 0;
  const within = Number.isFinite(bounds[bucket]) ? (value - low) / (bounds[bucket] - low) : 0.5;
  const x = (bucket - first + within) * step;
  if (x < 0 || x > width) return [];
  const side = x > width / 2 ? { x: x - 5, class: "end" } : { x: x + 5 };
  return [element("path", { d: `M${x} ${TOP - 12}V${BOTTOM}`, class: "mark" }), element("text", { ...side, y: TOP - 6 }, name)];
}

function spoken(bounds, i, below, parts, now, say) {
  const low = i ? bounds[i - 1] : below;
  const range = Number.isFinite(bounds[i]) ? `${say(low)} to ${say(bounds[i])}` : `above ${say(low)}`;
  return `${range}: ${percent(parts.all)}${now.count ? `, now ${percent(parts.now)}` : ""}`;
}
