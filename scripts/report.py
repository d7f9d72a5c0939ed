"""What the command line prints: tables of predictions, a progress bar, errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from scripts.client import Answer, ClassScore, Explained, RefusedError

T = TypeVar("T")
BAR = 30


def print_full(name: str, answer: Answer, out: Path | None, seconds: float) -> None:
    """Print a picture's predictions as a table, what was explained, and where the picture is."""
    print(f"{name} ({seconds * 1000:.0f} ms)")
    if answer.said:
        print(table(answer.said["predictions"]))
        for entry in answer.said["explanations"]:
            print(f"  explained: {sentence(entry)}")
    if out:
        print(f"  saved: {out}")


def print_short(name: str, answer: Answer, out: Path | None, seconds: float) -> None:
    """Print a line for a picture: its best class and where its explanation is."""
    best = answer.said["predictions"][0] if answer.said and answer.said["predictions"] else None
    seen = f"{best['probability']:7.2%}  {best['label']}" if best else ""
    print(f"{name:<28}  {seen:<36}  {seconds * 1000:5.0f} ms  {out or ''}".rstrip())


def print_error(name: str, refused: RefusedError) -> None:
    """Print a refusal to stderr, with what to do where the token was the reason."""
    hint = " (pass --token or --key-file)" if refused.kind == "InvalidKeyException" else ""
    print(f"{name}: {refused}{hint}", file=sys.stderr)


def table(predictions: Sequence[ClassScore]) -> str:
    """Return predictions as lines of probability, label, index and logit, aligned."""
    width = max((len(each["label"]) for each in predictions), default=0)
    return "\n".join(
        f"  {each['probability']:8.2%}  {each['label']:<{width}}  class {each['index']:<4}  logit {each['logit']:7.2f}"
        for each in predictions
    )


def sentence(entry: Explained) -> str:
    """Return in words what an entry explains: the class, what it is held against, and by which method."""
    against = entry.get("against")
    rival = f" against {against['label']}" if against else ""
    return f"{entry['target']['label']}{rival}, by {entry['method']}"


def watched(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the items, with a progress bar on stderr where a person looks at it and there is more than one."""
    shown = count > 1 and sys.stderr.isatty()
    for number, item in enumerate(items, 1):
        if shown:
            filled = BAR * number // count
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {number}/{count} ")
            sys.stderr.flush()
        yield item
    if shown:
        sys.stderr.write("\n")


def write_json(target: str, answers: Sequence[Answer]) -> None:
    """Write the answers that are JSON, one a line, to a file or with `-` to the standard output."""
    text = "".join(f"{json.dumps(answer.said, ensure_ascii=False)}\n" for answer in answers if answer.said)
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")
