// Controls drawn from the describe route: one for each option or parameter.

import { element, showProblem, uniqueId } from "./dom.js";

// A labelled control. `value()` returns the text to send, and `change` is called with it when a person has changed it.
export class Field {
  constructor(name, description, value, change) {
    this.name = name;
    this.description = description;
    this.control = makeControl(description, value);
    this.control.id = uniqueId(name.replace(/\W/g, "-"));
    this.typing = false; // an answer does not replace a value that a person is changing
    this.control.addEventListener("input", () => { this.typing = true; });
    this.control.addEventListener("change", () => { this.typing = false; change(this.value()); });
    this.node = element("div", { className: "field" }, ...this.labelled());
  }

  labelled() {
    const label = element("label", { htmlFor: this.control.id }, this.name);
    const isOther = this.description.unit && this.description.unit !== this.name;
    const unit = isOther ? element("span", { className: "unit" }, `(${this.description.unit})`) : null;
    if (this.description.help) label.title = bounded(this.description);
    return this.description.type === "boolean"
      ? [element("span", { className: "check" }, this.control, label)]
      : [element("span", { className: "label" }, label, unit), this.control];
  }

  value() {
    return this.description.type === "boolean" ? String(this.control.checked) : this.control.value.trim();
  }

  set(value) {
    if (this.typing) return;
    const text = value === null || value === undefined ? "" : String(value);
    if (this.description.type === "boolean") this.control.checked = text === "true";
    else if (this.control.tagName === "SELECT") select(this.control, text);
    else this.control.value = text;
  }

  problem(text) {
    showProblem(this.node, text, this.control);
  }
}

function bounded({ help, minimum, maximum }) {
  return minimum === undefined ? help : `${help}; from ${minimum} to ${maximum}`;
}

function makeControl(description, value) {
  const text = value === null || value === undefined ? "" : String(value);
  if (description.type === "boolean") return element("input", { type: "checkbox", checked: text === "true" });
  if (description.choices) {
    const made = element("select", {}, ...description.choices.map((name) => new Option(name, name)));
    select(made, text);
    return made;
  }
  if (description.type === "string") return element("input", { type: "text", value: text, autocomplete: "off" });
  const { minimum, maximum } = description;
  const step = description.type === "integer" ? "1" : "any";
  return element("input", { type: "number", min: minimum, max: maximum, step, value: text });
}

// Selects a value of a list; one that the list lacks, such as that of an edited link, is added, for the server to judge.
function select(control, text) {
  if (text && ![...control.options].some((option) => option.value === text)) control.append(new Option(text, text));
  control.value = text;
}

// A text field with suggestions, in which a person searches by typing.
export class Combobox {
  constructor(name, suggestions, value, placeholder, change) {
    const list = element("datalist", { id: uniqueId("list") }, ...suggestions.map((text) => new Option(text)));
    this.known = new Set(suggestions);
    this.last = value;
    this.change = change;
    this.control = element("input", { type: "text", id: uniqueId(name), value, placeholder, autocomplete: "off" });
    this.control.setAttribute("list", list.id);
    this.control.addEventListener("change", () => this.apply());
    this.control.addEventListener("input", () => { if (this.known.has(this.control.value)) this.apply(); });
    const label = element("label", { htmlFor: this.control.id }, name);
    this.node = element("div", { className: "field" }, label, this.control, list);
  }

  apply() {
    const value = this.control.value.trim();
    if (value === this.last) return;
    this.last = value;
    this.change(value);
  }

  set(value) {
    this.last = value;
    this.control.value = value;
  }

  problem(text) {
    showProblem(this.node, text, this.control);
  }
}
