"""One command for users: `torchserve-saliency archive | explain | serve | demo | page`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from torchserve_saliency_cli.program import COMMAND

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "archive": "write an archive (.mar) of a classifier for TorchServe, and check it",
        "explain": "explain pictures with a served model",
        "serve": "serve the archives of a model store on loopback",
        "demo": "archive, serve and explain the embedded apple-leaf classifier",
        "page": "ask a served model in the browser: pictures, classes, methods, maps",
    }
)


def main() -> int | None:
    """Run the command that the first argument names; return its exit status, 2 for an unknown command."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(usage(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    name = words[0]
    if name not in COMMANDS:
        print(f"{COMMAND}: there is no command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    sys.argv = [f"{COMMAND} {name}", *words[1:]]
    status: int | None = import_module(f"torchserve_saliency_cli.{name}").main()
    return status


def usage() -> str:
    """Return the commands, one per line."""
    lines = [f"  {name:<9} {text}" for name, text in COMMANDS.items()]
    return "\n".join([f"usage: {COMMAND} COMMAND [--help]", "", *lines])


if __name__ == "__main__":
    sys.exit(main())
