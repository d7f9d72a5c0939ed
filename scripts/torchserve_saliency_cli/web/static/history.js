// The questions of this session, each a link; two of them can be laid side by side.

import { byId, element } from "./dom.js";

export class History {
  constructor() {
    this.links = new Set();
  }

  add(link, state) {
    if (this.links.has(link)) return;
    this.links.add(link);
    const methods = state.cards.map((card) => card.method).join(", ") || "predictions";
    const time = new Date().toLocaleTimeString();
    const text = [time, state.file || "picture", state.class || "predicted", methods].join(" · ");
    const tick = element("input", { type: "checkbox", value: link, onchange: () => this.offer() });
    tick.setAttribute("aria-label", `Compare: ${text}`);
    byId("history").prepend(element("li", {}, tick, " ", element("a", { href: link }, text)));
    byId("history-section").hidden = false;
  }

  offer() {
    const chosen = [...byId("history").querySelectorAll("input:checked")];
    if (chosen.length > 2) chosen.find((tick) => tick !== document.activeElement).checked = false;
    const two = [...byId("history").querySelectorAll("input:checked")].map((tick) => tick.value);
    byId("compare").hidden = two.length !== 2;
    if (two.length === 2) byId("compare").href = `/compare#${new URLSearchParams({ left: two[0], right: two[1] })}`;
  }
}
