"""The Open Inference Protocol (KServe v2): one tensor of pictures in, tensors of predictions and saliency out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from saliency.errors import RequestError, bad_option
from saliency.message import DATA, Message
from saliency.model import Classifier
from saliency.negotiation import accepted
from saliency.protocols.base import Call, Found, check_names, malformed
from saliency.protocols.outputs import OUTPUTS, Answered, answered
from saliency.protocols.tensors import pictures
from saliency.response import Response, error_response
from saliency.schema import shown

FIELD = "inputs"
BINARY = ("binary_data", "binary_data_size", "binary_data_output")


def read(body: Mapping[str, object], message: Message, classifier: Classifier) -> Call:
    """Return the call of a body; RequestError where it is not what the protocol says."""
    accepted(message.accept, ("json",))
    check_names(body, (FIELD, "parameters", "outputs", "id", "model_name", "model_version"), "the body")
    _check_model(body, classifier)
    tensor, asked = _tensor(body[FIELD]), _asked(body.get("outputs"))
    identity = body.get("id")
    if not isinstance(identity, str | None):
        raise malformed("'id' must be text", "id")
    options = _parameters(body.get("parameters")) | _parameters(tensor.get("parameters"))
    if options.get("format", "json") != "json":
        raise bad_option("format", "the answer is made of tensors: 'format' must be json")
    data = pictures(tensor, classifier)
    each = Message({}, accept="application/json", explain=message.explain)
    messages = tuple(replace(each, fields={"data": one, **options}) for one in data)
    return Call(messages, partial(_answer, identity=identity, asked=asked))


def _check_model(body: Mapping[str, object], classifier: Classifier) -> None:
    """Raise a 400 where the body names another model than its route."""
    for field, own in (("model_name", classifier.name), ("model_version", classifier.version)):
        if body.get(field) not in (None, own):
            raise malformed(f"'{field}' is {shown(body[field])}, and this is {shown(own)}", field)


def _tensor(inputs: object) -> Mapping[str, object]:
    """Return the input tensor."""
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise malformed(f"'{FIELD}' must be a list of one tensor, with the pictures along its first axis", FIELD)
    check_names(inputs[0], ("name", "shape", "datatype", "data", "parameters"), "a tensor")
    return inputs[0]


def _parameters(value: object) -> dict[str, object]:
    """Return parameters as options."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise malformed("'parameters' must be an object of options", "parameters")
    if binary := sorted(set(value) & set(BINARY)):
        raise malformed("tensors travel as JSON here: send and ask for 'data', not for binary data", binary[0])
    if named := sorted(set(value) & set(DATA)):
        raise bad_option(named[0], f"'{named[0]}' is no parameter: pictures stand in '{FIELD}'")
    return value


def _asked(outputs: object) -> tuple[str, ...]:
    """Return the names of the outputs that are wanted, none for all."""
    if outputs is None:
        return ()
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise malformed("'outputs' must be a list of objects with 'name'", "outputs")
    for output in outputs:
        check_names(output, ("name", "parameters"), "an output")
        _parameters(output.get("parameters"))
        if output.get("name") not in OUTPUTS:
            known = ", ".join(OUTPUTS)
            raise malformed(f"there is no output {shown(output.get('name'))}; there are {known}", "outputs")
    return tuple(str(output["name"]) for output in outputs)


def _answer(found: Sequence[Found], classifier: Classifier, identity: str | None, asked: tuple[str, ...]) -> Response:
    """Return the tensors of all pictures; the first picture that failed fails the request, as tensors have no gaps."""
    good: list[Answered] = []
    for index, outcome in enumerate(found):
        if isinstance(outcome, RequestError):
            return error_response(_of_picture(outcome, index, len(found)))
        good.append(outcome)
    return answered(good, classifier, identity, asked)


def _of_picture(error: RequestError, index: int, count: int) -> RequestError:
    """Return a picture's error, which says which of several it was."""
    said = f"picture {index} of {count}: {error.message}" if count > 1 else error.message
    return RequestError(error.status, error.kind, said, error.option)
