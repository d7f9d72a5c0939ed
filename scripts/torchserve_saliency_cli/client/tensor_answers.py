"""The tensors of an answer of the Open Inference Protocol as the JSON body of an explanation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS = {"index": "indices", "label": "labels", "probability": "probabilities", "logit": "logits"}
UNKNOWN = float("nan")


def body_of_tensors(answer: Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[NDArray[np.float32]]]:
    """Return the JSON body of an explanation, and its maps, for an answer of tensors about one picture.

    The tensors have the label and the scores of a target only if it is among the predictions.
    """
    tensors = {tensor["name"]: np.asarray(tensor["data"]).reshape(tensor["shape"])[0] for tensor in answer["outputs"]}
    rows = zip(*(tensors[name].tolist() for name in COLUMNS.values()), strict=True)
    predictions = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    parameters = dict(answer.get("parameters") or {})
    method, sanity = parameters.pop("method", ""), parameters.pop("sanity", None)
    by_index = {each["index"]: each for each in predictions}
    targets = [index for index in tensors["targets"].tolist() if index >= 0]
    against = tensors["against"].tolist() if "against" in tensors else [None] * len(targets)
    width, height, *crop = tensors["input"].tolist()
    entries = [
        {
            "target": _class(target, by_index),
            "against": None if rival is None else _class(rival, by_index),
            "method": method,
            "parameters": parameters,
            "quality": None,
            **({"sanity": sanity} if sanity else {}),
            **json.loads(findings),
        }
        for target, rival, findings in zip(targets, against, tensors["findings"].tolist(), strict=False)
    ]
    body = {
        "model": {"name": answer["model_name"], "version": answer.get("model_version", "")},
        "predictions": predictions,
        "explanations": entries,
        "input": {"width": int(width), "height": int(height), "crop": crop},
    }
    maps = tensors.get("saliency", np.zeros((len(entries), 0, 0)))
    return body, list(maps[: len(entries)].astype(np.float32))


def _class(index: int, by_index: Mapping[int, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the prediction of a class; if it is not among the predictions, its label is its index."""
    unknown = {"index": index, "label": str(index), "probability": UNKNOWN, "logit": UNKNOWN}
    return by_index.get(index, unknown)
