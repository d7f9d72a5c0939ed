// Requests to the page's server. Every failure is a ServerError with a sentence for a person.

export class ServerError extends Error {
  constructor(status, type, message, option = null) {
    super(message);
    Object.assign(this, { status, type, option });
  }
}

export async function send(path, init = {}) {
  let answer;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, "Unreachable", "The page's own server does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  let body = {};
  try {
    body = await answer.json();
  } catch { /* an answer of a proxy */ }
  const message = body.message || `The server answered with status ${answer.status}.`;
  throw new ServerError(answer.status, body.type || "Error", message, body.option ?? null);
}

export const modelPath = (model) => `${encodeURIComponent(model.name)}/${encodeURIComponent(model.version)}`;

export const pictureUrl = (id, side = 1024) =>
  `/api/pictures/${id.split("/").map(encodeURIComponent).join("/")}?side=${side}`;

export async function getJson(path, signal) {
  return (await send(path, { signal })).json();
}

export async function describe(model) {
  return getJson(`/api/models/${modelPath(model)}`);
}

export async function addPicture(file) {
  const answer = await send("/api/pictures", { method: "POST", body: file });
  return (await answer.json()).id;
}

async function ask(model, picture, options, signal) {
  const body = JSON.stringify({ picture, options });
  const headers = { "Content-Type": "application/json" };
  return send(`/api/explanations/${modelPath(model)}`, { method: "POST", body, headers, signal });
}

export async function explain(model, picture, options, signal) {
  return (await ask(model, picture, { ...options, format: "json" }, signal)).json();
}

export async function explainAsNpy(model, picture, options) {
  return (await ask(model, picture, { ...options, format: "npy" })).blob();
}

export const isUnreachable = (error) => error instanceof ServerError && (error.status === 0 || error.status === 502);
