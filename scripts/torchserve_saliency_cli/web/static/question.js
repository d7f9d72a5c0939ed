// The question of the page: the classes, the output of the network, and the controls of how maps are shown.

import { byId, element } from "./dom.js";
import { Combobox, Field } from "./form.js";
import { addByChoice } from "./method_choice.js";
import { readingOf } from "./predictions.js";

const TOP = 10; // predictions

export class Question {
  constructor(page) {
    this.page = page;
    this.draw();
  }

  // Returns the output of the network that is explained.
  get head() {
    const { description, state } = this.page;
    const heads = description.heads ?? [{ name: "", label_names: description.label_names, activation: "softmax" }];
    return heads.find(({ name }) => name === (state.head || description.default_head)) ?? heads[0];
  }

  // Returns the unique names of the classes, by index.
  get names() {
    return [...this.indices.keys()];
  }

  draw() {
    const { page, page: { state, description } } = this;
    const names = displayNames(this.head.label_names);
    this.indices = new Map(names.map((name, index) => [name, index]));
    const also = (name) => description.options?.[name]?.also ?? [];
    const change = (name) => (value) => { state[name] = value; page.explainAll(); };
    this.fields = {
      target: new Combobox("Class", [...also("target"), ...names], state.class, "predicted", change("class")),
      against: new Combobox("Against", [...also("against"), ...names], state.against, "none", change("against")),
      ...this.headField(),
    };
    const { target, against, head } = this.fields;
    byId("fields").replaceChildren(...(head ? [head.node] : []), target.node, against.node,
      addByChoice(description.methods, (method) => page.add(method)), ...this.viewFields());
    byId("reading").textContent = readingOf(this.head.activation);
  }

  headField() {
    const { page, page: { description } } = this;
    const choices = (description.heads ?? []).map(({ name }) => name);
    if (choices.length < 2) return {};
    const entry = { type: "string", choices, help: "Output of the network" };
    const head = new Field("Output", entry, this.head.name, (value) => {
      Object.assign(page.state, { head: value, class: "", against: "" });
      this.draw();
      page.explainAll();
    });
    return { head };
  }

  // Returns the controls of how the maps are shown.
  viewFields() {
    const { page, page: { state } } = this;
    const opacity = element("input", { type: "range", min: 0, max: 1, step: 0.01, value: state.opacity, id: "opacity" });
    opacity.addEventListener("input", () => { state.opacity = Number(opacity.value); page.repaint(true); });
    const field = element("div", { className: "field" }, element("label", { htmlFor: "opacity" }, "Opacity"), opacity);
    const choices = ["automatic", ...Object.keys(page.colormaps)];
    const colours = new Field("Colours", { type: "string", choices }, state.colours || "automatic", (value) => {
      state.colours = value === "automatic" ? "" : value;
      page.repaint();
    });
    const flag = (name, text, changed) => new Field(text, { type: "boolean" }, String(state[name]), (value) => {
      state[name] = value === "true";
      changed();
    });
    return [field, colours.node, flag("smooth", "Smooth the maps", () => page.repaint()).node,
      flag("quality", "Quality figures (slower)", () => page.explainAll()).node];
  }

  // Makes a class the one that is explained.
  choose(index) {
    this.page.state.class = this.names[index];
    this.fields.target.set(this.names[index]);
  }

  clearProblems() {
    for (const field of Object.values(this.fields)) field.problem("");
  }

  // Returns the options that all cards have.
  options() {
    const { state } = this.page;
    const index = (name) => this.indices.get(name) ?? name;
    const options = { top_k: TOP };
    if (state.class && state.class !== "predicted") options.target = index(state.class);
    if (state.against && state.against !== "none") options.against = index(state.against);
    if (state.head) options.head = state.head;
    if (state.quality) options.quality = true;
    return options;
  }
}

// Returns the names of classes; a name that several classes have gets its index.
function displayNames(labels) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return labels.map((label, index) => (counts.get(label) > 1 ? `${label} (${index})` : label));
}
