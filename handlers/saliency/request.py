"""A message to a `Query`: its options read and held against the network, its picture decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saliency.answers import check_answer
from saliency.errors import RequestError, bad_option
from saliency.image import Picture, decode, grey, prepare, preprocessed
from saliency.message import Message, gathered, picture_bytes
from saliency.methods import METHODS
from saliency.methods.base import Cost, Need, Shows
from saliency.methods.layers import names
from saliency.model import Classifier
from saliency.needs import lacking
from saliency.negotiation import accepted
from saliency.objective import Objective
from saliency.options import FORMATS, Options
from saliency.quality import quality_cost
from saliency.reading import Asked, read_options
from saliency.schema import shown
from saliency.spending import check_cost
from saliency.targets import RUNNER_UP, Class, Rank, find_class

PREDICTION_OPTIONS = frozenset({"explain", "top_k"})


@dataclass(frozen=True)
class Query:
    """One request, valid and decoded; without `objective` it asks for predictions alone."""

    picture: Picture
    options: Options
    parameters: object
    objective: Objective | None = None


def read_query(message: Message, classifier: Classifier) -> Query:
    """Return the query of a message, or raise the RequestError that its sender gets."""
    if message.pictures > 1:
        classifier = replace(classifier, limits=classifier.limits.shared(message.pictures))
    data, sent = gathered(message)
    asked = read_options(sent, classifier.defaults)
    _check_route(message, asked.options, sent)
    options = _shown_as(message, asked.options, sent)
    if not (message.explain or options.explain):
        return Query(_picture(data, classifier), options, asked.parameters)
    objective = _objective(options, classifier)
    parameters = _checked(replace(asked, options=options), classifier)
    method = METHODS[options.method]
    cost, targets = method.cost(parameters, classifier.input), len(objective.targets)
    cost += quality_cost(cost, targets) if options.quality else Cost(0)
    check_cost(options.method, cost, targets, classifier)
    picture = (
        _no_picture(data, options, parameters, classifier)
        if method.shows is Shows.INPUT
        else _picture(data, classifier)
    )
    check_answer(picture, options, classifier)
    return Query(picture, options, parameters, objective)


def _picture(data: object, classifier: Classifier) -> Picture:
    if isinstance(data, np.ndarray):
        return _from_array(data, classifier)
    return decode(picture_bytes(data), classifier.input, classifier.limits.max_pixels)


def _from_array(values: NDArray[np.generic], classifier: Classifier) -> Picture:
    """Return the picture of pixels uint8 [H, W, C], or of an input float32 [C, H, W] that is taken as it is."""
    if values.dtype == np.float32:
        return preprocessed(values.astype(np.float32, copy=False), classifier.input)
    return prepare(Image.fromarray(values[..., 0] if values.shape[2] == 1 else values), classifier.input)


def _no_picture(data: object, options: Options, parameters: object, classifier: Classifier) -> Picture:
    """Return the grey that a method without a picture begins with; a 400 for a picture, or for classes not named."""
    if isinstance(data, np.ndarray) or data:
        raise bad_option("data", f"'{options.method}' makes a picture and takes none")
    if getattr(parameters, "unit", None) is None and any(isinstance(target, Rank) for target in options.target):
        raise bad_option("target", f"'{options.method}' sees no picture that a class could be predicted of: name one")
    if str(options.against).lower() == RUNNER_UP:
        raise bad_option("against", f"'{options.method}' sees no picture that could have a runner-up: name a class")
    return grey(classifier.input)


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
    default = classifier.layers.default if Need.LAYER in METHODS[asked.options.method].needs else None
    layer = parameters.layer or default
    for name in names(layer) if layer else ():
        if name not in classifier.layers.names:
            raise _no_layer(name, classifier)
    return replace(parameters, layer=layer)


def _no_layer(layer: str, classifier: Classifier) -> RequestError:
    """Return the 422 for a layer that does not exist or has no grid, with near matches."""
    exists = layer in dict(classifier.network.named_modules())
    why = "has no spatial extent" if exists else "does not exist"
    near = get_close_matches(layer, classifier.layers.names, n=3) or [
        classifier.layers.default or "no layer of any name"
    ]
    return RequestError(422, "LayerException", f"layer {shown(layer)} {why}; near it: {', '.join(near)}", "layer")
