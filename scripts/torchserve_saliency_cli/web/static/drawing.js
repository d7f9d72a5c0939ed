// Canvases of a map: over the part of the picture that the network saw, or as tiles, one for each channel.

import { Scale } from "./colours.js";

const LEAST_WIDTH = 448; // pixels of a canvas; smaller maps are enlarged by a whole factor
const GREYED = 0.7; // share of colour that the picture under a map loses
const DIMMED = 0.8; // of its brightness

const canvasOf = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

// How a map is shown; everything that a person changes without asking the server again.
export const view = (state, colormaps) => ({
  colours: state.colours, smooth: state.smooth, opacity: state.opacity, colormaps,
});

// A map on a canvas. `picture` is an image or null, and `crop` the box of it that the network saw.
export class Drawing {
  constructor(saliency, canvas) {
    this.saliency = saliency;
    this.canvas = canvas;
    const tiles = saliency.channels;
    this.columns = Math.ceil(Math.sqrt(tiles));
    this.rows = Math.ceil(tiles / this.columns);
    const sheet = this.columns * saliency.width;
    this.factor = Math.max(1, Math.round(LEAST_WIDTH / sheet));
    canvas.width = sheet * this.factor;
    canvas.height = this.rows * saliency.height * this.factor;
    this.layer = canvasOf(sheet, this.rows * saliency.height);
    this.backdrop = null;
  }

  setPicture(picture, crop, size) {
    this.backdrop = this.saliency.channels === 1 && picture ? dimmedCrop(picture, crop, size, this.canvas) : null;
  }

  // Prepares the colours, and draws.
  paint(view) {
    const { saliency, layer } = this;
    const shown = view.smooth && saliency.channels === 1 ? saliency.smoothed() : saliency;
    this.scale = new Scale(shown, view.colours, view.colormaps);
    const colours = new Uint32Array(this.scale.colours(this.over, true).buffer);
    const image = new ImageData(layer.width, layer.height);
    const pixels = new Uint32Array(image.data.buffer);
    const { width, height } = saliency;
    for (let row = 0; row < saliency.channels * height; row += 1) {
      let to = this.start(Math.floor(row / height), row % height);
      for (let from = row * width; from < (row + 1) * width; from += 1, to += 1) pixels[to] = colours[shown.levels[from]];
    }
    layer.getContext("2d").putImageData(image, 0, 0);
    this.draw(view);
  }

  // Tells if the map lies over a picture.
  get over() {
    return this.backdrop !== null;
  }

  // Draws with another opacity; the colours stay.
  draw(view) {
    const context = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    context.globalAlpha = 1;
    context.clearRect(0, 0, width, height);
    if (this.backdrop) context.drawImage(this.backdrop, 0, 0);
    context.globalAlpha = this.backdrop ? view.opacity : 1;
    context.imageSmoothingEnabled = this.backdrop !== null;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.layer, 0, 0, width, height);
    context.globalAlpha = 1;
  }

  // Returns the place in the layer at which a row of a channel starts.
  start(channel, row) {
    const { width, height } = this.saliency;
    const [column, line] = [channel % this.columns, Math.floor(channel / this.columns)];
    return (line * height + row) * this.layer.width + column * width;
  }

  // Returns the pixel of the map, with its channel, at a place of the sheet, or null outside of all channels.
  pixelAt(x, y) {
    const { width, height, channels } = this.saliency;
    const channel = Math.floor(y / height) * this.columns + Math.floor(x / width);
    return channel < channels ? { x: x % width, y: y % height, channel } : null;
  }

  get sheet() {
    return { width: this.layer.width, height: this.layer.height };
  }
}

// Returns the part of a picture that the network saw, greyed and darkened, in the size of a canvas. It is kept with the
// picture, for the other maps.
function dimmedCrop(picture, crop, size, canvas) {
  const key = JSON.stringify([crop, size, canvas.width, canvas.height]);
  if (picture.dimmed?.key !== key) picture.dimmed = { key, canvas: makeDimmedCrop(picture, crop, size, canvas) };
  return picture.dimmed.canvas;
}

function makeDimmedCrop(picture, [left, top, right, bottom], { width, height }, canvas) {
  const made = canvasOf(canvas.width, canvas.height);
  const context = made.getContext("2d", { willReadFrequently: true });
  const [across, down] = [picture.naturalWidth / width, picture.naturalHeight / height];
  context.fillStyle = "#808080";
  context.fillRect(0, 0, made.width, made.height);
  context.imageSmoothingQuality = "high";
  const box = [left * across, top * down, (right - left) * across, (bottom - top) * down];
  context.drawImage(picture, ...box, 0, 0, made.width, made.height);
  const pixels = context.getImageData(0, 0, made.width, made.height);
  const { data } = pixels;
  for (let at = 0; at < data.length; at += 4) {
    const grey = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    for (let c = 0; c < 3; c += 1) data[at + c] = DIMMED * (GREYED * grey + (1 - GREYED) * data[at + c]);
  }
  context.putImageData(pixels, 0, 0);
  return made;
}

// Draws the colours of a drawing's scale from its least to its greatest value.
export function drawScale({ scale, over }, canvas) {
  Object.assign(canvas, { width: 256, height: 1 });
  canvas.getContext("2d").putImageData(new ImageData(scale.colours(over, false), 256, 1), 0, 0);
}
