// From values to colours, as the server draws an overlay: the colours end at the 99.5th percentile of the magnitudes.

const CLIP = 0.995;
const SMOOTHING = 0.015; // standard deviation of the smoothing, as a fraction of the width
const AUTOMATIC = { signed: "bwr", unsigned: "inferno" };

export function readColormaps(encoded) {
  const decode = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return Object.fromEntries(Object.entries(encoded).map(([name, text]) => [name, decode(text)]));
}

// The way from a value to a colour: `table` has 256 colours, `low` and `high` are the magnitudes at its ends.
export class Scale {
  constructor(values, name, colormaps) {
    let least = Infinity;
    let greatest = -Infinity;
    for (const value of values) {
      least = Math.min(least, value);
      greatest = Math.max(greatest, value);
    }
    Object.assign(this, { least, greatest, signed: least < 0 });
    this.table = colormaps[name] ?? colormaps[this.signed ? AUTOMATIC.signed : AUTOMATIC.unsigned];
    const sizes = Float64Array.from(values, Math.abs).sort();
    this.low = this.signed ? 0 : sizes[0];
    this.high = sizes[Math.min(sizes.length - 1, Math.round(CLIP * (sizes.length - 1)))];
    if (this.high <= this.low) this.high = sizes[sizes.length - 1];
  }

  // Returns the strength of a value, from 0 to 1.
  strength(value) {
    const range = this.high - this.low || 1;
    return Math.min(1, Math.max(0, (Math.abs(value) - this.low) / range));
  }

  // Writes the colour of a value into pixels. If the map lies over a picture, weak values of a signed map keep a colour
  // that shows there, and `opacity` is 1 for the strongest values.
  paint(value, pixels, at, over, opacity = 1) {
    const strength = this.strength(value);
    const size = over ? 0.4 + 0.6 * strength : strength;
    const level = this.signed ? 0.5 + 0.5 * Math.sign(value) * size : strength;
    const entry = 3 * Math.round(255 * level);
    pixels[at] = this.table[entry];
    pixels[at + 1] = this.table[entry + 1];
    pixels[at + 2] = this.table[entry + 2];
    pixels[at + 3] = Math.round(255 * opacity);
  }
}

// Returns a map [height, width] smoothed by a Gaussian, with weights that sum to 1 at the borders, too.
export function smoothed(values, width, height) {
  const sigma = Math.max(SMOOTHING * width, 1e-3);
  const reach = Math.ceil(3 * sigma);
  const weights = Float64Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-0.5 * ((i - reach) / sigma) ** 2));
  const rows = pass(values, width, height, 1, width, weights, reach);
  return pass(rows, height, width, width, 1, weights, reach);
}

function pass(values, length, count, step, stride, weights, reach) {
  const result = new Float64Array(values.length);
  for (let line = 0; line < count; line += 1) {
    for (let place = 0; place < length; place += 1) {
      let sum = 0;
      let total = 0;
      const first = Math.max(-reach, -place);
      const last = Math.min(reach, length - 1 - place);
      for (let offset = first; offset <= last; offset += 1) {
        const weight = weights[offset + reach];
        sum += weight * values[line * stride + (place + offset) * step];
        total += weight;
      }
      result[line * stride + place * step] = sum / total;
    }
  }
  return result;
}
