// A card: one method with its parameters, its maps, and everything that a person asks about them.

import { copy, download, element, showProblem, uniqueId } from "./dom.js";
import { MapFigure } from "./figure.js";
import { Field } from "./form.js";
import { notesOf, qualityTable } from "./quality.js";
import { explain, explainAsNpy, isUnreachable } from "./server.js";
import { curlLines, pythonLines } from "./snippets.js";

const COSTLY = 100; // forward passes; a method with more waits for a click
const PAUSE = 150; // milliseconds after a change before the server is asked
const SHARED = ["score", "reduce", "polarity"]; // options that change the map of every method

export class Card {
  constructor(page, { method, parameters }) {
    Object.assign(this, { page, method, parameters: { ...parameters }, answer: null, figures: [], state: "new" });
    const { methods } = page.description;
    this.entry = Object.hasOwn(methods, method) ? methods[method] : undefined; // a link can name anything
    this.node = element("section", { className: "card" });
    this.node.setAttribute("aria-label", method);
    this.maps = element("div", { className: "maps" });
    this.below = element("div", { className: "below" });
    this.problems = element("div", { className: "problems" });
    this.fields = new Map();
    this.build();
  }

  build() {
    const remove = element("button", { type: "button", title: "Remove", onclick: () => this.page.remove(this) }, "×");
    remove.setAttribute("aria-label", "Remove");
    this.cost = element("span", { className: "passes" });
    const head = element("div", { className: "card-head" }, element("h3", {}, this.method), remove);
    this.node.append(head);
    if (!this.entry) return this.node.append(this.problems);
    this.run = element("button", { type: "button", className: "run", hidden: true, onclick: () => this.ask() });
    const own = element("div", { className: "fields own" }, ...this.makeFields(this.entry.parameters));
    const shared = Object.fromEntries(SHARED.map((name) => [name, this.page.description.options?.[name]]).filter(([, one]) => one));
    const more = element("details", { className: "more" }, element("summary", {}, "More options"),
      element("div", { className: "fields" }, ...this.makeFields(shared)));
    this.showCost();
    const about = [this.entry.help, this.entry.paper].filter(Boolean).join(" · ");
    this.node.append(element("p", { className: "hint", title: about }, this.entry.help ?? "", " ", this.cost),
      this.problems, this.run, this.maps, own, more, this.below);
  }

  // Returns about how many forward passes the present parameters need.
  get passes() {
    const { forwards = 1, forwards_per: per = {} } = this.entry.cost ?? {};
    const more = Object.entries(per).map(([name, each]) => {
      const usual = this.entry.parameters[name].default;
      return each * (Number(this.parameters[name] ?? usual) - usual);
    });
    return Math.max(1, Math.round(more.reduce((sum, value) => sum + value, forwards))) || forwards;
  }

  showCost() {
    const passes = this.passes + (this.page.state.quality ? this.entry.cost?.quality_forwards ?? 0 : 0);
    this.cost.textContent = passes > 1 ? `(${passes} passes)` : "";
    this.cost.title = "forward passes, at most";
  }

  makeFields(descriptions) {
    return Object.entries(descriptions).map(([name, description]) => {
      const value = this.parameters[name] ?? description.default;
      const field = new Field(name, description, value, (text) => this.change(name, text));
      this.fields.set(name, field);
      return field.node;
    });
  }

  change(name, text) {
    if (text === "") delete this.parameters[name];
    else this.parameters[name] = text;
    this.cancel();
    this.timer = setTimeout(() => this.askOrWait(), PAUSE);
    this.state = "asking";
    this.page.settle();
  }

  get takesPicture() {
    return this.entry?.shows !== "input";
  }

  // Asks the server, or waits for a click if the method is costly.
  askOrWait(confirmed = false) {
    if (!this.entry) return this.refuse();
    this.showCost();
    if (!confirmed && this.passes > COSTLY) return this.wait();
    return this.ask();
  }

  refuse() {
    this.state = "failed";
    const reason = new Map(Object.entries(this.page.description.unsupported ?? {})).get(this.method);
    const known = Object.keys(this.page.description.methods).join(", ");
    const text = reason ? `This model cannot be explained by ${this.method}: ${reason}` : `No method is named “${this.method}”. There are ${known}.`;
    showProblem(this.problems, text);
  }

  wait() {
    this.cancel();
    this.clear();
    this.state = "waiting";
    this.run.textContent = `Explain (about ${this.passes} forward passes)`;
    this.run.hidden = false;
    this.page.settle();
  }

  cancel() {
    clearTimeout(this.timer);
    this.aborter?.abort();
    this.aborter = null;
  }

  clear() {
    showProblem(this.problems, "");
    for (const field of this.fields.values()) field.problem("");
    this.run.hidden = true;
    this.figures = [];
    this.maps.replaceChildren();
    this.below.replaceChildren();
  }

  options() {
    const options = { ...this.page.question.options(), method: this.method, ...this.parameters };
    // a method that makes its picture explains the class that is predicted for the picture of the page
    if (!this.takesPicture && this.page.best !== null) options.target ??= this.page.best;
    return options;
  }

  // Has no picture to ask about.
  rest() {
    this.state = "new";
    this.page.settle();
  }

  async ask() {
    this.cancel();
    if (this.takesPicture && !this.page.state.picture) return this.rest();
    const aborter = new AbortController();
    this.aborter = aborter;
    this.state = "asking";
    this.run.hidden = true;
    this.node.setAttribute("aria-busy", "true");
    this.page.settle();
    try {
      const picture = this.takesPicture ? this.page.state.picture : null;
      const { signal } = aborter;
      const answer = await this.page.turns.take(() => explain(this.page.model, picture, this.options(), signal), signal);
      if (aborter.signal.aborted) return;
      if (this.takesPicture) this.page.predicted(answer);
      const { activation } = this.page.question.head;
      const figures = await Promise.all(answer.explanations.map((one) => MapFigure.from(one, activation, this.entry.shows)));
      if (aborter.signal.aborted) return;
      this.show(answer, figures);
      this.state = "done";
    } catch (error) {
      if (aborter.signal.aborted) return;
      this.state = "failed";
      this.fail(error);
    } finally {
      if (this.aborter === aborter) this.node.removeAttribute("aria-busy");
    }
    this.page.settle();
  }

  fail(error) {
    this.clear();
    const field = this.fields.get(error.option);
    if (field) field.problem(error.message);
    else if (!this.page.fail(error)) showProblem(this.problems, error.message);
    field?.node.closest("details")?.setAttribute("open", "");
    if (isUnreachable(error)) this.page.lost(error);
  }

  show(answer, figures) {
    this.clear();
    this.answer = answer;
    this.figures = figures;
    const [first] = answer.explanations;
    const given = ([, value]) => value !== null; // null stands for an option that was left out
    if (first) this.parameters = Object.fromEntries(Object.entries(first.parameters).filter(given));
    for (const [name, field] of this.fields) if (name in this.parameters) field.set(this.parameters[name]);
    this.maps.replaceChildren(...figures.map((figure) => figure.node));
    if (!first) this.maps.append(element("p", { className: "hint" }, "No class meets the condition, so there is no map."));
    this.paint();
    const notes = [...new Set(answer.explanations.flatMap(notesOf))];
    this.below.append(...notes.map((note) => element("p", { className: "note" }, note)));
    for (const one of answer.explanations) if (one.quality) this.below.append(qualityTable(one.quality));
    if (first) this.below.append(this.takeAway());
  }

  // Paints all maps; `onlyDraw` if only the opacity has changed.
  paint(onlyDraw = false) {
    const view = this.page.view();
    for (const figure of this.figures) {
      if (onlyDraw) figure.draw(view);
      else figure.paint(view, this.page.image, this.answer.input);
    }
  }

  // Returns the files and the lines of code that a person takes away.
  takeAway() {
    const button = (text, action) => element("button", { type: "button", onclick: action }, text);
    const { page } = this;
    const file = this.takesPicture ? page.state.file || "picture" : "";
    const options = this.options();
    const lines = [["curl", curlLines(page.server, page.model, file, options)], ["Python", pythonLines(page.server, page.model, file, options)]];
    const code = lines.map(([name, text]) => {
      const copying = button(`Copy ${name}`, (event) => copy(text, event.currentTarget));
      return element("div", { className: "code" }, copying, element("pre", { tabIndex: 0, id: uniqueId("code"), "aria-label": name, role: "region" }, text));
    });
    return element("details", { className: "take" }, element("summary", {}, "Download, curl, Python"),
      element("p", {}, button("Download PNG", () => this.downloadPng()), " ", button("Download npy", () => this.downloadNpy())), ...code);
  }

  downloadPng() {
    for (const figure of this.figures) {
      const label = figure.explanation.target.label.replace(/[^\p{L}\p{N}]+/gu, "_");
      figure.captioned().toBlob((blob) => download(blob, `${this.method}_${label}.png`));
    }
  }

  async downloadNpy() {
    try {
      const picture = this.takesPicture ? this.page.state.picture : null;
      download(await explainAsNpy(this.page.model, picture, this.options()), `${this.method}.npy`);
    } catch (error) {
      showProblem(this.problems, error.message);
    }
  }
}
