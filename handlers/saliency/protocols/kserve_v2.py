"""The Open Inference Protocol (KServe v2): one tensor of pictures in, tensors of predictions and saliency out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from saliency.errors import RequestError, bad_option
from saliency.jobs import Outcome
from saliency.message import DATA, Message
from saliency.model import Classifier
from saliency.negotiation import accepted
from saliency.protocols.base import Call, Found, check_names, is_json, malformed, sharing
from saliency.protocols.outputs import OUTPUTS, Wanted, answered
from saliency.protocols.tensors import pictures
from saliency.response import Response, error_response
from saliency.schema import shown

FIELD = "inputs"
BINARY, ALL_BINARY = "binary_data", "binary_data_output"


def read(body: Mapping[str, object], message: Message, classifier: Classifier) -> Call:
    """Return the call of a body; RequestError where it is not what the protocol says."""
    check_names(body, (FIELD, "parameters", "outputs", "id", "model_name", "model_version"), "the body")
    _check_model(body, classifier)
    tensor = _tensor(body[FIELD])
    identity = body.get("id")
    if not isinstance(identity, str | None):
        raise malformed("'id' must be text", "id")
    options = _parameters(body.get("parameters")) | _parameters(tensor.get("parameters"))
    wanted = _wanted(body.get("outputs"), options.pop(ALL_BINARY, None))
    accepted(message.accept, ("binary",) if wanted.binary else ("json",))
    if not is_json(options.get("format", "json")):
        raise bad_option("format", "the answer is made of tensors: 'format' must be json")
    data = pictures(tensor, classifier)
    each = Message({}, accept="application/json", explain=message.explain)
    messages = [replace(each, fields={"data": one, **options}) for one in data]
    return Call(sharing(messages), partial(_answer, identity=identity, wanted=wanted))


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
    if named := sorted(set(value) & set(DATA)):
        raise bad_option(named[0], f"'{named[0]}' is no parameter: pictures stand in '{FIELD}'")
    return dict(value)


def _wanted(outputs: object, all_binary: object) -> Wanted:
    """Return the outputs that are wanted, and those of them that are to be binary data."""
    every = _truth(all_binary, ALL_BINARY)
    if outputs is None or outputs == []:
        return Wanted((), OUTPUTS if every else ())
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise malformed("'outputs' must be a list of objects with 'name'", "outputs")
    binary = {_output(output): {BINARY: every, **_parameters(output.get("parameters"))} for output in outputs}
    return Wanted(tuple(binary), tuple(name for name, said in binary.items() if _truth(said.get(BINARY), BINARY)))


def _output(output: Mapping[str, object]) -> str:
    """Return the name of an output that there is."""
    check_names(output, ("name", "parameters"), "an output")
    check_names(_parameters(output.get("parameters")), (BINARY,), "an output's 'parameters'")
    name = output.get("name")
    if name not in OUTPUTS:
        raise malformed(f"there is no output {shown(name)}; there are {', '.join(OUTPUTS)}", "outputs")
    return str(name)


def _truth(value: object, name: str) -> bool:
    if not isinstance(value, bool | None):
        raise malformed(f"'{name}' must be true or false", name)
    return bool(value)


def _answer(found: Sequence[Found], classifier: Classifier, identity: str | None, wanted: Wanted) -> Response:
    """Return the tensors of all pictures; the first picture that failed fails the request, as tensors have no gaps."""
    good: list[Outcome] = []
    for index, outcome in enumerate(found):
        if isinstance(outcome, RequestError):
            return error_response(_of_picture(outcome, index, len(found)))
        good.append(outcome)
    return answered(good, classifier, identity, wanted)


def _of_picture(error: RequestError, index: int, count: int) -> RequestError:
    """Return a picture's error, which says which of several it was."""
    said = f"picture {index} of {count}: {error.message}" if count > 1 else error.message
    return RequestError(error.status, error.kind, said, error.option)
