// The gallery: the sample pictures with their true and predicted classes, filters, and a confusion table.

import { byId, element, showProblem } from "./dom.js";
import { choose, confusion, readLines, verdict } from "./gallery_data.js";
import { Filters } from "./gallery_filters.js";
import { confusionTable, makeTile } from "./gallery_parts.js";
import { writeLink } from "./link.js";
import { isUnreachable, modelPath, ServerError } from "./server.js";

const PART = 200; // thumbnails shown at once
const PAUSE = 150; // milliseconds between two drawings while predictions arrive
const RETRY = 2000; // milliseconds between two tries to reach a lost server
const NO_SAMPLES = "There are no sample pictures: start the page with --samples FOLDER. Its subfolders, or a file labels.csv in it, name the true classes.";
const MULTI_LABEL = "A picture is right if its true class has a probability of at least 50 %, whatever its other classes. The predicted class is the most probable one.";

export class Gallery {
  constructor(page) {
    Object.assign(this, { page, pictures: [], tiles: new Map(), limit: PART });
    this.problems = element("div");
    this.notes = element("div", { className: "notes" });
    this.counts = element("dl", { className: "counts" });
    this.progress = element("progress", { id: "gallery-progress", max: 1, value: 0 });
    this.bar = element("div", { className: "field", hidden: true }, element("label", { htmlFor: "gallery-progress" }, "Predictions that have arrived"), this.progress);
    this.status = element("p", { role: "status", className: "hint" });
    this.table = element("div", { className: "scroll" });
    this.confusion = element("details", { className: "table", open: true, hidden: true }, element("summary", {}, "Confusion table"), this.table);
    this.list = element("ul", { id: "tiles", "aria-label": "Pictures" });
    this.more = element("button", { type: "button", hidden: true, onclick: () => this.showMore() });
    this.clear = element("button", { type: "button", onclick: () => this.filter({ true: "", predicted: "", show: "" }) }, "Show all pictures");
    this.filters = new Filters((changes) => this.filter(changes));
    const reload = element("button", { type: "button", onclick: () => this.load() }, "Read the folder again");
    byId("gallery").tabIndex = -1;
    byId("gallery").replaceChildren(
      element("section", { "aria-label": "Filters", className: "side" }, this.counts, this.filters.node, this.clear, this.bar, reload),
      element("section", { "aria-label": "Gallery" }, element("h2", {}, "Gallery"), this.problems, this.notes, this.confusion, this.status, this.list, this.more));
  }

  // Shows the pictures with the filters of the page's state; reads them if they are not those of the page's model.
  show() {
    const key = JSON.stringify([this.page.model, this.page.question.head.name]);
    if (key !== this.key || !this.complete) return this.load(key);
    this.limit = PART;
    this.filters.build(this, this.page.state);
    this.draw();
    this.tiles.get(this.last)?.node.firstChild.focus();
    this.last = null;
  }

  leave() {
    this.reading?.abort();
    clearTimeout(this.retry);
  }

  async load(key = this.key) {
    this.leave();
    if (key !== this.key) this.forget();
    const { signal } = this.reading = new AbortController();
    Object.assign(this, { key, complete: false, limit: PART, names: this.page.question.names });
    showProblem(this.problems, "");
    this.status.textContent = "reading the pictures …";
    const query = new URLSearchParams(this.page.state.head ? { head: this.page.state.head } : {});
    try {
      for await (const line of readLines(`/api/gallery/${modelPath(this.page.model)}?${query}`, signal)) this.take(line);
      if (!this.complete) throw new ServerError(0, "Unreachable", "The answer of the page's server broke off.");
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    }
  }

  // Removes the pictures of another model.
  forget() {
    this.pictures = [];
    for (const part of [this.counts, this.filters.node, this.notes, this.table, this.list]) part.replaceChildren();
    for (const part of [this.confusion, this.more, this.clear]) part.hidden = true;
  }

  fail(error) {
    const again = isUnreachable(error) ? ` This page tries again every ${RETRY / 1000} seconds.` : "";
    showProblem(this.problems, error.message + again);
    this.status.textContent = "stopped, done";
    if (again) this.retry = setTimeout(() => this.load(), RETRY);
  }

  take(line) {
    if (line.pictures) this.start(line);
    else if (line.note) this.notes.append(element("p", { className: "note" }, line.note));
    else if (line.error && !line.name) throw new ServerError(line.error.code, line.error.type, line.error.message);
    else if (line.done) this.complete = true;
    else this.add(line);
    if (this.complete) {
      this.filters.build(this, this.page.state);
      this.draw();
    } else this.timer ??= setTimeout(() => this.draw(), PAUSE);
  }

  start({ pictures, activation, notes }) {
    const { names } = this;
    this.pictures = pictures.map((picture) => ({ ...picture, activation, names }));
    this.byName = new Map(this.pictures.map((picture) => [picture.name, picture]));
    this.tiles = new Map();
    this.hasLabels = pictures.some(({ index }) => index !== null);
    const texts = [activation === "sigmoid" && this.hasLabels ? MULTI_LABEL : "", ...notes].filter(Boolean);
    this.notes.replaceChildren(...texts.map((text) => element("p", { className: "note" }, text)));
    if (!pictures.length) showProblem(this.problems, NO_SAMPLES);
    this.filters.build(this, this.page.state);
  }

  add({ name, ...answer }) {
    const picture = this.byName.get(name);
    Object.assign(picture, answer);
    this.tiles.get(name)?.update();
  }

  // Changes filters, and writes them into the link.
  filter(changes) {
    Object.assign(this.page.state, changes);
    this.limit = PART;
    window.history.replaceState(null, "", writeLink(this.page.linkState()));
    this.filters.set(this.page.state);
    this.draw();
  }

  draw() {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { state } = this.page;
    const chosen = choose(this.pictures, this.names, state);
    this.drawCounts(chosen.length);
    this.drawTable();
    this.drawTiles(chosen);
    this.clear.hidden = !(state.true || state.predicted || (state.show && state.show !== "all"));
  }

  drawCounts(shown) {
    const count = (test) => this.pictures.filter(test).length;
    const found = (name) => count((picture) => verdict(picture) === name);
    const [all, right, wrong, failed] = [this.pictures.length, found("right"), found("wrong"), found("failed")];
    const arrived = count(({ predictions, error }) => predictions || error);
    const share = right + wrong ? ` (${(100 * right / (right + wrong)).toFixed(1)} %)` : "";
    const unknown = count(({ predictions, right: isRight }) => predictions && typeof isRight !== "boolean");
    const rows = [["Pictures", all], ...(this.hasLabels ? [["Right", `${right}${share}`], ["Wrong", wrong]] : [])];
    if (failed) rows.push(["Failed", failed]);
    if (this.hasLabels && unknown) rows.push(["Neither right nor wrong", unknown]);
    this.counts.replaceChildren(...rows.filter(() => all).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))));
    Object.assign(this.progress, { max: Math.max(1, all), value: arrived });
    this.bar.hidden = this.complete || !all;
    this.status.textContent = this.complete
      ? `${shown} of ${all} ${all === 1 ? "picture" : "pictures"} shown, done` : `${arrived} of ${all} predictions …`;
  }

  drawTable() {
    const data = confusion(this.pictures);
    const { state } = this.page;
    const cell = (row, column) => ({ true: this.names[row], predicted: this.names[column], show: "" });
    const isChosen = (row, column) => state.true === this.names[row] && state.predicted === this.names[column];
    const select = (row, column) => this.filter(isChosen(row, column) ? { true: "", predicted: "" } : cell(row, column));
    const focused = document.activeElement?.dataset?.cell;
    const parts = data.classes.length ? [hint("True classes in rows, predicted classes in columns. A number shows its pictures."), confusionTable(data, this.names, select, isChosen)] : [];
    if (data.occurring > data.classes.length) {
      parts.splice(1, 0, hint(`Of ${data.occurring} classes, the ${data.classes.length} with most errors are in the table.`));
    }
    this.table.replaceChildren(...parts);
    this.confusion.hidden = !parts.length;
    if (focused) this.table.querySelector(`[data-cell="${focused}"]`)?.focus({ preventScroll: true });
  }

  // Puts the thumbnails into the list; those that stay are not loaded again.
  drawTiles(chosen) {
    const nodes = chosen.slice(0, this.limit).map((picture) => this.tile(picture).node);
    const left = chosen.length - nodes.length;
    this.more.hidden = left === 0;
    this.more.textContent = `Show more (${left} left)`;
    if (nodes.length === this.list.children.length && nodes.every((node, place) => node === this.list.children[place])) return;
    const focused = document.activeElement;
    this.list.replaceChildren(...nodes);
    if (this.list.contains(focused)) focused.focus({ preventScroll: true });
  }

  tile(picture) {
    if (!this.tiles.has(picture.name)) {
      const tile = makeTile(picture, ({ name }) => this.explain(name));
      tile.update();
      this.tiles.set(picture.name, tile);
    }
    return this.tiles.get(picture.name);
  }

  explain(name) {
    this.last = name;
    this.page.choosePicture(`sample:${name}`, name);
  }

  showMore() {
    const first = this.list.children.length;
    this.limit += PART;
    this.draw();
    this.list.children[first]?.firstChild.focus();
  }
}

const hint = (text) => element("p", { className: "hint" }, text);
