// The values of a map, as the JSON answer has them: 256 levels between the least and the greatest value.

const SMOOTHING = 0.015; // standard deviation of the smoothing, as a fraction of the width

export class Saliency {
  // `levels` are the levels of the pixels, channel by channel and row by row.
  constructor(shape, least, greatest, levels) {
    [this.height, this.width] = shape.slice(-2);
    this.channels = shape.length === 3 ? shape[0] : 1;
    Object.assign(this, { shape, least, greatest, levels });
    this.table = Float64Array.from({ length: 256 }, (_, level) => least + (level / 255) * (greatest - least));
  }

  // Returns the value of a pixel.
  at(x, y, channel = 0) {
    return this.table[this.levels[(channel * this.height + y) * this.width + x]];
  }

  // Returns the map of one channel smoothed by a Gaussian, in 256 levels between its own extremes.
  smoothed() {
    this.smooth ??= quantised(this.shape, smoothedValues(Float64Array.from(this.levels, (level) => this.table[level]), this));
    return this.smooth;
  }
}

function quantised(shape, values) {
  let [least, greatest] = [Infinity, -Infinity];
  for (const value of values) {
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
  }
  const factor = 255 / (greatest - least || 1);
  return new Saliency(shape, least, greatest, Uint8Array.from(values, (value) => Math.round((value - least) * factor)));
}

// The weights of the Gaussian sum to 1 at the borders, too.
function smoothedValues(values, { width, height }) {
  const sigma = SMOOTHING * width;
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

export async function decodeSaliency({ shape, min, max, data }) {
  const bitmap = await decodeImage(data, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const levels = new Uint8Array(pixels.length / 4);
  for (let index = 0; index < levels.length; index += 1) levels[index] = pixels[4 * index];
  return new Saliency(shape, min, max, levels);
}

export async function decodeImage(base64, options = {}) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/png" }), options);
}

// Returns a number with four significant digits.
export function shortNumber(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 0.001 && size < 100000 ? String(Number(value.toPrecision(4))) : value.toExponential(3);
}
