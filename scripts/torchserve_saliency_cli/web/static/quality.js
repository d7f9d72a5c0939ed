// The quality figures of a map beside those of a random map, and the notes on it.

import { element } from "./dom.js";
import { shortNumber } from "./saliency.js";

const cell = (value) => element("td", {}, value === null || value === undefined ? "–" : shortNumber(value));

export function qualityTable(quality) {
  const rows = Object.entries(quality).filter(([, entry]) => typeof entry === "object").map(([name, { value, random, reason }]) =>
    element("tr", { title: reason ?? null }, element("th", { scope: "row" }, name.replaceAll("_", " ")), cell(value), cell(random)));
  const head = element("tr", {}, ...["quality", "this map", "random map"].map((text) => element("th", { scope: "col" }, text)));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}

// Returns the sentences that a person should read before trusting a map.
export function notesOf({ notes = [], sanity }) {
  return [...notes, sanity].filter(Boolean).map((note) => note.charAt(0).toUpperCase() + note.slice(1));
}
