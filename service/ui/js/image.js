// Pure functions of images, given as values in the order (channels, height, width).

/** Return a generator of numbers from 0 to 1 for a seed (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Return the numbers 0 … count-1 shuffled by a seed (Fisher and Yates). */
export function shuffled(count, seed) {
  const draw = random(seed);
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i -= 1) {
    const j = Math.floor(draw() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** Rotate an image clockwise about its centre, with bilinear interpolation and `ground` outside. */
export function turn(values, [channels, height, width], degrees, ground) {
  if (degrees % 360 === 0) return values;
  const angle = (-degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [cy, cx] = [(height - 1) / 2, (width - 1) / 2];
  const turned = new Float64Array(values.length);
  for (let c = 0; c < channels; c += 1) {
    const at = (y, x) => (y < 0 || x < 0 || y >= height || x >= width ? ground : values[(c * height + y) * width + x]);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const fromX = cx + cos * (x - cx) - sin * (y - cy);
        const fromY = cy + sin * (x - cx) + cos * (y - cy);
        turned[(c * height + y) * width + x] = between(at, fromY, fromX);
      }
    }
  }
  return turned;
}

function between(at, y, x) {
  const [top, left] = [Math.floor(y + 1e-9), Math.floor(x + 1e-9)];
  const [down, right] = [Math.max(0, y - top), Math.max(0, x - left)];
  const upper = at(top, left) * (1 - right) + at(top, left + 1) * right;
  const lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right;
  return upper * (1 - down) + lower * down;
}

/** Add normal noise with this fraction of the range as standard deviation, clipped to the range. */
export function addNoise(values, share, seed, { low, high }) {
  if (share === 0) return values;
  const draw = random(seed);
  return values.map((value) => {
    const normal = Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
    return Math.max(low, Math.min(high, value + share * (high - low) * normal));
  });
}

/** Set this fraction of pixels, chosen by the seed, to `ground`; a larger fraction includes a smaller one. */
export function dropPixels(values, [channels, height, width], share, seed, ground) {
  const pixels = height * width;
  const gone = shuffled(pixels, seed).slice(0, Math.round(share * pixels));
  const left = values.slice();
  for (let c = 0; c < channels; c += 1) for (const pixel of gone) left[c * pixels + pixel] = ground;
  return left;
}

/** Draw a soft-edged line in place; from and to are {x, y} in pixels. */
export function stroke(values, [channels, height, width], from, to, { radius, value }) {
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const cover = Math.max(0, Math.min(1, radius + 0.5 - distance({ x: x + 0.5, y: y + 0.5 }, from, to)));
      for (let c = 0; c < channels && cover; c += 1) {
        const i = (c * height + y) * width + x;
        values[i] = furthest(values[i], values[i] + cover * (value - values[i]), value);
      }
    }
  }
}

/** Blend so that a second pass of a stroke adds nothing to the first. */
function furthest(before, after, aim) {
  return Math.abs(aim - after) < Math.abs(aim - before) ? after : before;
}

function distance(point, from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  const along = length ? Math.max(0, Math.min(1, ((point.x - from.x) * dx + (point.y - from.y) * dy) / length)) : 0;
  return Math.hypot(point.x - from.x - along * dx, point.y - from.y - along * dy);
}
