// Two links of the page side by side.

import { byId, element } from "./dom.js";

const SIDES = ["left", "right"];

// Returns the part of a link after its `#`: the state that it stands for.
const fragmentOf = (text) => (text.includes("#") ? text.slice(text.indexOf("#")) : "");

function show() {
  const links = new URLSearchParams(location.hash.slice(1));
  for (const side of SIDES) {
    byId(side).value = links.get(side) ?? "";
    const frame = byId(`${side}-frame`);
    const source = `/${fragmentOf(byId(side).value)}`;
    if (frame.getAttribute("src") !== source) frame.src = source;
  }
}

byId("sides").append(...SIDES.map((side) => element("iframe", { id: `${side}-frame`, title: `The ${side} link` })));
for (const side of SIDES) {
  byId(side).addEventListener("change", () => {
    location.hash = new URLSearchParams(SIDES.map((name) => [name, fragmentOf(byId(name).value)]));
  });
}
window.addEventListener("hashchange", show);
show();
