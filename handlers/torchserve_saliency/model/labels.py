"""Class names: their display, their lookup, and their file formats."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from torchserve_saliency.errors import RequestError

# the keys under which the files of other libraries hold the names
_KEYS = (
    *("id2label", "label2id", "object_type_names", "names", "label_names", "class_names", "classes", "labels"),
    *("idx_to_class", "class_to_idx"),
)
_MAX_TEXT = 100  # characters of a client's text that are used in a search or repeated in a message
_Classes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Labels:
    """The names of a network's classes, by index; several classes may have the same name."""

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def display(self, index: int) -> str:
        """Return a unique name of a class: its label, followed by its index if another class has the same label."""
        return self.displayed[index]

    def find(self, text: str, option: str = "target") -> int:
        """Return the index of the class that `text` names, in any letter case.

        Raise RequestError 422 for no match, or several.
        """
        for name, classes in ((text, self._exact), (_fold(text), self._folded)):
            for group in classes:
                found = group.get(name, ())
                if len(found) == 1:
                    return found[0]
                if found:
                    raise self._ambiguous(text, found, option)
        raise self._unknown(text, option)

    @cached_property
    def displayed(self) -> tuple[str, ...]:
        """Return the unique names of all classes."""
        shown = list(self.names)
        while repeated := {name for name, count in Counter(shown).items() if count > 1}:
            shown = [f"{name} ({i})" if name in repeated else name for i, name in enumerate(shown)]
        return tuple(shown)

    @cached_property
    def _exact(self) -> tuple[_Classes, _Classes]:
        return _grouped(self.displayed), _grouped(self.names)

    @cached_property
    def _folded(self) -> tuple[_Classes, _Classes]:
        return _grouped(map(_fold, self.names)), _grouped(map(_fold, self.displayed))

    def _ambiguous(self, text: str, found: Sequence[int], option: str) -> RequestError:
        candidates = _listed([self.display(i) for i in found[:5]], len(found) - 5)
        message = f"{len(found)} classes are named {_quoted(text)}: {candidates}"
        return RequestError(422, "AmbiguousLabelException", message, option)

    def _unknown(self, text: str, option: str) -> RequestError:
        near = near_matches(text, self.displayed)
        hint = f"; did you mean {_listed([_quoted(n) for n in near])}?" if near else ""
        return RequestError(422, "UnknownLabelException", f"no class is named {_quoted(text)}{hint}", option)


def near_matches(text: str, names: Sequence[str], count: int = 3) -> list[str]:
    """Return up to `count` of `names` that are similar to `text` or contain it, the most similar first."""
    searched = _fold(text[:_MAX_TEXT])
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(_fold(name), name)
    near = difflib.get_close_matches(searched, folded, n=count, cutoff=0.7)
    containing = [f for f in folded if len(searched) > 2 and searched in f]
    return [folded[f] for f in dict.fromkeys([*near, *containing])][:count]


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the class names in a text file, one per line, or in a JSON or YAML file; raise ValueError if invalid.

    JSON and YAML may be a list, a mapping from name to index, or a mapping from index to name as in TorchServe's
    index_to_name.json, in which a name may be a pair [identifier, name]. It may stand under a key of a larger file:
    `id2label` or `label2id` (config.json of Hugging Face), `names` (data.yaml of YOLO), `label_names`
    (timm's config.json), `object_type_names`, `classes`, `class_names`, `labels`.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() in (".yaml", ".yml"):
        return _structured_labels(_yaml(text))
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
        return _structured_labels(_json(text))
    names = text.rstrip().splitlines()
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise ValueError(f"line {number} of the labels is empty")
    return _checked([name.strip() for name in names])


def read_head_labels(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the class names of each head in an archive's JSON file, a mapping from heads to lists of names."""
    heads = json.loads(path.read_text(encoding="utf-8"))
    return {str(head): _checked([_name(entry) for entry in names]) for head, names in heads.items()}


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"the labels are not valid JSON: {error}") from error


def _yaml(text: str) -> object:
    """Return a YAML file with every scalar as a text: `no` and `1.0` are names, too. BaseLoader makes no objects."""
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # nosec B506
    except yaml.YAMLError as error:
        raise ValueError(f"the labels are not valid YAML: {str(error).splitlines()[0]}") from error


def _structured_labels(value: object) -> tuple[str, ...]:
    """Return the names in a list, in a mapping, or under the usual key of a larger mapping."""
    if isinstance(value, dict):
        inner = [value[key] for key in _KEYS if isinstance(value.get(key), list | dict)]
        value = inner[0] if inner else value
    if isinstance(value, dict):
        return _mapped_labels({str(key): name for key, name in value.items()})
    if not isinstance(value, list):
        raise ValueError("the labels are neither a list nor a mapping")
    return _checked([_name(entry) for entry in value])


def _mapped_labels(mapping: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names in a mapping from index to name or from name to index; missing names are indices."""
    indices = all(type(value) is int for value in mapping.values())
    texts = all(_is_index(value) for value in mapping.values()) and not all(_is_index(key) for key in mapping)
    if mapping and (indices or texts):
        mapping = {str(index): name for name, index in mapping.items()}
    if wrong := [key for key in mapping if not _is_index(key)]:
        raise ValueError(f"the labels have the key {_quoted(wrong[0])}, which is no class index")
    by_index = {int(key): _name(value) for key, value in mapping.items()}
    size = max(by_index, default=-1) + 1
    if size > 2 * len(by_index) + 1000:
        raise ValueError(f"the labels name class {size - 1}, but only {len(by_index)} classes")
    return _checked([by_index.get(i, str(i)) for i in range(size)])


def _is_index(text: object) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdigit()


def _name(entry: object) -> str:
    """Return the name in an entry: the entry itself, or the last item of TorchServe's [identifier, name]."""
    if isinstance(entry, list) and entry:
        entry = entry[-1]
    if not isinstance(entry, str) or not entry.strip():
        raise ValueError(f"{json.dumps(entry)[:_MAX_TEXT]} is no class name")
    return entry.strip()


def _checked(names: list[str]) -> tuple[str, ...]:
    if not names:
        raise ValueError("the labels are empty")
    return tuple(names)


def _grouped(names: Iterable[str]) -> _Classes:
    """Return the indices of the classes by name."""
    groups: dict[str, tuple[int, ...]] = {}
    for index, name in enumerate(names):
        groups[name] = (*groups.get(name, ()), index)
    return groups


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…")


def _listed(items: Sequence[str], more: int = 0) -> str:
    """Return 'a', 'a or b', 'a, b or c', or 'a, b and 3 more' for a number of omitted items."""
    if more > 0:
        return ", ".join(items) + f" and {more} more"
    return " or ".join(filter(None, (", ".join(items[:-1]), items[-1])))
