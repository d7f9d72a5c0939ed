"""Every option of a request: its type, its bounds, its default; and how what was sent becomes one frozen value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from saliency.colormap import check_colormap
from saliency.errors import RequestError, bad_option
from saliency.explanation import RENDERS
from saliency.methods import METHODS
from saliency.methods.base import Method, Shows
from saliency.objective import SCORES
from saliency.reduce import POLARITIES, REDUCTIONS, SIGNED
from saliency.schema import Boolean, Choice, Integer, Kind, Number, kinds, option, read, read_one
from saliency.targets import Opponent, Rank, Targets

FORMATS = ("json", "png", "npy")
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


@dataclass(frozen=True)
class Colormap:
    """Reads the name of a Matplotlib colormap."""

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("must be the name of a Matplotlib colormap")
        return check_colormap(value)

    def describe(self) -> dict[str, object]:
        return {"type": "string"}


@dataclass(frozen=True)
class Options:
    """The options that every method has."""

    target: tuple[str | int | Rank, ...] = option((Rank(0),), Targets(), "classes to explain")
    against: str | int | None = option(None, Opponent(), "class whose score is subtracted")
    method: str = option("gradient", Choice(tuple(METHODS)), "attribution method")
    score: str = option("logit", Choice(SCORES), "scalar that is explained")
    reduce: str = option("max_abs", Choice(tuple(REDUCTIONS)), "how channels become one map")
    polarity: str = option("both", Choice(tuple(POLARITIES)), "part of a signed map that is kept")
    render: str = option("heatmap", Choice((*RENDERS, "none")), "picture of the map")
    space: str = option("input", Choice(("input", "original")), "pixels that the map lies on")
    colormap: str | None = option(None, Colormap(), "Matplotlib colormap of the picture")
    alpha: float = option(0.6, Number(0, 1), "opacity of an overlay")
    clip: float = option(99.5, Number(0, 100), "upper percentile that the colours span")
    floor: float = option(0.0, Number(0, 100), "lower percentile that the colours span")
    format: str = option("json", Choice(FORMATS), "what comes back")
    top_k: int = option(5, Integer(1, 100), "how many predictions")
    quality: bool = option(False, Boolean(), "faithfulness scores beside each map")
    explain: bool = option(False, Boolean(), "saliency on the predictions route")


OPTIONS: Mapping[str, Kind] = MappingProxyType(kinds(Options))
PARAMETERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        name: frozenset(method for method, entry in METHODS.items() if name in kinds(entry.parameters))
        for entry in METHODS.values()
        for name in kinds(entry.parameters)
    }
)


@dataclass(frozen=True)
class Asked:
    """What a request asks for: the general options, and the chosen method's parameters."""

    options: Options
    parameters: object


def read_options(sent: Mapping[str, object], defaults: Mapping[str, object]) -> Asked:
    """Return what was asked, the archive's defaults beneath; a RequestError 400 names the first option that is wrong.

    A default that the chosen method or reduction does not take steps aside; one that was sent does not.
    """
    for name in sent:
        if name not in OPTIONS and name not in PARAMETERS:
            raise _unknown(name)
    method = str(read_one("method", OPTIONS["method"], sent.get("method", defaults.get("method", "gradient"))))
    own = kinds(METHODS[method].parameters)
    for name in sent:
        if name not in OPTIONS and name not in own:
            raise _misplaced(name, method)
    merged = {**defaults, **sent}
    options = read(Options, {name: value for name, value in merged.items() if name in OPTIONS})
    given = {**_taken(defaults, own), **{name: value for name, value in sent.items() if name in own}}
    parameters = read(METHODS[method].parameters, given)
    return Asked(_coherent(_narrowed(options, sent), sent), parameters)


def _taken(defaults: Mapping[str, object], own: Mapping[str, Kind]) -> dict[str, object]:
    """Return the defaults that a method takes: what other methods take more of, as of layers, steps aside."""
    return {name: value for name, value in defaults.items() if name in own and _readable(own[name], value)}


def _readable(kind: Kind, value: object) -> bool:
    """Tell whether a kind of option takes a value."""
    try:
        kind.read(value)
    except ValueError:
        return False
    return True


def _coherent(options: Options, sent: Mapping[str, object]) -> Options:
    """Return the options if they go together, defaults giving way to what was sent."""
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


def _unknown(name: str) -> RequestError:
    """Return the 400 for an option that does not exist, with the one that was probably meant."""
    short = name if len(name) <= 40 else name[:39] + "…"
    near = get_close_matches(name, [*OPTIONS, *PARAMETERS], n=1)
    return bad_option(short, f"there is no option {short!r}" + (f"; did you mean '{near[0]}'?" if near else ""))


def _misplaced(name: str, method: str) -> RequestError:
    """Return the 400 for a parameter that belongs to other methods."""
    own = ", ".join(kinds(METHODS[method].parameters)) or "no parameters"
    takers = ", ".join(sorted(PARAMETERS[name]))
    return bad_option(name, f"method '{method}' takes {own}; '{name}' belongs to {takers}")


def read_defaults(defaults: Mapping[str, object]) -> Mapping[str, object]:
    """Return an archive's defaults if each is an option of the right type and range, else raise RequestError 400."""
    for name, value in defaults.items():
        if name == "explain":
            raise bad_option("explain", "'explain' cannot be a default: the route decides")
        if name in OPTIONS:
            read_one(name, OPTIONS[name], value)
        elif name in PARAMETERS:
            taker = min(PARAMETERS[name])
            read_one(name, kinds(METHODS[taker].parameters)[name], value)
        else:
            raise _unknown(name)
    read_options({}, defaults)
    return defaults
