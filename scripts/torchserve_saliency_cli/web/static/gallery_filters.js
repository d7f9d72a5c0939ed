// The filters of the gallery: the classes that occur, right or wrong, and the order.

import { element } from "./dom.js";
import { Field } from "./form.js";
import { ORDERS, SHOWS } from "./gallery_data.js";

const ANY = "any class";

export class Filters {
  // `change(changes)` is called with changes of the state.
  constructor(change) {
    Object.assign(this, { change, fields: new Map(), node: element("div", { className: "fields" }) });
  }

  // Builds the controls for pictures; as long as predictions arrive, every class may be predicted.
  build({ pictures, names, hasLabels, complete }, state) {
    const focused = document.activeElement?.dataset?.filter;
    this.fields.clear();
    this.node.replaceChildren();
    if (!pictures.length) return;
    const classes = (indices, chosen) => [ANY, ...sorted([...indices, names.indexOf(chosen)]).map((index) => names[index])];
    const predicted = complete ? pictures.map(({ predictions }) => predictions?.[0].index) : names.keys();
    if (hasLabels) this.add("true", "True class", classes(pictures.map(({ index }) => index), state.true), state);
    this.add("predicted", "Predicted class", classes(predicted, state.predicted), state);
    if (hasLabels) this.add("show", "Show", SHOWS, state);
    this.add("order", "Order", ORDERS, state);
    this.fields.get(focused)?.field.control.focus();
  }

  add(name, label, choices, state) {
    const none = choices[0];
    const value = state[name] || none;
    const field = new Field(label, { type: "string", choices }, value, (text) => this.change({ [name]: text === none ? "" : text }));
    field.control.dataset.filter = name;
    if (!choices.includes(value)) field.problem(`The link's value “${value.slice(0, 60)}” is none of these.`);
    this.fields.set(name, { field, none });
    this.node.append(field.node);
  }

  // Shows the values of a state; the control that a person uses stays as it is.
  set(state) {
    for (const [name, { field, none }] of this.fields) {
      field.set(state[name] || none);
      field.problem("");
    }
  }
}

const sorted = (indices) => [...new Set(indices)].filter((index) => index >= 0 && index !== null).sort((one, other) => one - other);
