// The parts of the gallery: its thumbnails, and the confusion table whose cells choose pictures.

import { element } from "./dom.js";
import { verdict } from "./gallery_data.js";
import { probabilityText } from "./predictions.js";
import { pictureUrl } from "./server.js";

const THUMBNAIL = 160; // pixels
const FEW = 6; // classes whose names stand side by side above the table
const MARKS = { right: "✓ right", wrong: "✗ wrong", failed: "! failed" };

// Returns the thumbnail of a picture; `choose` explains it.
export function makeTile(picture, choose) {
  const image = element("img", { loading: "lazy", width: THUMBNAIL, height: THUMBNAIL, alt: picture.name });
  image.src = pictureUrl(`sample:${picture.name}`, THUMBNAIL);
  const text = element("span", { className: "tile-text" });
  const button = element("button", { type: "button", title: picture.name, onclick: () => choose(picture) }, image, text);
  const node = element("li", {}, button);
  return { node, update: () => update(picture, button, text) };
}

function update(picture, button, text) {
  const found = verdict(picture);
  button.className = `tile ${found}`;
  const line = (className, ...children) => element("span", { className }, ...children);
  const lines = found ? [line("mark", MARKS[found])] : [];
  if (picture.error) {
    button.title = `${picture.name}: ${picture.error.message}`;
    lines.push(line("reason", picture.error.message));
  }
  if (picture.predictions) {
    const [{ probability, index }] = picture.predictions;
    lines.push(line("said", line("", picture.names[index]), line("number", probabilityText(probability, picture.activation))));
  } else if (!picture.error) lines.push(line("soft", "…"));
  if (picture.label !== null) lines.push(line("soft", `true: ${picture.index === null ? picture.label : picture.names[picture.index]}`));
  text.replaceChildren(...lines.flatMap((one) => [one, " "]));
}

// Returns the table; `choose(row, column)` is called with two class indices, and `isChosen` tells which cell is pressed.
export function confusionTable({ counts, classes }, names, choose, isChosen) {
  const heads = classes.map((column) => element("th", { scope: "col" }, element("span", { title: names[column] }, names[column])));
  const largest = Math.max(1, ...counts.values());
  const cell = (row, column) => {
    const count = counts.get(`${row},${column}`);
    if (!count) return element("td", { className: "none" });
    const button = element("button", { type: "button", "data-cell": `${row},${column}`, onclick: () => choose(row, column) }, String(count));
    button.setAttribute("aria-label", `${count}: true ${names[row]}, predicted ${names[column]}`);
    button.setAttribute("aria-pressed", String(isChosen(row, column)));
    button.style.setProperty("--share", `${Math.round(10 + (25 * count) / largest)}%`);
    return element("td", { className: row === column ? "same" : "other" }, button);
  };
  const rows = classes.map((row) => element("tr", {}, element("th", { scope: "row" }, names[row]), ...classes.map((column) => cell(row, column))));
  return element("table", { className: classes.length > FEW ? "confusion many" : "confusion", "aria-label": "Confusion" },
    element("thead", {}, element("tr", {}, element("td", {}), ...heads)), element("tbody", {}, ...rows));
}
