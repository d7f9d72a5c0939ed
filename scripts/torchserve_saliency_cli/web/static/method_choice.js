// The list of methods to add: a click adds the method; with the arrow keys, Enter adds it.

import { element } from "./dom.js";

const OPENING = new Set(["Enter", " ", "F4"]);

export function addByChoice(methods, add) {
  const options = Object.entries(methods).map(([name, { help }]) => {
    const option = new Option(name, name);
    option.title = help ?? "";
    return option;
  });
  const list = element("select", { id: "add-method" }, new Option("choose …", ""), ...options);
  let moving = false; // the arrow keys change a closed list, and every change is an event
  const take = () => {
    if (!list.value) return;
    add(list.value);
    list.value = "";
    moving = false;
  };
  list.addEventListener("pointerdown", () => { moving = false; });
  list.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && moving) {
      event.preventDefault();
      take();
    } else moving = !OPENING.has(event.key) && !event.altKey;
  });
  list.addEventListener("change", () => { if (!moving) take(); });
  const hint = element("p", { className: "hint", id: "add-hint" }, "With the arrow keys, Enter adds the method.");
  list.setAttribute("aria-describedby", hint.id);
  return element("div", { className: "field" }, element("label", { htmlFor: list.id }, "Add a method"), list, hint);
}
