"""The answer of the Open Inference Protocol: JSON with tensors, or JSON followed by their binary data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.protocols.call import malformed
from torchserve_saliency.protocols.kserve_v2_binary import LENGTH
from torchserve_saliency.protocols.kserve_v2_tensors import check_length, output_tensors
from torchserve_saliency.responses.encoding import Response
from torchserve_saliency.responses.explanation import Explanation, Outcome


@dataclass(frozen=True)
class RequestedOutputs:
    """The tensors that a client requests, by name (all if empty), and those that it requests as binary data."""

    names: tuple[str, ...] = ()
    binary: tuple[str, ...] = ()


def encode_tensors(
    outcomes: Sequence[Outcome], classifier: Classifier, identity: str | None, requested: RequestedOutputs
) -> Response:
    """Return the answer of tensors.

    Raise RequestError 413 if it is too long, 400 if the maps differ in size or a requested output does not exist.
    """
    limit = classifier.limits.max_response_bytes
    explanations = [one for one in outcomes if isinstance(one, Explanation)]
    predictions = [one.predictions if isinstance(one, Explanation) else one for one in outcomes]
    head: dict[str, object] = {"model_name": classifier.name, "model_version": classifier.version}
    head |= {} if identity is None else {"id": identity}
    head |= {"parameters": _parameters(explanations[0])} if explanations else {}
    names: list[str] = []
    texts: list[str] = []
    data: list[bytes] = []
    for tensor in output_tensors(predictions, explanations, requested.names, limit):
        text, binary = tensor.binary() if tensor.name in requested.binary else tensor.json()
        names.append(tensor.name)
        texts.append(text)
        data.append(binary)
        check_length(sum(map(len, (*texts, *data))), limit)
    _check_requested(requested, names)
    text = f'{json.dumps(head, allow_nan=False, separators=(",", ":"))[:-1]},"outputs":[{",".join(texts)}]}}'
    return _response(text.encode("ascii"), b"".join(data), limit)


def _response(text: bytes, data: bytes, limit: int) -> Response:
    """Return JSON, followed by binary data if there are any."""
    check_length(len(text) + len(data), limit)
    if not data:
        return Response(text, "application/json")
    return Response(text + data, "application/octet-stream", headers={LENGTH: str(len(text))})


def _parameters(explanation: Explanation) -> dict[str, object]:
    """Return the method, all parameters that were used, and the warning of the sanity test if there is one."""
    used: dict[str, object] = {"method": explanation.method, **explanation.parameters}
    return used | ({"sanity": explanation.sanity} if explanation.sanity else {})


def _check_requested(requested: RequestedOutputs, made: Sequence[str]) -> None:
    """Raise RequestError 400 for a requested output that the answer to this request does not have."""
    if missing := [name for name in requested.names if name not in made]:
        message = f"this request has no output '{missing[0]}': it needs an explanation, 'render' or 'against'"
        raise malformed(message, "outputs")
