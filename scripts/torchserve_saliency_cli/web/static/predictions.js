// The predictions as bars; a click on a class explains it.

import { element } from "./dom.js";
import { shortNumber } from "./saliency.js";

const READINGS = {
  sigmoid: "Each class is true or not, by itself; the probabilities need not add up to 100 %.",
  none: "The outputs of the network, as they are; they are no probabilities.",
};

export function readingOf(activation) {
  return READINGS[activation] ?? "";
}

export function probabilityText(probability, activation = "softmax") {
  if (activation === "none") return shortNumber(probability);
  const percent = 100 * probability;
  if (percent > 0 && percent < 0.05) return "<0.1 %";
  return percent < 100 && percent >= 99.95 ? ">99.9 %" : `${percent.toFixed(1)} %`;
}

export function showPredictions(list, predictions, activation, choose) {
  const largest = Math.max(...predictions.map(({ probability }) => Math.abs(probability)), 1e-30);
  list.classList.toggle("few", predictions.length <= 5);
  list.replaceChildren(...predictions.map((prediction) => {
    const share = activation === "none" ? Math.abs(prediction.probability) / largest : prediction.probability;
    const bar = element("span", { className: "bar" }, element("span", { className: "filled" }));
    bar.firstChild.style.width = `${100 * share}%`;
    const sure = activation === "sigmoid" && prediction.probability >= 0.5;
    return element("li", { className: sure ? "true" : "" },
      element("button", { type: "button", title: "Explain this class", onclick: () => choose(prediction) }, prediction.label),
      bar, element("span", { className: "number" }, probabilityText(prediction.probability, activation)));
  }));
}
