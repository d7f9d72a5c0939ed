"""The Open Inference Protocol (KServe v2): a tensor of pictures, answered with tensors of predictions and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.protocols.call import Call, Result, check_names, is_json, malformed, share_limits
from torchserve_saliency.protocols.kserve_v2_inputs import read_pictures
from torchserve_saliency.protocols.kserve_v2_outputs import RequestedOutputs, encode_tensors
from torchserve_saliency.protocols.kserve_v2_tensors import OUTPUTS
from torchserve_saliency.requests.message import DATA, Message
from torchserve_saliency.responses.encoding import Response, error_response
from torchserve_saliency.responses.explanation import Outcome
from torchserve_saliency.responses.negotiation import negotiate
from torchserve_saliency.schema import shown

FIELD = "inputs"
BINARY, ALL_BINARY = "binary_data", "binary_data_output"


def read(body: Mapping[str, object], message: Message, classifier: Classifier) -> Call:
    """Return the call of a body; raise RequestError 400 if it violates the protocol, 406 if no format is accepted."""
    check_names(body, (FIELD, "parameters", "outputs", "id", "model_name", "model_version"), "the body")
    _check_model(body, classifier)
    tensor = _tensor(body[FIELD])
    identity = body.get("id")
    if not isinstance(identity, str | None):
        raise malformed("'id' must be text", "id")
    options = _parameters(body.get("parameters")) | _parameters(tensor.get("parameters"))
    outputs = _requested_outputs(body.get("outputs"), options.pop(ALL_BINARY, None))
    negotiate(message.accept, ("binary",) if outputs.binary else ("json",))
    if not is_json(options.get("format", "json")):
        raise bad_option("format", "the answer is made of tensors: 'format' must be json")
    data = read_pictures(tensor, classifier)
    each = Message({}, accept="application/json", explain=message.explain)
    messages = [replace(each, fields={"data": one, **options}) for one in data]
    return Call(share_limits(messages), partial(_answer, identity=identity, outputs=outputs))


def _check_model(body: Mapping[str, object], classifier: Classifier) -> None:
    """Raise RequestError 400 for a body that names a model other than that of its route."""
    for field, own in (("model_name", classifier.name), ("model_version", classifier.version)):
        if body.get(field) not in (None, own):
            raise malformed(f"'{field}' is {shown(body[field])}, and this is {shown(own)}", field)


def _tensor(inputs: object) -> Mapping[str, object]:
    """Return the only input tensor."""
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise malformed(f"'{FIELD}' must be a list of one tensor, with the pictures along its first axis", FIELD)
    check_names(inputs[0], ("name", "shape", "datatype", "data", "parameters"), "a tensor")
    return inputs[0]


def _parameters(value: object) -> dict[str, object]:
    """Return the object `parameters` as options."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise malformed("'parameters' must be an object of options", "parameters")
    if named := sorted(set(value) & set(DATA)):
        raise bad_option(named[0], f"'{named[0]}' is not a parameter: pictures belong in '{FIELD}'")
    return dict(value)


def _requested_outputs(outputs: object, all_binary: object) -> RequestedOutputs:
    """Return the outputs that a body requests, and those that it requests as binary data."""
    every = _boolean(all_binary, ALL_BINARY)
    if outputs is None or outputs == []:
        return RequestedOutputs((), OUTPUTS if every else ())
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise malformed("'outputs' must be a list of objects with 'name'", "outputs")
    binary = {_output_name(output): {BINARY: every, **_parameters(output.get("parameters"))} for output in outputs}
    names = tuple(name for name, parameters in binary.items() if _boolean(parameters.get(BINARY), BINARY))
    return RequestedOutputs(tuple(binary), names)


def _output_name(output: Mapping[str, object]) -> str:
    """Return the name of a requested output; raise RequestError 400 for an unknown name."""
    check_names(output, ("name", "parameters"), "an output")
    check_names(_parameters(output.get("parameters")), (BINARY,), "an output's 'parameters'")
    name = output.get("name")
    if name not in OUTPUTS:
        raise malformed(f"there is no output {shown(name)}; there are {', '.join(OUTPUTS)}", "outputs")
    return str(name)


def _boolean(value: object, name: str) -> bool:
    """Return an optional boolean, False if it is None; raise RequestError 400 for any other type."""
    if not isinstance(value, bool | None):
        raise malformed(f"'{name}' must be true or false", name)
    return bool(value)


def _answer(
    results: Sequence[Result], classifier: Classifier, identity: str | None, outputs: RequestedOutputs
) -> Response:
    """Return the tensors of all pictures; if any picture failed, return the first error, as tensors have no gaps."""
    outcomes: list[Outcome] = []
    for index, result in enumerate(results):
        if isinstance(result, RequestError):
            return error_response(_picture_error(result, index, len(results)))
        outcomes.append(result)
    return encode_tensors(outcomes, classifier, identity, outputs)


def _picture_error(error: RequestError, index: int, count: int) -> RequestError:
    """Return the error of a picture, with the position of the picture if there are several."""
    message = f"picture {index} of {count}: {error.message}" if count > 1 else error.message
    return RequestError(error.status, error.kind, message, error.option)
