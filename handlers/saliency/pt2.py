"""Section `pt2` of an archive's configuration: what `torch.compile` is asked for, as TorchServe reads it."""

from __future__ import annotations

from collections.abc import Mapping

from saliency.errors import ModelError

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_OPTIONS = ("backend", "mode", "dynamic", "fullgraph", "options")
_WHERE = "section 'pt2' of the archive's configuration"


def compile_options(pt2: object) -> Mapping[str, object] | None:
    """Return what `torch.compile` is to be called with, None where nothing is asked; ModelError for what is unknown.

    `{compile: {enable: true, …}}`, or in TorchServe's older spelling a backend's name or the options alone.
    """
    section = {"backend": pt2} if isinstance(pt2, str) else pt2
    if section is None:
        return None
    if not isinstance(section, Mapping) or "export" in section:
        raise ModelError(f"{_WHERE} is to hold 'compile': an exported program cannot be explained")
    given = section.get("compile", {"enable": True, **section})
    if not isinstance(given, Mapping) or not isinstance(given.get("enable"), bool):
        raise ModelError(f"{_WHERE} is to say 'compile: {{enable: true}}', or false")
    options = {str(key): value for key, value in given.items() if key != "enable"}
    _check_known(options)
    return options if given["enable"] else None


def _check_known(options: Mapping[str, object]) -> None:
    """Raise ModelError where an option is unknown, or the mode or backend that it names."""
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise ModelError(f"{_WHERE} has no '{unknown[0]}'")
    if (mode := options.get("mode", "default")) not in MODES:
        raise ModelError(f"torch.compile has no mode {mode!r}, but {', '.join(MODES)}")
    if (backend := options.get("backend", "inductor")) not in (known := _backends()):
        raise ModelError(f"torch.compile has no backend {backend!r}, but {', '.join(known)}")


def _backends() -> list[str]:
    """Return the names of torch.compile's backends."""
    from torch._dynamo import list_backends  # takes a second to import

    return list(list_backends(exclude_tags=()))
