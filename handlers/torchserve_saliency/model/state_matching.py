"""The choice of the mapping in a checkpoint that fits a network, and of the prefix of its names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.state_match import Match
from torchserve_saliency.model.state_names import (
    MODULE,
    is_layer,
    is_of_optimizer,
    is_usual,
    renamed_state,
    without_wrappers,
)
from torchserve_saliency.model.state_search import State

_PROFILED = (".total_ops", ".total_params")  # counters that profilers add to each module
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of a batch norm


def largest_state(mappings: Mapping[str, State]) -> State:
    """Return the mapping with the most names, without the prefix `module.` if all of its names have it.

    Of equally large ones, prefer one with a usual key.
    """
    key = max(mappings, key=lambda key: (len(mappings[key]), is_usual(key), not key))
    state, prefix = without_wrappers(mappings[key]), ""
    while all(name.startswith(prefix + MODULE) for name in state):
        prefix += MODULE
    return renamed_state(state, prefix)


def match_state(mappings: Mapping[str, State], own: State, wanted: str | None = None) -> Match:
    """Return the mapping whose names and shapes fit a network's state dict `own` best.

    Of several that fit equally, take an average of the weights (EMA), else the one with usual names. `wanted` chooses
    one by its key, its prefix, or both as KEY:PREFIX, and what it leaves over is accepted. Raise ModelError for a
    choice that does not exist, or that must be made.
    """
    scored = [pair for key, state in mappings.items() for pair in _matches(key, without_wrappers(state), own)]
    scored = [(score, match) for score, match in scored if not is_of_optimizer(match.key)] or scored
    candidates = [(score, match) for score, match in scored if wanted is None or match.has_name(wanted)]
    if not candidates and wanted is not None:
        raise _unknown(wanted, mappings, scored)
    if not candidates:
        return Match(largest_state(mappings))
    highest = max(score for score, _ in candidates)
    taken = _preferred([match for score, match in candidates if score == highest], own)
    rest = [match for score, match in scored if score == highest and match is not taken]
    match = _completed(_without_copies(taken, rest), rest, own)
    return replace(match, foreign=() if wanted is not None else match.foreign)


def _matches(key: str, state: State, own: State) -> Iterator[tuple[tuple[int, int], Match]]:
    """Yield a match for each prefix with which names of `state` are in `own`: (equal shapes, equal names) and match.

    The statistics of batch norms do not count, since averages of the parameters lack them.
    """
    for added in _common_prefixes(own):
        shapes: Counter[str] = Counter()
        names: Counter[str] = Counter()
        for name, tensor in state.items():
            for prefix in _prefixes(name):
                ours = own.get(added + name[len(prefix) :])
                if ours is not None and not name.endswith(_STATISTICS):
                    names[prefix] += 1
                    shapes[prefix] += ours.shape == tensor.shape
        for prefix, count in names.items():
            yield (shapes[prefix], count), _match(key, prefix, added, state, own)


def _match(key: str, prefix: str, added: str, state: State, own: State) -> Match:
    """Return the match of a mapping with a prefix; names that are beside the network's modules are left over."""
    tops = {name[len(added) :].split(".")[0] for name in own}
    inside = {
        name: None
        for name in state
        if name.startswith(prefix) and name[len(prefix) :].split(".")[0] in tops and not name.endswith(_PROFILED)
    }
    left_over = tuple(name for name in state if name not in inside)
    foreign = tuple(name for name in left_over if is_layer(name, state[name]))
    taken = renamed_state(state, prefix, added, inside)
    return Match(taken, key, prefix, added, left_over=left_over, foreign=foreign)


def _preferred(best: Sequence[Match], own: State) -> Match:
    """Return the average of the weights, or the only match with usual names, or the only one; else raise ModelError."""
    averages = [match for match in best if match.is_average]
    plain = [match for match in best if not match.is_average]
    most = max((len(match.state.keys() & own.keys()) for match in plain), default=0)
    whole = [match for match in plain if len(match.state.keys() & own.keys()) == most]
    for group in [averages] if averages else [[match for match in whole if match.is_usual], whole]:
        if group and all(_equal(group[0].state, other.state) for other in group[1:]):
            return group[0]
    places = ", ".join(f"'{match.place}'" for match in averages or whole)
    raise ModelError(f"the file has several networks that fit equally well: {places}; choose one by --state")


def _without_copies(taken: Match, rest: Sequence[Match]) -> Match:
    """Return a match with the places of the others; their names are not left over."""
    copies = {
        other.prefix + name[len(other.added) :] for other in rest if other.key == taken.key for name in other.state
    }
    left_over, foreign = (
        tuple(name for name in names if name not in copies) for names in (taken.left_over, taken.foreign)
    )
    return replace(taken, left_over=left_over, foreign=foreign, others=tuple(match.place for match in rest))


def _completed(taken: Match, rest: Sequence[Match], own: State) -> Match:
    """Return an average with the statistics of the batch norms; if it has parameters alone, those of another match."""
    lacking = [name for name in own if name not in taken.state and name.endswith(_STATISTICS)]
    for other in rest if taken.is_average and lacking else ():
        if not other.is_average and all(name in other.state for name in lacking):
            return replace(taken, state={**taken.state, **{name: other.state[name] for name in lacking}})
    return taken


def _unknown(wanted: str, mappings: Mapping[str, State], scored: list[tuple[tuple[int, int], Match]]) -> ModelError:
    """Return the error for a choice that does not exist, with those that do."""
    places = [match.place for _, match in sorted(scored, key=lambda pair: pair[0], reverse=True)[:8]]
    known = ", ".join(f"'{place}'" for place in dict.fromkeys(places or list(mappings)))
    return ModelError(f"--state '{wanted}' is nothing in the file that fits the network: there are {known}")


def _prefixes(name: str) -> Iterator[str]:
    """Yield the beginnings of a name that end before one of its parts, the empty one first."""
    yield ""
    for position, letter in enumerate(name):
        if letter == ".":
            yield name[: position + 1]


def _common_prefixes(own: State) -> list[str]:
    """Return the beginnings that all names of a network have: the file may have been saved from a part of it."""
    first = next(iter(own), "")
    return [prefix for prefix in _prefixes(first) if all(name.startswith(prefix) for name in own)][:3]


def _equal(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first
    )
