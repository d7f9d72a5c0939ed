"""The options of `torch.compile` in an archive's configuration, section `pt2`."""

from __future__ import annotations

from collections.abc import Mapping

from torchserve_saliency.errors import ModelError

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_OPTIONS = ("backend", "mode", "dynamic", "fullgraph", "options")
_SECTION = "section 'pt2' of the archive's configuration"


def compile_options(pt2: object) -> Mapping[str, object] | None:
    """Return the arguments for `torch.compile`, or None for no compilation.

    The section is `{compile: {enable: true, …}}`, or in TorchServe's older format the name of a backend, or the options
    alone. Raise ModelError if the section or an option is invalid.
    """
    section = {"backend": pt2} if isinstance(pt2, str) else pt2
    if section is None:
        return None
    if not isinstance(section, Mapping) or "export" in section:
        raise ModelError(f"{_SECTION} must have the key 'compile': an exported program cannot be explained")
    given = section.get("compile", {"enable": True, **section})
    if not isinstance(given, Mapping) or not isinstance(given.get("enable"), bool):
        raise ModelError(f"{_SECTION} must contain 'compile: {{enable: true}}', or false")
    options = {str(key): value for key, value in given.items() if key != "enable"}
    _check(options)
    return options if given["enable"] else None


def _check(options: Mapping[str, object]) -> None:
    """Raise ModelError if an option, its mode or its backend is unknown."""
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise ModelError(f"{_SECTION} has no option '{unknown[0]}'")
    if (mode := options.get("mode", "default")) not in MODES:
        raise ModelError(f"torch.compile has no mode {mode!r}; its modes are {', '.join(MODES)}")
    if (backend := options.get("backend", "inductor")) not in (known := _backends()):
        raise ModelError(f"torch.compile has no backend {backend!r}; its backends are {', '.join(known)}")


def _backends() -> list[str]:
    """Return the names of the backends of torch.compile."""
    from torch._dynamo import list_backends  # takes a second to import

    return list(list_backends(exclude_tags=()))
