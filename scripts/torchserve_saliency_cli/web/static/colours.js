// From values to colours, as the server draws an overlay: the colours end at the 99.5th percentile of the magnitudes.

const CLIP = 0.995;
const AUTOMATIC = { signed: "bwr", unsigned: "inferno" };
const WEAKEST = 0.4; // of the colours of a signed map over a picture, as paler ones would not show on it

export function readColormaps(encoded) {
  const decode = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return Object.fromEntries(Object.entries(encoded).map(([name, text]) => [name, decode(text)]));
}

// The way from the 256 levels of a map to colours; `low` and `high` are the magnitudes at the ends of the colormap.
export class Scale {
  constructor(saliency, name, colormaps) {
    this.saliency = saliency;
    this.signed = saliency.least < 0;
    this.colormap = colormaps[name] ?? colormaps[this.signed ? AUTOMATIC.signed : AUTOMATIC.unsigned];
    const [least, clipped, largest] = magnitudes(saliency, [0, CLIP, 1]);
    this.low = this.signed ? 0 : least;
    this.high = clipped > this.low ? clipped : largest;
  }

  // Returns the strength of a value, from 0 to 1.
  strength(value) {
    const range = this.high - this.low || 1;
    return Math.min(1, Math.max(0, (Math.abs(value) - this.low) / range));
  }

  // Returns the colours of all levels as RGBA bytes. Over a picture, the opacity of `fading` colours is their strength.
  colours(over, fading) {
    const pixels = new Uint8ClampedArray(4 * 256);
    this.saliency.table.forEach((value, level) => {
      const strength = this.strength(value);
      const size = over ? WEAKEST + (1 - WEAKEST) * strength : strength;
      const entry = 3 * Math.round(255 * (this.signed ? 0.5 + 0.5 * Math.sign(value) * size : strength));
      const opacity = over && fading ? strength : 1;
      pixels.set([...this.colormap.subarray(entry, entry + 3), Math.round(255 * opacity)], 4 * level);
    });
    return pixels;
  }
}

// Returns the magnitudes of a map at some ranks, from 0 to 1.
function magnitudes({ levels, table }, ranks) {
  const counts = new Uint32Array(256);
  for (const level of levels) counts[level] += 1;
  const sorted = [...counts.keys()].filter((level) => counts[level]).sort((a, b) => Math.abs(table[a]) - Math.abs(table[b]));
  return ranks.map((rank) => {
    let left = Math.round(rank * (levels.length - 1));
    const found = sorted.find((level) => { left -= counts[level]; return left < 0; });
    return Math.abs(table[found]);
  });
}
