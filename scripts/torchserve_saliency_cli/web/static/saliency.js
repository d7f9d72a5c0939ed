// The values of a map, as the JSON answer has them: 256 levels between the least and the greatest value.

export class Saliency {
  constructor(shape, least, greatest, levels) {
    [this.height, this.width] = shape.slice(-2);
    this.channels = shape.length === 3 ? shape[0] : 1;
    Object.assign(this, { least, greatest, levels });
  }

  // Returns the value of a pixel.
  at(x, y, channel = 0) {
    return this.valueOf(this.levels[(channel * this.height + y) * this.width + x]);
  }

  valueOf(level) {
    return this.least + (level / 255) * (this.greatest - this.least);
  }

  // Returns the values of all channels as one array.
  values() {
    const table = Float64Array.from({ length: 256 }, (_, level) => this.valueOf(level));
    return Float64Array.from(this.levels, (level) => table[level]);
  }
}

export async function decodeSaliency({ shape, min, max, data }) {
  const bitmap = await decodeImage(data, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const levels = Uint8Array.from({ length: pixels.length / 4 }, (_, index) => pixels[4 * index]);
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
