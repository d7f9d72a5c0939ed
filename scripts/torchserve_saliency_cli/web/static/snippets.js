// The same request for a shell and for Python.

const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
const pythonText = (text) => JSON.stringify(String(text));
const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));

const READ_KEY = `TOKEN=$(python3 -c 'import json; print(json.load(open("key_file.json"))["inference"]["key"])')`;

// A file of a form for curl, whose name may have commas, semicolons and quotes.
const formFile = (file) => quoted(`data=@"${String(file).replace(/["\\]/g, "\\$&")}"`);

export function curlLines({ url, tokens }, model, file, options) {
  const parts = Object.entries({ ...options, format: "npy" }).map(([name, value]) => `--form-string ${quoted(`${name}=${asText(value)}`)}`);
  const picture = file ? [`-F ${formFile(file)}`] : [];
  const token = tokens ? [`-H "Authorization: Bearer $TOKEN"`] : [];
  const route = `${url}/explanations/${encodeURIComponent(model.name)}/${encodeURIComponent(model.version)}`;
  const line = ["curl", ...token, ...picture, ...parts, "-o map.npy", quoted(route)].join(" ");
  return tokens ? `${READ_KEY}\n${line}` : line;
}

export function pythonLines({ url, tokens }, model, file, options) {
  const words = Object.entries(options).map(([name, value]) => `    ${name}=${pythonValue(value)},`);
  const key = tokens ? ', key_file="key_file.json"' : "";
  return [
    "from torchserve_saliency import Client",
    "",
    `explanation = Client(${pythonText(url)}${key}).explain(`,
    `    ${file ? pythonText(file) : "None"},`,
    `    model=${pythonText(model.name)},`,
    `    version=${pythonText(model.version)},`,
    ...words,
    ")",
    "saliency = explanation.array",
  ].join("\n");
}

function pythonValue(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "string" ? pythonText(value) : JSON.stringify(value);
}
