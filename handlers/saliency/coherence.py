"""Whether the options of a request go together, and with its method: defaults give way, what was sent is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from saliency.errors import bad_option
from saliency.methods import METHODS
from saliency.methods.base import Method, Shows
from saliency.options import Options
from saliency.reduce import SIGNED

# what some methods take of the options that others take more of, the default first
_Taken = Mapping[str, tuple[str | bool | None, ...]]
_NO_SALIENCY: _Taken = MappingProxyType(
    {
        "reduce": ("none",),
        "space": ("input",),
        "render": ("heatmap", "none"),
        "quality": (False,),
    }
)
_NO_MAP: _Taken = MappingProxyType({"polarity": ("both",)})
_NO_CLASS: _Taken = MappingProxyType({"score": ("logit",), "against": (None,)})


def coherent(options: Options, sent: Mapping[str, object]) -> Options:
    """Return the options if they go together and with the method; defaults give way to what was sent, and to these."""
    options = _narrowed(options, sent)
    if options.polarity != "both" and options.reduce not in SIGNED:
        if "polarity" in sent:
            raise bad_option("polarity", f"'polarity' needs a signed map: 'reduce' {' or '.join(SIGNED)}")
        options = _with(options, polarity="both")
    if options.floor >= options.clip:
        options = _spanning(options, sent)
    return options


def _narrowed(options: Options, sent: Mapping[str, object]) -> Options:
    """Return the options of a method that takes less of them than others; a default that it does not take gives way."""
    method = METHODS[options.method]
    for taken, why in _narrow(method):
        for name, values in taken.items():
            if getattr(options, name) in values:
                continue
            if name in sent:
                said = " or ".join(str(value).lower() for value in values)
                raise bad_option(name, f"'{options.method}' {why}: '{name}' must be {said}")
            options = _with(options, **{name: values[0]})
    if method.shows is not Shows.SALIENCY and len(options.target) > 1:
        if "target" in sent:
            raise bad_option("target", f"'{options.method}' makes one picture a request: 'target' may name one")
        options = _with(options, target=options.target[:1])
    return options


def _narrow(method: Method) -> Iterator[tuple[_Taken, str]]:
    """Yield what a method takes less of, and why."""
    if method.shows is not Shows.SALIENCY:
        yield _NO_SALIENCY, "makes no saliency"
    if method.shows is Shows.INPUT:
        yield _NO_MAP, "makes a picture"
    if method.class_blind:
        yield _NO_CLASS, "is the same for every class"


def _spanning(options: Options, sent: Mapping[str, object]) -> Options:
    """Return the options with the percentile that was not sent moved out of the way of the one that was."""
    if "floor" not in sent and options.clip > 0:
        return _with(options, floor=0.0)
    if "clip" not in sent and options.floor < 100:
        return _with(options, clip=100.0)
    raise bad_option("floor" if "floor" in sent else "clip", "'floor' must be below 'clip'")


def _with(options: Options, **changes: object) -> Options:
    return Options(**{**vars(options), **changes})
