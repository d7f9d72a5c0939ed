"""From a message to a `Query`: its options checked against the network, its picture decoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from torchserve_saliency.engine.objective import Above, Class, Objective, Rank
from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.images.preprocessing import Picture, grey
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Cost, Shows
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.model.heads import Head, Heads
from torchserve_saliency.quality.scores import quality_cost
from torchserve_saliency.requests.class_lookup import find_class
from torchserve_saliency.requests.compatibility import fit_parameters
from torchserve_saliency.requests.limits import check_cost, check_map_size
from torchserve_saliency.requests.message import Message, read_picture, split_fields
from torchserve_saliency.requests.options import ANSWER_FORMATS, PICTURE_FORMATS, Options
from torchserve_saliency.requests.parsing import read_options
from torchserve_saliency.requests.target_options import RUNNER_UP
from torchserve_saliency.responses.negotiation import negotiate

PREDICTION_OPTIONS = frozenset({"explain", "head", "top_k"})
# The combinations of `format` and `render` that contradict each other: a PNG is a picture, and render none asks for
# none. If one of the two is only a default, it is replaced by the value on the right.
CONTRADICTIONS: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType(
    {(name, "none"): ("json", "heatmap") for name in PICTURE_FORMATS}
)


@dataclass(frozen=True)
class Query:
    """A valid request with its picture decoded; without an `objective`, it asks for predictions only.

    The classes are those of `head`. If their number depends on the picture (`target=above0.5`), `check_targets` is
    called with it, and raises RequestError if so many targets exceed a limit. `max_seconds` is the processor time that
    the explanation may use.
    """

    picture: Picture
    options: Options
    parameters: object
    head: Head
    objective: Objective | None = None
    check_targets: Callable[[int], None] = lambda targets: None
    max_seconds: float = math.inf


def read_query(message: Message, classifier: Classifier) -> Query:
    """Return the query of a message, or raise the RequestError that is sent to the client.

    All checks that need no picture come first, so that an invalid request does not cost the decoding.
    """
    data, sent = split_fields(message)
    options, parameters = read_options(sent, classifier.defaults)
    limits, spec = classifier.limits, classifier.input
    if message.pictures > 1:
        limits = limits.per_picture(message.pictures)
    explain = message.explain or options.explain
    _check_route(explain, options, sent)
    heads = classifier.heads
    head = heads.default if options.head is None else heads.find(options.head)
    if not explain:
        negotiate(message.accept, ("json",))
        return Query(read_picture(data, spec, limits.max_pixels), replace(options, format="json"), parameters, head)

    options = _choose_format(message, options, sent)
    objective = _objective(options, head, classifier.heads, limits.max_targets)
    parameters = fit_parameters(options.method, parameters, classifier)
    method, targets = METHODS[options.method], len(objective.targets)

    def check_passes(targets: int) -> None:
        cost = method.cost(parameters, spec) + (Cost(1) if objective.above else Cost(0))
        cost += quality_cost(cost, targets) if options.quality else Cost(0)
        check_cost(options.method, cost, targets, limits)

    check_passes(targets)

    if method.shows is Shows.INPUT:
        _check_no_picture(data, options, parameters)
        picture = grey(spec)
    else:
        picture = read_picture(data, spec, limits.max_pixels)
    check_map_size(options, targets, picture, spec, limits)

    def check_targets(targets: int) -> None:
        check_passes(targets)
        check_map_size(options, targets, picture, spec, limits)

    return Query(picture, options, parameters, head, objective, check_targets, limits.max_seconds)


def _check_route(explain: bool, options: Options, sent: Mapping[str, object]) -> None:
    """Raise RequestError 400 for an option that contradicts the route or has no effect on its answer."""
    if explain and "explain" in sent and not options.explain:
        raise bad_option("explain", "'explain' cannot be false on the explanations route")
    for name in sent:
        if not explain and name not in PREDICTION_OPTIONS:
            raise bad_option(name, f"'{name}' has no effect on a prediction: add explain=true")


def _choose_format(message: Message, options: Options, sent: Mapping[str, object]) -> Options:
    """Return the options with the answer's format: that of the option, else of the `Accept` header, else the default.

    Raise RequestError 400 if the format contradicts an option `render` that was sent, 406 if no format is accepted.
    """
    chosen = options.format
    if "format" not in sent:
        other_format, _ = CONTRADICTIONS.get((chosen, options.render), (chosen, ""))
        first = other_format if "render" in sent else chosen
        chosen = negotiate(message.accept, (first, *(name for name in ANSWER_FORMATS if name != first)))
    if (chosen, options.render) not in CONTRADICTIONS:
        return replace(options, format=chosen)
    if "render" in sent:
        raise bad_option("render", f"'format' {chosen} is a picture, and 'render' {options.render} asks for none")
    _, other_render = CONTRADICTIONS[chosen, options.render]
    return replace(options, format=chosen, render=other_render)


def _objective(options: Options, head: Head, heads: Heads, max_targets: int) -> Objective:
    """Return the objective, with the labels resolved to class indices of the head, which is one of `heads`."""
    if len(options.target) > max_targets:
        raise bad_option("target", f"'target' may name at most {max_targets} classes")
    targets: tuple[Class, ...] = tuple(
        _find_class(t, head, heads, "target") if isinstance(t, str | int) else t for t in options.target
    )
    if isinstance(targets[0], Above):
        targets = (replace(targets[0], most=max_targets),)
    against = options.against
    if against is not None and str(against).lower() != RUNNER_UP:
        against = _find_class(against, head, heads, "against")
    return Objective(targets, against, options.score, columns=head.columns)


def _find_class(name: str | int, head: Head, heads: Heads, option: str) -> int:
    """Return the index of a class of a head; if there is none, the error names another head that has the class."""
    try:
        return find_class(name, head.labels, option)
    except RequestError as error:
        known = {each.name: {label.lower() for label in each.labels.names} for each in heads}
        others = [other for other, labels in known.items() if str(name).lower() in labels]
        if not others or error.kind != "UnknownLabelException":
            raise
        message = f"{error.message.split(';')[0]} in head '{head.name}'; ask for head={others[0]}, which has that class"
        raise RequestError(error.status, error.kind, message, error.option) from error


def _check_no_picture(data: object, options: Options, parameters: object) -> None:
    """Raise RequestError 400 if a method that makes its own picture gets one, or classes that depend on one."""
    if isinstance(data, np.ndarray) or data:
        raise bad_option("data", f"'{options.method}' makes a picture and takes none")
    if getattr(parameters, "unit", None) is None and any(isinstance(target, Rank) for target in options.target):
        raise bad_option("target", f"'{options.method}' has no picture to predict a class from: name a class")
    if str(options.against).lower() == RUNNER_UP:
        raise bad_option("against", f"'{options.method}' has no picture to predict a runner-up from: name a class")
