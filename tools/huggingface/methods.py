"""Every method on a small random classifier of each architecture: good, refused with the reason, or bad."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from tools.cases.workshop import Workshop
from tools.huggingface.networks import classifier, save
from tools.zoo.outcomes import REFUSED, Cell, cell_of
from tools.zoo.trial import picture
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Shows

# parameters that keep methods of many passes cheap, by their names
_CHEAP: Mapping[str, int] = MappingProxyType(
    {"samples": 20, "steps": 6, "segments": 9, "channels": 4, "iterations": 4, "window": 16, "stride": 16}
)


def outcomes(name: str) -> dict[str, Cell]:
    """Archive the classifier of an architecture, load it as TorchServe does, and return a cell for each method."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save(classifier(name), folder / "network")
        workshop = Workshop(folder)
        handler = workshop.handler(workshop.archive("--arch", f"hf:{folder}/network", "--directions", "1"))
        described = cast(Any, handler.describe())
        cells = {method: Cell(REFUSED, reason) for method, reason in described["unsupported"].items()}
        for method, entry in described["methods"].items():
            shows = METHODS[method].shows
            target = "top3" if shows is Shows.SALIENCY else "0"  # other methods make one picture per request
            data = {} if shows is Shows.INPUT else {"data": picture()}
            fields = {"method": method, "format": "npy", "target": target, **data}
            answer = handler.ask(fields | {key: value for key, value in _CHEAP.items() if key in entry["parameters"]})
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            cells[method] = cell_of(answer.status, body)
        return {method: cells[method] for method in METHODS}
