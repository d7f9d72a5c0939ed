"""What came over the wire to a `Query`: fields gathered, options read, the picture decoded."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from saliency.answers import check_answer
from saliency.errors import RequestError, bad_option
from saliency.image import Picture, decode
from saliency.methods import METHODS
from saliency.model import Classifier
from saliency.needs import lacking
from saliency.negotiation import accepted
from saliency.objective import Objective
from saliency.options import FORMATS, OPTIONS, Asked, Options, read_options
from saliency.schema import shown
from saliency.targets import RUNNER_UP, Class, find_class

DATA = ("data", "body")
PREDICTION_OPTIONS = frozenset({"explain", "top_k"})


@dataclass(frozen=True)
class Query:
    """One request, valid and decoded; without `objective` it asks for predictions alone."""

    picture: Picture
    options: Options
    parameters: object
    objective: Objective | None = None


@dataclass(frozen=True)
class Message:
    """One request as TorchServe hands it over: its fields, and what its route and headers say."""

    fields: Mapping[str, object]
    content_type: str = ""
    accept: str = ""
    path_options: str = ""
    explain: bool = False


def read_query(message: Message, classifier: Classifier) -> Query:
    """Return the query of a message, or raise the RequestError that its sender gets."""
    data, sent = _gather(message)
    asked = read_options(sent, classifier.defaults)
    _check_route(message, asked.options, sent)
    options = _shown_as(message, asked.options, sent)
    if not (message.explain or options.explain):
        return Query(_picture(data, classifier), options, asked.parameters)
    objective = _objective(options, classifier)
    parameters = _checked(replace(asked, options=options), classifier)
    picture = _picture(data, classifier)
    check_answer(picture, options, classifier)
    return Query(picture, options, parameters, objective)


def _picture(data: bytes, classifier: Classifier) -> Picture:
    return decode(data, classifier.input, classifier.limits.max_pixels)


def _check_route(message: Message, options: Options, sent: Mapping[str, object]) -> None:
    """Raise a 400 where an option would have no effect on the route."""
    if message.explain and "explain" in sent and not options.explain:
        raise bad_option("explain", "'explain' cannot be false on the explanations route")
    idle = [name for name in sent if name not in PREDICTION_OPTIONS]
    if idle and not (message.explain or options.explain):
        raise bad_option(idle[0], f"'{idle[0]}' has no effect on a prediction: add explain=true")


def _shown_as(message: Message, options: Options, sent: Mapping[str, object]) -> Options:
    """Return the options with the answer's format: the option, else what `Accept` prefers, else the default.

    A picture of nothing is a 400; of `format=png` and `render=none`, the one that is a mere default steps aside.
    """
    if not (message.explain or options.explain):
        return replace(options, format=accepted(message.accept, ("json",)))
    blind = options.render == "none"
    first = "json" if blind and "render" in sent and options.format == "png" else options.format
    offers = (first, *(name for name in FORMATS if name != first))
    chosen = options.format if "format" in sent else accepted(message.accept, offers)
    if chosen == "png" and blind:
        if "render" in sent:
            raise bad_option("render", "'format' png is a picture, and 'render' none asks for none")
        return replace(options, format=chosen, render="heatmap")
    return replace(options, format=chosen)


def _objective(options: Options, classifier: Classifier) -> Objective:
    """Return the objective with every label found."""
    if len(options.target) > classifier.limits.max_targets:
        raise bad_option("target", f"'target' may name at most {classifier.limits.max_targets} classes")
    labels = classifier.labels
    targets: tuple[Class, ...] = tuple(
        find_class(t, labels, "target") if isinstance(t, str | int) else t for t in options.target
    )
    against = options.against
    if against is not None and str(against).lower() != RUNNER_UP:
        against = find_class(against, labels, "against")
    return Objective(targets, against, options.score)


def _checked(asked: Asked, classifier: Classifier) -> object:
    """Return the method's parameters, fitted to the input and the layer named, if this network can take the method."""
    if why := lacking(asked.options.method, classifier):
        raise RequestError(422, "MethodException", why, "method")
    parameters = METHODS[asked.options.method].fit(asked.parameters, classifier.input)
    if not hasattr(parameters, "layer"):
        return parameters
    layer = parameters.layer or classifier.layers.default
    if layer not in classifier.layers.names:
        raise _no_layer(str(layer), classifier)
    return replace(parameters, layer=layer)


def _no_layer(layer: str, classifier: Classifier) -> RequestError:
    """Return the 422 for a layer that does not exist or has no grid, with near matches."""
    exists = layer in dict(classifier.network.named_modules())
    why = "has no spatial extent" if exists else "does not exist"
    near = get_close_matches(layer, classifier.layers.names, n=3) or [str(classifier.layers.default)]
    return RequestError(422, "LayerException", f"layer {shown(layer)} {why}; near it: {', '.join(near)}", "layer")


def _gather(message: Message) -> tuple[bytes, dict[str, object]]:
    """Return the picture's bytes and the options, as sent."""
    fields = dict(message.fields)
    body = fields.get("body")
    if "body" in fields and len(fields) == 1 and not isinstance(body, bytes | bytearray | str):
        fields = _json_fields(body)
    elif len(fields) == 1 and "json" in message.content_type.lower():
        fields = _json_fields(_parsed(body))
    options = _path_options(message.path_options)
    named = [name for name in DATA if name in fields]
    for name, value in fields.items():
        if name in named:
            continue
        if name in options:
            raise bad_option(name, f"'{name}' is given twice, in the path and in the body")
        options[name] = _text(name, value)
    if len(named) != 1:
        raise bad_option("data", "both 'data' and 'body' are given" if named else "no 'data': no picture was sent")
    return _bytes(fields[named[0]]), options


def _json_fields(value: object) -> dict[str, object]:
    """Return the fields of a JSON body."""
    if not isinstance(value, dict):
        raise RequestError(400, "MalformedRequestException", "the JSON body must be an object with 'data'")
    return {str(name): field for name, field in value.items()}


def _parsed(body: object) -> object:
    """Return a body that calls itself JSON and was not parsed on the way here; it is malformed, or says why not."""
    try:
        text = bytes(body) if isinstance(body, bytes | bytearray) else str(body)
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(400, "MalformedRequestException", f"the body is not valid JSON{where}") from None


def _path_options(query: str) -> dict[str, object]:
    """Return the options written in the path as a query string, which TorchServe has decoded but for `+`."""
    options: dict[str, object] = {}
    for part in query.strip("?/").split("&") if query.strip("?/") else ():
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise RequestError(400, "BadOptionException", "options in the path must read name=value&name=value")
        if name in options or name in DATA:
            raise bad_option(name, f"'{name}' is given twice" if name in options else f"'{name}' cannot be in the path")
        options[name] = _text(name, value.replace("+", " "))
    return options


def _text(name: str, value: object) -> object:
    """Return an option as text or as JSON gave it; a list written in a form field is read as JSON."""
    if isinstance(value, bytes | bytearray):
        try:
            value = bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            raise bad_option(name, f"'{name}' is not UTF-8 text") from None
    if name in OPTIONS and isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise bad_option(name, f"'{name}' is not a valid JSON list") from None
    return value


def _bytes(data: object) -> bytes:
    """Return the picture's bytes from a raw field, base64 text, a data URL, or `{"b64": …}`."""
    if isinstance(data, dict) and set(data) == {"b64"}:
        data = data["b64"]
    if isinstance(data, bytes | bytearray):
        if not data:
            raise bad_option("data", "'data' is empty")
        return bytes(data)
    if not isinstance(data, str) or not data:
        raise bad_option("data", "'data' must be a picture, or base64 text of one, or {\"b64\": …}")
    text = data.partition(",")[2] if data.startswith("data:") else data
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise bad_option("data", "'data' is not valid base64") from None
