// The kind of a model's row: an image, named fields, or anything else.

const PIXEL = /^pixel_(\d+)_(\d+)$/;

/** {kind: "image", shape, toValues, toRow}, {kind: "fields"} or {kind: "raw"}. */
export function rowKind(manifest) {
  const [spec, ...others] = manifest.inputs;
  if (others.length) return { kind: "raw" };
  if (spec.shape.length === 3 && [1, 3].includes(spec.shape[0])) return imageOfShape(spec);
  if (spec.shape.length !== 1) return { kind: "raw" };
  return imageOfFeatures(manifest.features, spec) ?? { kind: "fields" };
}

function imageOfShape({ shape, dtype }) {
  const [channels, height, width] = shape;
  const toRow = (values) => cut(cut(plain(values, dtype), width), height).slice(0, channels);
  return { kind: "image", shape, toValues: (row) => Float64Array.from(row.flat(2)), toRow };
}

/** Features named pixel_<row>_<column>, in any order. */
function imageOfFeatures(features, { dtype }) {
  const places = features.map((name) => PIXEL.exec(name)).map((match) => match && [Number(match[1]), Number(match[2])]);
  if (!places.length || places.includes(null)) return null;
  const height = 1 + Math.max(...places.map(([y]) => y));
  const width = 1 + Math.max(...places.map(([, x]) => x));
  const order = places.map(([y, x]) => y * width + x);
  if (height * width !== features.length || new Set(order).size !== order.length) return null;
  const toValues = (row) => {
    const values = new Float64Array(row.length);
    order.forEach((place, i) => (values[place] = row[i]));
    return values;
  };
  return { kind: "image", shape: [1, height, width], toValues, toRow: (values) => plain(order.map((place) => values[place]), dtype) };
}

/** The range of each value of a row in the training data, or else in the example rows. */
export function ranges(manifest, examples) {
  const rows = examples.map((row) => row.flat(Infinity));
  return rows[0].map((_, i) => seenAt(manifest.seen, i) ?? spread(rows.map((row) => row[i])));
}

/** The one range of all pixels. */
export function imageRange(manifest, examples) {
  const all = ranges(manifest, examples);
  const [low, high] = [Math.min(...all.map((one) => one.low)), Math.max(...all.map((one) => one.high))];
  return { low, high: high > low ? high : low + 1 };
}

/** The values of a row outside the training range: [{place, name, value, range}], range in words. */
export function outside({ inputs, seen, features }, row) {
  const isWithin = inputs[0].dtype === "float32" ? isWithin32 : isWithin64;
  return [row].flat(Infinity).flatMap((value, place) => {
    const range = seenAt(seen, place);
    if (!range || typeof value !== "number" || isWithin(value, range)) return [];
    return [{ place, name: features[place] ?? `value ${place + 1}`, value, range: `${exact(range.low)} to ${exact(range.high)}` }];
  });
}

const isWithin64 = (value, { low, high }) => value >= low && value <= high;

/** Round to float32, the type of the network's input. */
const isWithin32 = (value, { low, high }) => Math.fround(value) >= Math.fround(low) && Math.fround(value) <= Math.fround(high);

/** Write a number with enough digits to show any difference. */
export const exact = (value) => String(Number(value.toPrecision(15)));

function seenAt(seen, i) {
  const one = seen.length === 1 ? seen[0] : seen[i];
  return one && { low: one.lowest, middle: one.median, high: one.highest };
}

function spread(values) {
  const numbers = values.filter((value) => typeof value === "number").sort((a, b) => a - b);
  return { low: numbers[0] ?? 0, middle: numbers[numbers.length >> 1] ?? 0, high: numbers.at(-1) ?? 1 };
}

/** Convert values to those of the request: whole numbers if the input accepts no others. */
const plain = (values, dtype) =>
  Array.from(values, (value) => (dtype.startsWith("int") ? Math.round(value) : Number(value.toPrecision(5))));

const cut = (items, size) => Array.from({ length: items.length / size }, (_, i) => items.slice(i * size, (i + 1) * size));
