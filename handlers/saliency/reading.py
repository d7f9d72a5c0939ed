"""What a client sent, and an archive's defaults beneath, read as options and a method's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from saliency.coherence import coherent
from saliency.errors import RequestError, bad_option
from saliency.methods import METHODS
from saliency.options import OPTIONS, PARAMETERS, Options
from saliency.schema import Kind, kinds, read, read_one


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
    return Asked(coherent(options, sent), parameters)


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
