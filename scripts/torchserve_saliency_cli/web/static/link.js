// The state of the page as the fragment of its address, and back.

const MOST_CARDS = 8;
const TEXTS = ["model", "version", "picture", "file", "class", "against", "head", "colours", "view"];
const GALLERY = ["true", "predicted", "show", "order"]; // only in links to the gallery
const FLAGS = ["quality", "smooth"];

export const NEW_STATE = {
  model: "", version: "", picture: "", file: "", class: "", against: "", head: "", colours: "",
  view: "", true: "", predicted: "", show: "", order: "",
  quality: false, smooth: false, opacity: 0.8, cards: [],
};

// A card is written as `method?steps=20&seed=0`.
function writeCard(card) {
  const parameters = new URLSearchParams(Object.entries(card.parameters).map(([name, value]) => [name, asText(value)]));
  return parameters.size ? `${card.method}?${parameters}` : card.method;
}

const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function readCard(text) {
  const [method, query = ""] = text.split(/\?(.*)/s);
  return { method, parameters: Object.fromEntries(new URLSearchParams(query)) };
}

export function writeLink(state) {
  const parts = new URLSearchParams();
  const texts = state.view === "gallery" ? [...TEXTS, ...GALLERY] : TEXTS;
  for (const name of texts) if (state[name] !== "") parts.set(name, state[name]);
  for (const name of FLAGS) if (state[name]) parts.set(name, "1");
  if (state.opacity !== NEW_STATE.opacity) parts.set("opacity", String(state.opacity));
  for (const card of state.cards) parts.append("card", writeCard(card));
  return `#${parts}`;
}

// Returns the state of a link, and a sentence for each part of it that cannot be read.
export function readLink(fragment) {
  const state = { ...NEW_STATE, cards: [] };
  const problems = [];
  for (const [name, value] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    if (TEXTS.includes(name) || GALLERY.includes(name)) state[name] = value;
    else if (FLAGS.includes(name)) state[name] = value === "1";
    else if (name === "opacity") state.opacity = readOpacity(value, problems);
    else if (name === "card") state.cards.push(readCard(value));
    else problems.push(`The link has a part that this page does not know: “${name.slice(0, 40)}”.`);
  }
  if (state.cards.length > MOST_CARDS) problems.push(`The link has more than ${MOST_CARDS} maps; the first ones are shown.`);
  state.cards.length = Math.min(state.cards.length, MOST_CARDS);
  return { state, problems };
}

function readOpacity(value, problems) {
  const opacity = Number(value);
  if (value !== "" && opacity >= 0 && opacity <= 1) return opacity;
  problems.push(`The link's opacity must be a number from 0 to 1, not “${value.slice(0, 40)}”.`);
  return NEW_STATE.opacity;
}

export { MOST_CARDS };
