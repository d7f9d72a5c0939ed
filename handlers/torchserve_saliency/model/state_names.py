"""The names in the checkpoints of training code: of wrappers, of averages, and of all that is no part of a network."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

MODULE = "module."  # the prefix of DataParallel
# modules that only wrap another one: of torch.compile, FSDP, activation checkpointing
_WRAPPERS = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_AVERAGES = re.compile(
    r"(?:^|[._])(?:ema|swa|(?<!exp_)avg|averaged?|polyak|shadow)(?:[._]|$)|ema_?model|model_?ema|ema_?weights",
    re.IGNORECASE,
)
_USUAL = frozenset(
    {
        *("", "state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params"),
        *("module", "backbone", "encoder", "classifier", "base_model"),
    }
)
# parts of a training that are no part of its network: losses, metrics, averages, other networks
_TRAINING_ONLY = re.compile(
    r"loss|crit|(?<!sym)metric|(?:^|[._])(?:acc(?:uracy)?|ap|auc|auroc|f1|conf_?mat|ema|swa|queue|momentum|teacher|n_averaged)(?:[._\d]|$)|"
    r"discrimin|percept(?!ron)|lpips|augment|distill|(?:^|[._])(?:train|val|valid|test)_",
    re.IGNORECASE,
)


# moments and gradients of optimizers, some of which are stored by the names of the parameters
_OPTIMIZER = re.compile(
    r"(?:^|[._])(?:optim\w*|exp_avg\w*|momentum_buffers?|grads?|gradients?)(?:[._]|$)", re.IGNORECASE
)
_FEW = 64  # numbers; a normalisation or a filter has fewer, a layer of a network more


def is_average(name: str) -> bool:
    """Tell whether a key or a prefix belongs to averaged weights, such as an exponential moving average (EMA)."""
    return bool(_AVERAGES.search(name))


def is_usual(name: str) -> bool:
    """Tell whether all parts of a key or a prefix are usual names of a network's weights."""
    return all(part in _USUAL for part in name.rstrip(".").split("."))


def is_training_only(name: str) -> bool:
    """Tell whether the name of a tensor belongs to a loss, a metric, or another part that predictions do not need."""
    return bool(_TRAINING_ONLY.search(name.split(".")[0]) or _TRAINING_ONLY.match(name))


def is_of_optimizer(key: str) -> bool:
    """Tell whether the key of a mapping belongs to the state of an optimizer."""
    return bool(_OPTIMIZER.search(key))


def is_layer(name: str, tensor: Tensor) -> bool:
    """Tell whether a tensor is probably the weight of a layer that predictions need."""
    if tensor.dim() < 2 or not tensor.is_floating_point() or is_training_only(name):
        return False
    return "weight" in name.rpartition(".")[2] or tensor.numel() >= _FEW


def without_wrappers(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a state dict without the names of wrapping modules; the same object if there are none."""
    if not any(_WRAPPERS.search(name) for name in state):
        return state
    clean: OrderedDict[str, Tensor] = OrderedDict((_WRAPPERS.sub("", name), value) for name, value in state.items())
    clean._metadata = _renamed_versions(state, lambda path: _WRAPPERS.sub("", path))  # type: ignore[attr-defined]
    return clean


def renamed_state(
    state: Mapping[str, Tensor], prefix: str, added: str = "", names: Iterable[str] | None = None
) -> Mapping[str, Tensor]:
    """Return the tensors whose names begin with `prefix` (or those in `names`), with `added` in place of it.

    If nothing changes, return the same object. The versions of the modules' layouts are kept.
    """
    kept = [name for name in state if name.startswith(prefix)] if names is None else list(names)
    if not prefix and not added and len(kept) == len(state):
        return state
    renamed: OrderedDict[str, Tensor] = OrderedDict((added + name[len(prefix) :], state[name]) for name in kept)
    renamed._metadata = _renamed_versions(  # type: ignore[attr-defined]
        state, lambda path: added + path[len(prefix) :] if path.startswith(prefix) else None
    )
    return renamed


def _renamed_versions(state: Mapping[str, Tensor], rename: Callable[[str], str | None]) -> object:
    """Return the layout versions of a state dict (`_metadata`), by the new paths of its modules."""
    versions = getattr(state, "_metadata", None)
    if not isinstance(versions, Mapping):
        return None
    paths = {path: rename(f"{path}." if path else "") for path in versions}
    return OrderedDict((new.rstrip("."), versions[path]) for path, new in paths.items() if new is not None)
