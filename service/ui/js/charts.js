// Charts as SVG elements. Each has its numbers in its aria-label and its colours in style.css. `width` is the width of
// its place in pixels, so that the text keeps its size.

const NAMESPACE = "http://www.w3.org/2000/svg";
const ROW = 24;
const LINE_COLOURS = 4;

/** Format a number: three significant digits, or all those before the point. */
export function format(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(1);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US", { useGrouping: size >= 10_000 });
  return String(Number(value.toPrecision(3)));
}

/** Format a fraction in per cent; values near 0 and 1 are not rounded to them. */
export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(share > 0.0995 && share < 0.9895 ? 0 : 1).replace(/\.0$/, "")} %`;
}

/** An SVG element with these attributes; children are elements or text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** An empty chart. */
export function chart(label, width, height, ...children) {
  const attributes = { class: "chart", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, width, height };
  return element("svg", attributes, ...children);
}

/** Horizontal bars; items: [{name, value, text?}], value from 0 to max. */
export function bars({ label, items, max, width = 420, nameWidth = 96, valueWidth = 64 }) {
  const top = max ?? Math.max(...items.map((item) => item.value), 1e-12);
  const room = width - nameWidth - valueWidth;
  const rows = items.map((item, i) => {
    const length = Math.max(0, Math.min(1, item.value / top)) * room;
    return element(
      "g",
      { transform: `translate(0 ${i * ROW})` },
      element("text", { x: 0, y: 16, class: "strong" }, item.name),
      element("rect", { x: nameWidth, y: 6, width: room, height: 12, rx: 2, class: "track" }),
      element("rect", { x: nameWidth, y: 6, width: length, height: 12, rx: 2, class: "fill" }),
      element("text", { x: width, y: 16, class: "end" }, item.text ?? format(item.value)),
    );
  });
  return chart(`${label}: ${spoken(items)}`, width, items.length * ROW, ...rows);
}

/** A histogram; edges has one number more than counts. marks: [{name, value}] are vertical lines. */
export function histogram({ label, edges, counts, marks = [], width = 420, height = 140, unit = "" }) {
  const bottom = height - 20;
  const most = Math.max(...counts, 1e-12);
  const x = scale(edges[0], edges.at(-1), 0, width);
  const columns = counts.map((count, i) => {
    const high = (count / most) * (bottom - 14);
    const [left, right] = [x(edges[i]), x(edges[i + 1])];
    return element("rect", { x: left, y: bottom - high, width: Math.max(0.5, right - left - 1), height: high, class: "fill" });
  });
  const lines = marks.flatMap(({ name, value }) => [
    element("path", { d: `M${x(value)} 12V${bottom}`, class: "mark" }),
    element("text", { x: x(value), y: 8, class: x(value) > width - 60 ? "end" : x(value) < 60 ? "" : "middle" }, name),
  ]);
  const axis = element("path", { d: `M0 ${bottom + 0.5}H${width}`, class: "axis" });
  const ticks = ticksBetween(edges[0], edges.at(-1), 4).map((tick) => tickText(x(tick), height - 4, width, format(tick) + unit));
  const texts = counts.map((count, i) => `${format(edges[i])} to ${format(edges[i + 1])}: ${format(count)}`);
  return chart(`${label}. ${texts.join("; ")}`, width, height, ...columns, axis, ...lines, ...ticks);
}

/** Lines; series: [{name, points: [[x, y], …]}]. The y axis begins at 0, or at `from`. */
export function lines({ label, series, width = 420, height = 180, from = 0, formatX = format, formatY = format }) {
  const points = series.flatMap((one) => one.points);
  const [left, bottom, top] = [44, height - 20, 8];
  const xs = points.map(([x]) => x);
  const most = Math.max(...points.map(([, y]) => y), from + 1e-12);
  const x = scale(Math.min(...xs), Math.max(...xs), left, width - 4);
  const y = scale(from, most, bottom, top);
  const paths = series.map((one, i) => {
    const d = one.points.map(([a, b], j) => `${j ? "L" : "M"}${round(x(a))} ${round(y(b))}`).join("");
    return element("path", { d, class: `line line-${i % LINE_COLOURS}` });
  });
  const rungs = ticksBetween(from, most, 3).flatMap((tick) => [
    element("path", { d: `M${left} ${round(y(tick)) + 0.5}H${width}`, class: "axis" }),
    element("text", { x: left - 8, y: y(tick) + 4, class: "end" }, formatY(tick)),
  ]);
  const ticks = points.length ? ticksBetween(Math.min(...xs), Math.max(...xs), 4) : [];
  const feet = ticks.map((tick) => tickText(x(tick), height - 4, width, formatX(tick)));
  const texts = series.map((one) => `${one.name}: ${lastOf(one.points, formatY)}`);
  return chart(`${label}. ${texts.join("; ")}`, width, height, ...rungs, ...paths, ...feet);
}

/** A bar of parts, one after the other; parts: [{name, value, kind}], kind a class such as "fill". */
export function splitBar({ label, parts, max, width = 420, height = 16 }) {
  const whole = max ?? (parts.reduce((sum, part) => sum + part.value, 0) || 1);
  let start = 0;
  const pieces = parts.map((part) => {
    const length = Math.max(0, (part.value / whole) * width);
    const piece = element("rect", { x: round(start), y: 0, width: round(length), height, class: part.kind ?? "fill" });
    start += length;
    return piece;
  });
  const ground = element("rect", { x: 0, y: 0, width, height, rx: 2, class: "track" });
  return chart(`${label}: ${spoken(parts)}`, width, height, ground, ...pieces);
}

/** Return a scale from numbers between low and high to pixels. */
export function scale(low, high, start, end) {
  const factor = high > low ? (end - start) / (high - low) : 0;
  return (value) => start + (value - low) * factor;
}

/** Count the values in each of `bins` equal bins from low to high; values beyond are in the outer ones. */
export function countBins(values, low, high, bins) {
  const counts = new Array(bins).fill(0);
  const factor = high > low ? bins / (high - low) : 0;
  for (const value of values) counts[Math.max(0, Math.min(bins - 1, Math.floor((value - low) * factor)))] += 1;
  return counts;
}

/** Return about `count` round numbers between low and high, inclusive. */
export function ticksBetween(low, high, about) {
  if (!(high > low)) return [low];
  const raw = (high - low) / about;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * size).find((candidate) => candidate >= raw);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-12) + 1e-12; i += 1) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

function tickText(x, y, width, text) {
  const anchor = x > width - 16 ? "end" : x < 16 ? "" : "middle";
  return element("text", { x: Math.max(0, Math.min(width, x)), y, class: anchor }, text);
}

function spoken(items) {
  return items.map((item) => `${item.name} ${item.text ?? format(item.value)}`).join(", ");
}

function lastOf(points, formatY) {
  return points.length ? `${formatY(points.at(-1)[1])} at the end` : "no points";
}

function round(value) {
  return Math.round(value * 100) / 100;
}
