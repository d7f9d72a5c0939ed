"""Results of `bulk`, written by the tests with the columns that section 9 of the contract names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PREDICTION = pa.struct(
    [("index", pa.int64()), ("label", pa.string()), ("probability", pa.float64()), ("logit", pa.float64())]
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "source", "label")),
        ("status", pa.int64()),
        *((name, pa.string()) for name in ("type", "message")),
        ("predictions", pa.list_(PREDICTION)),
        ("target", PREDICTION),
        *((name, pa.string()) for name in ("method", "parameters")),
        ("map", pa.binary()),
        ("map_height", pa.int64()),
        ("map_width", pa.int64()),
        ("crop", pa.list_(pa.float64())),
        ("score", pa.float64()),
        *((name, pa.string()) for name in ("findings", "quality")),
        ("seconds", pa.float64()),
    ]
)
Row = Mapping[str, object]


def row(source: str | None, *predictions: tuple[int, str, float], method: str = "gradient") -> Row:
    """Return a row of an explained picture: its predictions are index, label and probability."""
    listed = [{"index": i, "label": label, "probability": p, "logit": 0.0} for i, label, p in predictions]
    values = {"key": "ab", "source": source, "status": 200, "predictions": listed, "method": method}
    return values | {"target": listed[0] if listed else None, "map": b"\0\0", "map_height": 1, "map_width": 1}


def refused(source: str) -> Row:
    """Return a row of a refused picture."""
    return {"key": "cd", "source": source, "status": 415, "type": "TruncatedImageException", "message": "broken"}


def write_results(folder: Path, rows: Sequence[Row], part: int = 0) -> Path:
    """Write rows to a part of the results, with a manifest, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    complete = [{name: values.get(name) for name in SCHEMA.names} for values in rows]
    file = folder / f"part-{part:05}.parquet"
    pq.write_table(pa.Table.from_pylist(complete, SCHEMA), file)
    (folder / "manifest.json").write_text("{}")
    return file
