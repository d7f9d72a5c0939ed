"""Files of `torch.save` rewritten without foreign classes; nothing in a file is ever called or imported.

A file that training code wrote may hold objects of any class beside its weights: arguments, paths, configurations,
arrays. Here such a file is unpickled with inert stand-ins for all classes and functions. Of the result, only
mappings, lists, numbers, texts and tensors are written to a new file, for `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import io

# the unpickler below resolves every name to an inert stand-in
import pickle  # nosec B403
import shutil
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from torchserve_saliency.model.inert_cleaning import CleanTensor, cleaned
from torchserve_saliency.model.inert_objects import Storage, inert_class

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first object of a file that torch wrote before version 1.6


@contextmanager
def rewritten(path: Path) -> Iterator[IO[bytes]]:
    """Yield a copy of a file of `torch.save` that holds a list: the clean object, and the storages it needs.

    Raise UnpicklingError if the file was not written by `torch.save` or is damaged, and UnsafeCallError if it calls
    a function that no training code calls.
    """
    with tempfile.TemporaryFile() as copy:
        if zipfile.is_zipfile(path):
            _rewrite_zip(path, copy)
        else:
            _rewrite_legacy(path, copy)
        copy.seek(0)
        yield copy


def _rewrite_zip(path: Path, copy: IO[bytes]) -> None:
    """Write a zip file with the clean object in place of `data.pkl`, and with the records that it refers to."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as target:
        names = source.namelist()
        pickles = [name for name in names if name.endswith("data.pkl") and name.count("/") <= 1]
        if not pickles:
            raise pickle.UnpicklingError(
                "it is a zip file that torch.save did not write; if it has the weights in it, unpack it first"
            )
        root = pickles[0][: -len("data.pkl")]
        with source.open(pickles[0]) as file:
            clean, storages = cleaned(_load(io.BytesIO(file.read())))
        target.writestr(f"{root}data.pkl", _dump([clean, []]))  # the records may be fewer than before
        kept = {f"{root}data/{storage.key}" for storage in storages} | {f"{root}byteorder", f"{root}version"}
        for name in names:
            if name in kept:
                with source.open(name) as record, target.open(name, "w", force_zip64=True) as new:
                    shutil.copyfileobj(record, new, 1 << 20)


def _rewrite_legacy(path: Path, copy: IO[bytes]) -> None:
    """Write a file in torch's format before version 1.6: five pickles, then all storages in order."""
    with path.open("rb") as source:
        if _load(source) != LEGACY_MAGIC:
            raise pickle.UnpicklingError(
                "it was written by pickle, not by torch.save: save it by torch.save(model.state_dict(), FILE)"
            )
        head = [LEGACY_MAGIC, _load(source), _load(source)]
        unpickler = _Unpickler(source, encoding="utf-8", errors="replace")
        clean, _ = cleaned(unpickler.load())
        for value in (*head, [clean, list(unpickler.storages)], _load(source)):
            copy.write(_dump(value))
        shutil.copyfileobj(source, copy, 1 << 20)


class _Unpickler(pickle.Unpickler):  # nosec B301
    """An unpickler for which every global name is an inert class; `storages` are those that the file refers to."""

    def __init__(self, file: IO[bytes], **options: Any) -> None:
        super().__init__(file, **options)
        self.storages: dict[Storage, None] = {}

    def find_class(self, module: str, name: str) -> Any:
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else inert_class(module, name)

    def persistent_load(self, pid: Any) -> object:
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":  # a class, with its source
            return pid[1]
        storage = Storage.read(pid)
        self.storages[storage] = None
        return storage


class _Pickler(pickle.Pickler):
    """A pickler of clean objects, which writes tensors as `torch.save` does."""

    def persistent_id(self, value: Any) -> object:
        return value.pid() if isinstance(value, Storage) else None

    def reducer_override(self, value: Any) -> Any:
        return value.reduced() if isinstance(value, CleanTensor) else NotImplemented


def _load(file: IO[bytes]) -> object:
    return _Unpickler(file, encoding="utf-8", errors="replace").load()


def _dump(value: object) -> bytes:
    file = io.BytesIO()
    _Pickler(file, protocol=2).dump(value)
    return file.getvalue()
