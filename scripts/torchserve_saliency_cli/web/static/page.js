// The page: its state is its link. A change of the state asks the server for what is missing, and shows it.

import { Card } from "./card.js";
import { readColormaps } from "./colours.js";
import { byId, copy, showProblem } from "./dom.js";
import { view } from "./drawing.js";
import { History } from "./history.js";
import { MOST_CARDS, readLink, writeLink } from "./link.js";
import { PicturePart } from "./pictures.js";
import { showPredictions } from "./predictions.js";
import { Question } from "./question.js";
import { describe, explain, getJson, isUnreachable } from "./server.js";
import { Turns } from "./turns.js";
import { Views } from "./views.js";

const RETRY = 2000; // milliseconds between two tries to reach a lost server

class Page {
  constructor() {
    this.history = new History();
    this.views = new Views(this);
    this.cards = [];
    this.busy = 0; // pieces of work under way that are not the map of a card
    this.ready = false; // the cards are those of the link
    this.pictures = new PicturePart((id, file) => this.choosePicture(id, file), (work) => this.during(work));
    byId("model").addEventListener("change", (event) => this.during(() => this.chooseModel(event.target.value)));
    byId("copy").addEventListener("click", (event) => copy(this.address(), event.currentTarget));
    byId("skip").addEventListener("click", (event) => { event.preventDefault(); byId(this.views.isGallery ? "gallery" : "answer").focus(); });
    window.addEventListener("hashchange", () => this.during(() => this.open()));
    document.body.classList.toggle("embedded", window.top !== window);
  }

  get image() {
    return this.pictures.image;
  }

  view() {
    return view(this.state, this.colormaps);
  }

  // Reads the server's models, and opens the link of the address.
  async start() {
    byId("status").textContent = "reading the models …";
    try {
      const [server, colormaps] = await Promise.all([getJson("/api/server"), getJson("/api/colormaps")]);
      Object.assign(this, { server, colormaps: readColormaps(colormaps) });
      showProblem(byId("problems"), "");
    } catch (error) {
      return this.lost(error);
    }
    this.pictures.showSamples(this.server.samples);
    await this.during(() => this.open());
  }

  async open() {
    if (!this.server) return;
    this.opening = true;
    this.ready = false;
    const { state, problems } = readLink(location.hash);
    this.state = state;
    const isNew = !location.hash.slice(1) || (this.views.isGallery && !state.picture && !state.cards.length);
    const wanted = this.server.models.filter(({ name, version }) => name === state.model && (!state.version || version === state.version));
    if (state.model && !wanted.length) problems.push(this.missingModel(state));
    if (state.colours && !Object.hasOwn(this.colormaps, state.colours)) {
      problems.push(`This page has no colours named “${state.colours.slice(0, 40)}”.`);
      state.colours = "";
    }
    const model = wanted.find((one) => one.default) ?? wanted[0] ?? this.server.models.find((one) => one.default);
    showProblem(byId("problems"), problems.join(" "));
    if (!model) return showProblem(byId("problems"), "TorchServe serves no model.");
    if (state.model && !wanted.length) state.cards = [];
    if (!await this.setModel(model)) return;
    const [sample] = this.server.samples;
    if (isNew && sample) Object.assign(state, { picture: `sample:${sample.name}`, file: sample.name });
    if (isNew) state.cards = [{ method: this.description.options?.method?.default ?? "gradient", parameters: {} }];
    this.setCards(state.cards);
    this.ready = true;
    if (!this.views.postpones()) await this.setPicture(true);
  }

  missingModel({ model, version }) {
    const names = this.server.models.map((one) => `${one.name} ${one.version}`).join(", ") || "none";
    return `The model “${model}${version ? ` ${version}` : ""}” is not served. Served: ${names}.`;
  }

  // Reads the description of a model, and draws the form; returns true if that was possible.
  async setModel(model) {
    try {
      this.description = await describe(model);
    } catch (error) {
      if (isUnreachable(error)) this.lost(error);
      else showProblem(byId("problems"), error.message);
      return false;
    }
    this.model = model;
    Object.assign(this.state, { model: model.name, version: model.version });
    this.listModels();
    const methods = Object.keys(this.description.methods).length;
    this.turns = new Turns(model.parallel);
    this.question = new Question(this);
    byId("about").textContent = `${this.question.names.length} classes · ${methods} methods`;
    return true;
  }

  listModels() {
    const value = ({ name, version }) => JSON.stringify([name, version]);
    const options = this.server.models.map((one) => new Option(`${one.name} ${one.version}`, value(one)));
    byId("model").replaceChildren(...options);
    byId("model").value = value(this.model);
  }

  async chooseModel(value) {
    const [name, version] = JSON.parse(value);
    const model = this.server.models.find((one) => one.name === name && one.version === version);
    const cards = this.cards.map(({ method }) => ({ method, parameters: {} }));
    Object.assign(this.state, { class: "", against: "", head: "", true: "", predicted: "" });
    if (!await this.setModel(model)) return;
    this.setCards(cards.filter(({ method }) => method in this.description.methods));
    if (!this.views.postpones()) await this.explainAll();
  }

  repaint(onlyDraw = false) {
    for (const card of this.cards) if (card.answer) card.paint(onlyDraw);
    history.replaceState(null, "", writeLink(this.linkState()));
  }

  setCards(cards) {
    for (const card of this.cards) card.cancel();
    this.cards = cards.map((card) => new Card(this, card));
    byId("cards").replaceChildren(...this.cards.map((card) => card.node));
  }

  add(method) {
    if (this.cards.length >= MOST_CARDS) return showProblem(byId("problems"), `At most ${MOST_CARDS} maps are shown; remove one first.`);
    const card = new Card(this, { method, parameters: {} });
    this.cards.push(card);
    byId("cards").append(card.node);
    card.askOrWait();
  }

  remove(card) {
    card.cancel();
    this.cards.splice(this.cards.indexOf(card), 1);
    card.node.remove();
    showProblem(byId("problems"), "");
    if (!this.cards.some(({ state }) => state === "failed")) this.question.clearProblems();
    this.settle();
  }

  choosePicture(id, file) {
    if (!this.ready) { // the link is opened when the server answers
      window.history.replaceState(null, "", writeLink({ ...readLink(location.hash).state, picture: id, file }));
      return;
    }
    Object.assign(this.state, { picture: id, file, view: "" });
    this.views.explain();
    this.setPicture();
  }

  // Does work during which the status does not end in “done”.
  async during(work) {
    this.busy += 1;
    if (this.ready) this.settle();
    try {
      return await work();
    } finally {
      this.busy -= 1;
      if (this.ready) this.settle();
      else if (!this.busy) byId("status").textContent = "done";
    }
  }

  setPicture(confirmed = false) {
    return this.during(() => this.showPicture(confirmed));
  }

  explainAll(confirmed = false) {
    return this.during(() => this.askAll(confirmed));
  }

  // Shows the picture and asks about it, at the same time.
  async showPicture(confirmed) {
    byId("predictions").setAttribute("aria-busy", "true"); // those of the picture before, until the new ones arrive
    const { picture, file } = this.state;
    if (!picture) return this.explainAll(confirmed);
    this.pictures.problem("");
    const loading = this.pictures.load(picture, file);
    const asking = this.explainAll(confirmed);
    if (await loading) {
      if (this.input) this.pictures.showCrop(this.input);
      for (const card of this.cards) if (card.state === "done") card.paint();
    }
    await asking;
  }

  // Asks for all maps again. If `confirmed`, costly methods that the link has with all their parameters do not wait.
  async askAll(confirmed) {
    this.question.clearProblems();
    const turn = this.turn = (this.turn ?? 0) + 1;
    Object.assign(this, { input: null, best: null });
    const ask = (card) => card.askOrWait(confirmed && "score" in card.parameters);
    const work = this.cards.filter((card) => card.takesPicture).map(ask);
    if (!this.cards.some((card) => card.state === "asking" && card.takesPicture)) work.push(this.predictOnly());
    await Promise.all(work);
    if (turn === this.turn) await Promise.all(this.cards.filter((card) => !card.takesPicture).map(ask));
  }

  async predictOnly() {
    if (!this.state.picture) return;
    const turn = this.turn;
    try {
      const answer = await explain(this.model, this.state.picture, { ...this.question.options(), quality: false, render: "none" });
      if (turn === this.turn) this.predicted(answer);
    } catch (error) {
      if (turn !== this.turn) return;
      if (!this.fail(error)) showProblem(byId("problems"), error.message);
      if (isUnreachable(error)) this.lost(error);
    }
  }

  predicted(answer) {
    if (this.best !== null) return;
    this.best = answer.predictions[0].index;
    byId("predictions").removeAttribute("aria-busy");
    this.input = answer.input;
    this.pictures.showCrop(answer.input);
    showPredictions(byId("predictions"), answer.predictions, this.question.head.activation, ({ index }) => {
      this.question.choose(index);
      this.explainAll();
    });
  }

  // Shows an error at the control of the question that caused it; returns false if no such control did.
  fail(error) {
    const field = this.question.fields[error.option];
    if (error.option === "data" || error.status === 415 || error.type === "PictureTooLargeException") {
      if (error.type !== "PictureNotFoundException") this.pictures.problem(error.message); // `PicturePart` asks for it
    } else if (field) field.problem(error.message);
    else if (error.status === 404) this.vanished();
    else return false;
    return true;
  }

  // Says that the model is gone, and which ones are served.
  async vanished() {
    try {
      this.server = await getJson("/api/server");
      this.listModels();
      showProblem(byId("problems"), this.missingModel({ model: this.model.name, version: this.model.version }));
    } catch (error) {
      this.lost(error);
    }
  }

  // Says that the server is lost, and goes on as soon as it answers.
  lost(error) {
    showProblem(byId("problems"), `${error.message} This page tries again every ${RETRY / 1000} seconds.`);
    byId("status").textContent = "no server, done";
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.again(), RETRY);
  }

  async again() {
    try {
      this.server = await getJson("/api/server");
    } catch (error) {
      return this.lost(error);
    }
    showProblem(byId("problems"), "");
    if (this.description) await this.explainAll(true);
    else await this.start();
  }

  // Returns the address that stands for the present state.
  address() {
    return new URL(writeLink(this.linkState()), location.href).href;
  }

  linkState() {
    return { ...this.state, cards: this.cards.map(({ method, parameters }) => ({ method, parameters })) };
  }

  // Writes the status and, once nothing is under way, the link and the history.
  settle() {
    const count = (state) => this.cards.filter((card) => card.state === state).length;
    const [asking, maps, waiting] = ["asking", "done", "waiting"].map(count);
    if (asking) this.started ??= performance.now();
    if (asking || this.busy) {
      byId("status").textContent = asking ? `${maps} of ${maps + asking} maps …` : "asking …";
      return;
    }
    if (this.best === null) byId("predictions").replaceChildren();
    if (this.started) this.seconds = ` in ${((performance.now() - this.started) / 1000).toFixed(2)} s`;
    this.started = null;
    const time = maps ? this.seconds ?? "" : "";
    const held = waiting ? `, ${waiting} waiting for a click` : "";
    byId("status").textContent = `${maps} ${maps === 1 ? "map" : "maps"}${time}${held}, done`;
    const link = writeLink(this.linkState());
    if (link !== location.hash) window.history[this.opening ? "replaceState" : "pushState"](null, "", link);
    this.opening = false;
    if (maps) this.history.add(writeLink({ ...this.linkState(), view: "" }), this.linkState());
  }
}

new Page().start();
