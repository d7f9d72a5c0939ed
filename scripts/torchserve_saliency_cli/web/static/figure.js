// One map of a card: its class, its canvas, its colour scale, and the value under the pointer or the arrow keys.

import { element } from "./dom.js";
import { Drawing, drawScale } from "./drawing.js";
import { probabilityText } from "./predictions.js";
import { decodeImage, decodeSaliency, shortNumber } from "./saliency.js";

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class MapFigure {
  // `made` is the picture that the method made, or null for a map.
  constructor(explanation, activation, saliency, made) {
    Object.assign(this, { explanation, activation, saliency, made, cursor: null });
    const { method, target } = explanation;
    const text = `${method} for ${target.label}, from ${shortNumber(saliency.least)} to ${shortNumber(saliency.greatest)}`;
    this.canvas = element("canvas", { role: "img", tabIndex: 0, className: "map" });
    this.canvas.setAttribute("aria-label", `${text}. The arrow keys move to the value of a pixel.`);
    this.drawing = made ? null : new Drawing(saliency, this.canvas);
    this.marker = element("span", { className: "marker", hidden: true });
    this.readout = element("p", { className: "readout", "aria-live": "polite" });
    this.bar = element("canvas", { className: "scale" });
    this.ends = [element("span"), element("span")];
    this.node = element("figure", {}, this.caption(), element("div", { className: "stage" }, this.canvas, this.marker),
      ...(made ? [] : [this.bar, element("div", { className: "ends" }, ...this.ends)]), this.readout);
    this.listen();
  }

  // Decodes an explanation; `shows` is the kind of the method's maps in the describe route.
  static async from(explanation, activation, shows) {
    const made = shows === "input" ? await decodeImage(explanation.image.data) : null;
    return new MapFigure(explanation, activation, await decodeSaliency(explanation.saliency), made);
  }

  caption() {
    const { target, against } = this.explanation;
    const text = ({ label, probability }) => `${label} ${probabilityText(probability, this.activation)}`;
    return element("figcaption", {}, against ? `${text(target)} against ${text(against)}` : text(target));
  }

  paint(view, picture, input) {
    if (this.made) return this.paintMade();
    this.drawing.setPicture(picture, input?.crop, input ?? {});
    this.drawing.paint(view);
    drawScale(this.drawing, this.bar);
    const { least, greatest } = this.drawing.scale.saliency;
    this.ends[0].textContent = shortNumber(least);
    this.ends[1].textContent = shortNumber(greatest);
  }

  draw(view) {
    this.drawing?.draw(view);
  }

  // Draws a picture that the method made, in its own colours.
  paintMade() {
    const factor = Math.max(1, Math.round(448 / this.made.width));
    Object.assign(this.canvas, { width: this.made.width * factor, height: this.made.height * factor });
    const context = this.canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(this.made, 0, 0, this.canvas.width, this.canvas.height);
  }

  get sheet() {
    return this.drawing ? this.drawing.sheet : { width: this.saliency.width, height: this.saliency.height };
  }

  listen() {
    this.canvas.addEventListener("pointermove", (event) => {
      const box = this.canvas.getBoundingClientRect();
      const at = (place, start, length, size) => Math.min(size - 1, Math.max(0, Math.floor(((place - start) / length) * size)));
      this.show(at(event.clientX, box.left, box.width, this.sheet.width), at(event.clientY, box.top, box.height, this.sheet.height));
    });
    this.canvas.addEventListener("pointerleave", () => this.leave());
    this.canvas.addEventListener("blur", () => this.leave());
    this.canvas.addEventListener("keydown", (event) => this.move(event));
  }

  move(event) {
    const step = MOVES[event.key];
    if (!step) return;
    event.preventDefault();
    const { width, height } = this.sheet;
    const far = event.shiftKey ? 10 : 1;
    const [x, y] = this.cursor ?? [Math.floor(width / 2), Math.floor(height / 2)];
    this.show(Math.min(width - 1, Math.max(0, x + far * step[0])), Math.min(height - 1, Math.max(0, y + far * step[1])));
  }

  show(x, y) {
    this.cursor = [x, y];
    const { width, height } = this.sheet;
    this.marker.hidden = false;
    this.marker.style.left = `${(100 * (x + 0.5)) / width}%`;
    this.marker.style.top = `${(100 * (y + 0.5)) / height}%`;
    this.readout.textContent = this.textAt(x, y);
  }

  textAt(x, y) {
    const { saliency, made } = this;
    if (made) {
      const values = Array.from({ length: saliency.channels }, (_, c) => shortNumber(saliency.at(x, y, c)));
      return `x ${x}, y ${y}: ${values.join(", ")}`;
    }
    const pixel = this.drawing.pixelAt(x, y);
    if (!pixel) return "";
    const channel = saliency.channels > 1 ? `channel ${pixel.channel}, ` : "";
    return `${channel}x ${pixel.x}, y ${pixel.y}: ${shortNumber(saliency.at(pixel.x, pixel.y, pixel.channel))}`;
  }

  leave() {
    this.marker.hidden = true;
    this.readout.textContent = "";
  }

  // Returns the map with its caption and its colour scale as one canvas, for a file.
  captioned() {
    const lines = [this.node.querySelector("figcaption").textContent, this.explanation.method];
    const size = Math.max(14, Math.round(this.canvas.width / 28));
    const line = Math.round(1.4 * size);
    const foot = this.made ? 0 : 2.6 * line;
    const page = element("canvas", { width: this.canvas.width, height: this.canvas.height + lines.length * line + line / 2 + foot });
    const context = page.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, page.width, page.height);
    context.fillStyle = "#141414";
    context.font = `${size}px sans-serif`;
    lines.forEach((text, index) => context.fillText(text, size / 2, (index + 1) * line, page.width - size));
    const top = lines.length * line + line / 2;
    context.drawImage(this.canvas, 0, top);
    if (this.made) return page;
    const below = top + this.canvas.height + line / 2;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.bar, size / 2, below, page.width - size, line / 2);
    context.fillText(this.ends[0].textContent, size / 2, below + 1.7 * line);
    context.textAlign = "right";
    context.fillText(this.ends[1].textContent, page.width - size / 2, below + 1.7 * line);
    return page;
  }
}
