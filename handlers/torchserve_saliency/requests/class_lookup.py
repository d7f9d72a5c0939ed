"""The class that a label or an index means."""

from __future__ import annotations

import re

from torchserve_saliency.errors import RequestError
from torchserve_saliency.model.labels import Labels
from torchserve_saliency.schema import shown

INDEX = re.compile(r"[+-]?[0-9]{1,18}")


def find_class(name: str | int, labels: Labels, option: str) -> int:
    """Return the index of a class given by its label or index; raise RequestError 422 if there is no such class.

    A text of digits is a label if the network has such a label, else an index. So a label from an answer can be sent
    back, even if it is a number.
    """
    if isinstance(name, str):
        if name in labels.names or not INDEX.fullmatch(name):
            return labels.find(name, option)
        name = int(name)
    if not 0 <= name < len(labels.names):
        message = f"class index {shown(name)} is out of range: the model has classes 0 to {len(labels.names) - 1}"
        raise RequestError(422, "ClassIndexException", message, option)
    return name
