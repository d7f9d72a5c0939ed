"""Reading the options of a request, with an archive's defaults, into typed values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency.methods import METHODS
from torchserve_saliency.requests.compatibility import reconcile
from torchserve_saliency.requests.options import OPTIONS, PARAMETERS, Options
from torchserve_saliency.schema import OptionType, option_types, read, read_one
from torchserve_saliency.spelling import similar_names


class RequestOptions(NamedTuple):
    """The general options of a request, and the parameters of its method."""

    options: Options
    parameters: object


def read_options(sent: Mapping[str, object], defaults: Mapping[str, object]) -> RequestOptions:
    """Return the options that were sent, completed by the archive's defaults.

    Raise RequestError 400, naming the first invalid option. An option that the method does not have is an error if it
    was sent; a default that the method does not have, or that conflicts with the options sent, is ignored.
    """
    for name in sent:
        if name not in OPTIONS and name not in PARAMETERS:
            raise _unknown(name)
    method = str(read_one("method", OPTIONS["method"], sent.get("method", defaults.get("method", "gradient"))))
    own = option_types(METHODS[method].parameters)
    for name in sent:
        if name not in OPTIONS and name not in own:
            raise _misplaced(name, method)
    options = read(Options, {name: value for name, value in {**defaults, **sent}.items() if name in OPTIONS})
    given = {**_readable(defaults, own), **{name: value for name, value in sent.items() if name in own}}
    if "unit" in own and given.get("unit") is None and sent.get("layer") is None:
        given.pop("layer", None)  # the layer of a unit; as a default, it is meant for other methods
    parameters = read(METHODS[method].parameters, given)
    return RequestOptions(reconcile(options, sent), parameters)


def _readable(defaults: Mapping[str, object], own: Mapping[str, OptionType]) -> dict[str, object]:
    """Return the defaults that are valid parameters of a method.

    Methods may restrict a parameter of the same name differently: some read several layers, others one.
    """
    return {name: value for name, value in defaults.items() if name in own and _is_readable(own[name], value)}


def _is_readable(option_type: OptionType, value: object) -> bool:
    try:
        option_type.read(value)
    except ValueError:
        return False
    return True


def _unknown(name: str) -> RequestError:
    """Return the 400 for an option that does not exist, with the most similar name."""
    short = name if len(name) <= 40 else name[:39] + "…"
    near = similar_names(name, (*OPTIONS, *PARAMETERS), count=1)
    hint = f"did you mean '{near[0]}'?" if near else "a picture is sent as 'data'"
    return bad_option(short, f"there is no option {short!r}; {hint}")


def _misplaced(name: str, method: str) -> RequestError:
    """Return the 400 for a parameter that the method does not have."""
    own = ", ".join(option_types(METHODS[method].parameters)) or "no parameters"
    takers = ", ".join(sorted(PARAMETERS[name]))
    return bad_option(name, f"method '{method}' takes {own}; '{name}' belongs to {takers}")


def read_defaults(defaults: Mapping[str, object]) -> Mapping[str, object]:
    """Return an archive's defaults; raise RequestError 400 if one is no option or has an invalid value."""
    for name, value in defaults.items():
        if name == "explain":
            raise bad_option("explain", "'explain' cannot be a default: the route decides")
        if name in OPTIONS:
            read_one(name, OPTIONS[name], value)
        elif name in PARAMETERS:
            method = min(PARAMETERS[name])
            read_one(name, option_types(METHODS[method].parameters)[name], value)
        else:
            raise _unknown(name)
    read_options({}, defaults)
    return defaults
