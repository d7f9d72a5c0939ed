// The pictures of the gallery: their lines from the server, their choice, their order, and their confusion table.

import { send, ServerError } from "./server.js";

export const SHOWS = ["all", "right", "wrong", "failed"];
export const ORDERS = ["name", "least sure"];
const MOST_CLASSES = 20;

// Yields the objects of an answer, one per line, as they arrive.
export async function* readLines(path, signal) {
  const reader = (await send(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) yield JSON.parse(line);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, "Unreachable", "The page's own server does not answer. Is it still running?");
  }
}

const best = (picture) => picture.predictions?.[0];

// Returns the pictures that fit the filters of a state, in its order. `names` are the classes by index.
export function choose(pictures, names, { true: trueClass, predicted, show, order }) {
  const chosen = pictures.filter((picture) => (!trueClass || names[picture.index] === trueClass)
    && (!predicted || (best(picture) && names[best(picture).index] === predicted))
    && (!show || show === "all" || verdict(picture) === show));
  return order === "least sure" ? chosen.sort((one, other) => sureness(one) - sureness(other)) : chosen;
}

export function verdict({ error, right }) {
  if (error) return "failed";
  return { true: "right", false: "wrong" }[right] ?? "";
}

// Returns how sure the network is: the best probability; for a multi-label model the distance of the nearest one from
// one half; for outputs that are no probabilities the distance of the best one from the second.
export function sureness({ predictions, activation }) {
  if (!predictions) return Infinity;
  const values = predictions.map(({ probability }) => probability);
  if (activation === "sigmoid") return Math.min(...values.map((value) => Math.abs(value - 0.5)));
  return activation === "none" && values.length > 1 ? values[0] - values[1] : values[0];
}

// Returns the counts of each true and predicted class, and the classes that occur; of many, those with most errors.
export function confusion(pictures) {
  const counts = new Map();
  const errors = new Map();
  for (const picture of pictures) {
    if (picture.index === null || !picture.predictions) continue;
    const [row, column] = [picture.index, best(picture).index];
    counts.set(`${row},${column}`, (counts.get(`${row},${column}`) ?? 0) + 1);
    for (const one of [row, column]) errors.set(one, (errors.get(one) ?? 0) + (row === column ? 0 : 1));
  }
  const occurring = [...errors.keys()];
  const most = occurring.sort((one, other) => errors.get(other) - errors.get(one) || one - other).slice(0, MOST_CLASSES);
  return { counts, classes: most.sort((one, other) => one - other), occurring: occurring.length };
}
