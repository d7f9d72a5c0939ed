"""From a message to a `Query`: its options checked against the network, its picture decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from torchserve_saliency.engine.objective import Class, Objective, Rank
from torchserve_saliency.errors import bad_option
from torchserve_saliency.images.preprocessing import Picture, grey
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Cost, Shows
from torchserve_saliency.model.classifier import Classifier
from torchserve_saliency.model.labels import Labels
from torchserve_saliency.quality.scores import quality_cost
from torchserve_saliency.requests.compatibility import fit_parameters
from torchserve_saliency.requests.limits import check_cost, check_map_size
from torchserve_saliency.requests.message import Message, read_picture, split_fields
from torchserve_saliency.requests.options import ANSWER_FORMATS, Options
from torchserve_saliency.requests.parsing import read_options
from torchserve_saliency.requests.target_options import RUNNER_UP, find_class
from torchserve_saliency.responses.negotiation import negotiate

PREDICTION_OPTIONS = frozenset({"explain", "top_k"})
# The combinations of `format` and `render` that contradict each other: a PNG is a picture, and render none asks for
# none. If one of the two is only a default, it is replaced by the value on the right.
CONTRADICTIONS: Mapping[tuple[str, str], tuple[str, str]] = MappingProxyType({("png", "none"): ("json", "heatmap")})


@dataclass(frozen=True)
class Query:
    """A valid request with its picture decoded; without an `objective`, it asks for predictions only."""

    picture: Picture
    options: Options
    parameters: object
    objective: Objective | None = None


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
    if not explain:
        negotiate(message.accept, ("json",))
        return Query(read_picture(data, spec, limits.max_pixels), replace(options, format="json"), parameters)

    options = _choose_format(message, options, sent)
    objective = _objective(options, classifier.labels, limits.max_targets)
    parameters = fit_parameters(options.method, parameters, classifier)
    method, targets = METHODS[options.method], len(objective.targets)
    cost = method.cost(parameters, spec)
    cost += quality_cost(cost, targets) if options.quality else Cost(0)
    check_cost(options.method, cost, targets, limits, classifier.time_per_pass)

    if method.shows is Shows.INPUT:
        _check_no_picture(data, options, parameters)
        picture = grey(spec)
    else:
        picture = read_picture(data, spec, limits.max_pixels)
    check_map_size(options, picture, spec, limits)
    return Query(picture, options, parameters, objective)


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


def _objective(options: Options, labels: Labels, max_targets: int) -> Objective:
    """Return the objective, with the labels resolved to class indices."""
    if len(options.target) > max_targets:
        raise bad_option("target", f"'target' may name at most {max_targets} classes")
    targets: tuple[Class, ...] = tuple(
        find_class(t, labels, "target") if isinstance(t, str | int) else t for t in options.target
    )
    against = options.against
    if against is not None and str(against).lower() != RUNNER_UP:
        against = find_class(against, labels, "against")
    return Objective(targets, against, options.score)


def _check_no_picture(data: object, options: Options, parameters: object) -> None:
    """Raise RequestError 400 if a method that makes its own picture gets one, or classes that depend on one."""
    if isinstance(data, np.ndarray) or data:
        raise bad_option("data", f"'{options.method}' makes a picture and takes none")
    if getattr(parameters, "unit", None) is None and any(isinstance(target, Rank) for target in options.target):
        raise bad_option("target", f"'{options.method}' has no picture to predict a class from: name a class")
    if str(options.against).lower() == RUNNER_UP:
        raise bad_option("against", f"'{options.method}' has no picture to predict a runner-up from: name a class")
