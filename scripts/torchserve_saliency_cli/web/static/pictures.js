// The picture of the question: chosen, dropped, pasted, taken from the samples, or asked for by a link.

import { byId, element, showProblem } from "./dom.js";
import { addPicture, pictureUrl, ServerError } from "./server.js";

const SHOWN_SAMPLES = 12;

export class PicturePart {
  // `change(id, file)` is called with a new picture, and `during(work)` with work that the status shows.
  constructor(change, during) {
    this.during = during;
    this.change = change;
    this.wanted = null;
    this.image = null;
    this.turn = 0; // a later picture wins, also if an earlier one arrives after it
    this.place = byId("picture").parentElement;
    byId("picture").addEventListener("change", (event) => this.take(event.target.files[0]));
    for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => this.drop(event));
    document.addEventListener("paste", (event) => this.take([...(event.clipboardData?.files ?? [])][0]));
  }

  drop(event) {
    event.preventDefault();
    if (event.type === "drop") this.take(event.dataTransfer.files[0]);
  }

  problem(text) {
    showProblem(this.place, text, byId("picture"));
  }

  take(file) {
    return file ? this.during(() => this.send(file)) : null;
  }

  async send(file) {
    this.problem("");
    const turn = ++this.turn;
    try {
      const id = await addPicture(file);
      if (turn !== this.turn) return;
      if (this.wanted && this.wanted !== id) return this.refuse(id, file.name);
      this.wanted = null;
      this.change(id, file.name);
    } catch (error) {
      this.problem(error.message);
    }
  }

  refuse(id, name) {
    this.problem("This is not the picture of the link: its content differs. ");
    const use = () => { this.wanted = null; this.problem(""); this.change(id, name); };
    this.place.querySelector(".problem").append(element("button", { type: "button", onclick: use }, "Use it instead"));
  }

  // Asks for the picture of a link, which the page's server does not have.
  want(id, file) {
    this.wanted = id.startsWith("sha256:") ? id : null;
    const name = file ? `“${file}”` : "it";
    this.problem(this.wanted
      ? `The picture of this link is not here. Choose ${name}, and the link works again.`
      : `The link's sample picture “${id.replace(/^sample:/, "")}” is not among the samples.`);
  }

  // Shows a picture, and returns true if it could be loaded.
  async load(id, file) {
    const turn = ++this.turn;
    if (this.image) URL.revokeObjectURL(this.image.src);
    this.image = null;
    byId("crop").hidden = true;
    byId("file-name").textContent = file || id.replace(/^\w+:/, "");
    this.mark(id);
    try {
      const image = await fetchImage(pictureUrl(id));
      if (turn !== this.turn) return false;
      this.image = image;
      byId("preview").src = image.src;
      byId("preview").alt = `The picture ${byId("file-name").textContent}`;
      byId("preview").hidden = false;
    } catch (error) {
      if (turn !== this.turn) return false;
      byId("preview").hidden = true;
      if (error.status === 404) this.want(id, file);
      else this.problem(error.message);
    }
    return this.image !== null;
  }

  // Marks the part of the picture that the network saw.
  showCrop({ width, height, crop: [left, top, right, bottom] }) {
    const style = byId("crop").style;
    const share = (value, whole) => `${100 * Math.min(1, Math.max(0, value / whole))}%`;
    [style.left, style.top] = [share(left, width), share(top, height)];
    [style.right, style.bottom] = [share(width - right, width), share(height - bottom, height)];
    byId("crop").hidden = this.image === null;
  }

  showSamples(samples) {
    byId("samples-field").hidden = samples.length === 0;
    const step = Math.max(1, samples.length / SHOWN_SAMPLES);
    const shown = samples.filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step));
    byId("samples").replaceChildren(...shown.map(({ name }) => {
      const id = `sample:${name}`;
      const thumbnail = element("img", { src: pictureUrl(id, 112), alt: name, loading: "lazy", width: 56, height: 56 });
      const choose = () => { this.wanted = null; this.problem(""); this.change(id, name); };
      return element("li", {}, element("button", { type: "button", title: name, "data-id": id, onclick: choose }, thumbnail));
    }));
  }

  mark(id) {
    for (const button of byId("samples").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.id === id));
    }
  }
}

async function fetchImage(url) {
  const answer = await fetch(url);
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new ServerError(answer.status, body.type, body.message ?? "The picture cannot be shown.");
  }
  const image = new Image();
  image.src = URL.createObjectURL(await answer.blob());
  await image.decode();
  return image;
}
