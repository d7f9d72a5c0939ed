"""Answers that were wrong although their status was 200: the meaning of the outputs (rows A1, A2, A3)."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from tools.cases import map_answers
from tools.cases.case import Case, check
from tools.cases.inputs import check_refused
from tools.cases.own_outputs import DATA, PICTURE, Form, Own, check_close, check_scores, reference
from tools.cases.workshop import Workshop
from torchserve_saliency.errors import ModelError

FINDINGS = tuple(f"finding {number}" for number in range(14))
SATURATED = 18.42  # the logit of a probability of 1 - 1e-8


def multi_label(workshop: Workshop) -> str:
    """A1: each probability is the sigmoid of its logit, in every protocol, and a threshold chooses the classes."""
    own = Form(classes=14).served(workshop, "--activation", "sigmoid", labels=FINDINGS)
    check_scores(own, "sigmoid")
    right = own.gradient("logit", "sigmoid", 0)[0]
    for threshold in (0, 0.3, 0.5, right[5] - 1e-6, 1):
        asked = own.explain(target=f"above{threshold:.17g}", reduce="sum")["explanations"]
        above = [index for index in np.argsort(-right) if right[index] >= threshold]
        check([each["target"]["index"] for each in asked] == above, f"above {threshold}: {len(asked)} classes")
    check_protocols(own, right)
    check_refused(own.handler.ask({"data": DATA, "target": "above1", "format": "png"}), 422, "no class reaches")
    check(own.maps(target="above1").shape == (0, 32, 32), "npy of no class")
    return f"sigmoid: {right[0]:.3f} and {right[1]:.3f}; above0.5 is {(right >= 0.5).sum()} of 14 classes"


def check_protocols(own: Own, right: np.ndarray[Any, Any]) -> None:
    """Raise AssertionError if /predictions or a protocol of KServe has other probabilities than the right ones."""
    text = base64.b64encode(DATA).decode()
    plain = own.handler.ask({"data": DATA, "top_k": 14}, explain=False).body
    instances = {"instances": [{"data": text, "top_k": 14, "target": "above0.5"}]}
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": [text]}
    inputs = {"inputs": [tensor], "parameters": {"top_k": 14, "target": "above0.5", "render": "none"}}
    first = own.handler.ask({"body": instances}).body["explanations"][0]
    second = {each["name"]: each["data"] for each in own.handler.ask({"body": inputs}).body["outputs"]}
    labels = own.handler.describe()["label_names"]
    given = (
        [plain[label] for label in labels],
        [each["probability"] for each in sorted(first["predictions"], key=lambda each: each["index"])],
        [probability for _, probability in sorted(zip(second["indices"], second["probabilities"], strict=True))],
    )
    for name, values in zip(("/predictions", "KServe v1", "KServe v2"), given, strict=True):
        check(float(np.abs(np.array(values) - right).max()) <= 1e-6, f"{name}: {values}")
    above = [each["target"]["index"] for each in first["explanations"]]
    check(second["targets"] == above == [i for i in np.argsort(-right) if right[i] >= 0.5], "targets of KServe")


def one_logit(workshop: Workshop) -> str:
    """A2: a single logit has two classes that oppose each other, with no labels, one or two, in any shape."""
    own = Form(classes=1).served(workshop, labels=("scab",))
    check_scores(own, "sigmoid")
    (negative, positive) = own.maps(target="not scab;scab", reduce="sum")
    check_close("not scab", -negative, positive, 1e-6)
    check_protocols(own, own.gradient("logit", "sigmoid", 1)[0])
    quality = own.explain(target="scab", quality=True)["explanations"][0]["quality"]
    check(0 <= quality["deletion_mean"]["value"] <= 1, f"quality: {quality['deletion_mean']}")
    refused = Form(classes=1).archive(workshop, labels=("a", "b", "c"))
    check(refused.status == 2 and "3 labels for 2 classes" in refused.output, refused.output[-300:])
    p = own.probabilities()[1]
    for output in ("logits", "logits[:, 0]", "logits[:, :, None, None]", "logits.squeeze()"):
        for labels in (None, ("scab",), ("healthy", "scab")):
            names = {None: ("negative", "positive"), 1: ("not scab", "scab")}.get(labels and len(labels), labels)
            made = Form(output, classes=1).explainer(workshop.folder, labels)
            check(made.classifier.labels.names == names, f"{output} {labels}: {made.classifier.labels.names}")
            found = {each.index: each.probability for each in made.explain(PICTURE).predictions}
            check(abs(found[1] - p) <= 1e-6 and abs(found[0] + found[1] - 1) < 1e-12, f"{output} {labels}: {found}")
    return f"scab {p:.3f}, not scab {1 - p:.3f}; {check_saturated(workshop)}"


def check_saturated(workshop: Workshop) -> str:
    """Raise AssertionError if the map of a probability of 1 - 1e-8 or 1e-8 is not that of the logit times the slope."""
    made = Form(f"logits * 0.01 + {SATURATED}", classes=1).explainer(workshop.folder)
    for target in (0, 1):
        plain = made.explain(PICTURE, target=target, reduce="sum")
        z = plain.maps[0].target.logit
        p, q = 1 / (1 + math.exp(-z)), 1 / (1 + math.exp(z))
        for score, slope in (("probability", p * q), ("log_probability", q)):
            found = made.explain(PICTURE, target=target, reduce="sum", score=score).maps[0].saliency
            check_close(f"{score} of {p:.3g}", found, plain.maps[0].saliency * np.float32(slope), 1e-2)
    return f"maps of probabilities {p:.9f} and {q:.2g} are right"


def probabilities_already(workshop: Workshop) -> str:
    """A3: a network that ends in softmax or sigmoid is refused with the flag that fits, and then has its own values."""
    softmax = Form("logits.softmax(1)")
    refused = softmax.archive(workshop)
    check(refused.status == 1 and "--activation none" in refused.output, refused.output[-300:])
    own = softmax.served(workshop, "--activation", "none")
    check_scores(own, "none")
    logit, probability = (own.maps(target=2, reduce="none", score=score) for score in ("logit", "probability"))
    check(np.array_equal(logit, probability), "score=logit and score=probability of the output itself differ")
    for output, classes in (("logits.sigmoid()", 4), ("logits.sigmoid()", 1), ("logits[:, 0].sigmoid()", 1)):
        check_probabilities(workshop, Form(output, classes), "sigmoid")
    check_probabilities(workshop, Form("functional.log_softmax(logits, 1).exp()"), "softmax")
    for output, flag in (("functional.log_softmax(logits, 1)", "softmax"), ("functional.logsigmoid(logits)", "logits")):
        check(flag in refusal(workshop, Form(output), "sigmoid"), f"{output}: no word of {flag}")
    check_saturated_end(workshop)
    p = own.probabilities()
    return f"refused, naming --activation none; with it {p.max():.3f} stays {p.max():.3f}"


def check_saturated_end(workshop: Workshop) -> None:
    """Raise AssertionError if the maps of a network's own softmax or sigmoid near 1 or 0 are not right to 1 %."""
    for end in ("softmax(1)", "sigmoid()"):
        form = Form(f"(logits * 0.01 + {SATURATED} * torch.eye(4)[0]).{end}")
        made, network = form.explainer(workshop.folder, activation="none"), form.bare(workshop.folder)
        for target in (0, 1):
            for score in ("probability", "log_probability"):
                right = reference(network, score, "none", target)[1]
                found = made.explain(PICTURE, target=target, score=score, reduce="none").maps[0].saliency
                check_close(f"{score} of class {target} with {end}", found, right, 1e-2)


def check_probabilities(workshop: Workshop, form: Form, end: str) -> None:
    """Raise AssertionError unless a network that puts out probabilities is refused, and right with activation none."""
    for activation in (None, end):
        message = refusal(workshop, form, activation)
        check("--activation none" in message, f"{form.output} as {activation}: {message}")
    found = form.explainer(workshop.folder, activation="none").explain(PICTURE, top_k=9).predictions
    plain = Form(classes=form.classes).explainer(workshop.folder, activation=end).explain(PICTURE, top_k=9).predictions
    worst = max(abs(one.probability - other.probability) for one, other in zip(found, plain, strict=True))
    check(worst < 1e-6, f"{form.output}: a probability differs by {worst:.2g}")


def refusal(workshop: Workshop, form: Form, activation: str | None) -> str:
    """Return the message of the refusal of a network with an activation, or an empty text if it is accepted."""
    try:
        form.explainer(workshop.folder, activation=activation)
    except ModelError as error:
        return str(error)
    return ""


CASES: tuple[Case, ...] = (
    Case("A1", "multi-label network with 14 logits", multi_label),
    Case("A2", "one logit, with no, one or two labels", one_logit),
    Case("A3", "softmax or sigmoid as the last layer", probabilities_already),
    *map_answers.CASES,
)
