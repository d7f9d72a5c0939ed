"""The command line's output: tables of predictions, a progress bar, errors, and answers as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from torchserve_saliency_cli.client.service import Answer, ClassScore, ExplanationEntry, RefusedError

T = TypeVar("T")


def print_full(name: str, answer: Answer, out: Path | None, seconds: float) -> None:
    """Print a picture's predictions as a table, then the targets explained and the file with their maps."""
    print(f"{name} ({seconds * 1000:.0f} ms)")
    if answer.content:
        print(table(answer.content["predictions"]))
        for entry in answer.content["explanations"]:
            print(f"  explained: {sentence(entry)}")
    if out:
        print(f"  saved: {out}")


def print_short(name: str, answer: Answer, out: Path | None, seconds: float) -> None:
    """Print one line per picture: its predicted class and the file with its explanation."""
    predictions = answer.content["predictions"] if answer.content else []
    best = f"{predictions[0]['probability']:7.2%}  {predictions[0]['label']}" if predictions else ""
    print(f"{name:<28}  {best:<36}  {seconds * 1000:5.0f} ms  {out or ''}".rstrip())


def print_error(name: str, refused: RefusedError) -> None:
    """Print the server's error to stderr, with a hint if the token was refused."""
    hint = " (pass --token or --key-file)" if refused.error_type == "InvalidKeyException" else ""
    print(f"{name}: {refused}{hint}", file=sys.stderr)


def table(predictions: Sequence[ClassScore]) -> str:
    """Return predictions as aligned lines of probability, label, index and logit."""
    width = max((len(each["label"]) for each in predictions), default=0)
    return "\n".join(
        f"  {each['probability']:8.2%}  {each['label']:<{width}}  class {each['index']:<4}  logit {each['logit']:7.2f}"
        for each in predictions
    )


def sentence(entry: ExplanationEntry) -> str:
    """Return an explanation in words: its class, the class that it is compared with, and its method."""
    against = entry.get("against")
    rival = f" against {against['label']}" if against else ""
    return f"{entry['target']['label']}{rival}, by {entry['method']}"


def with_progress(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the items, with a progress bar on stderr if there are several and stderr is a terminal."""
    progress: Iterator[T] = iter(tqdm(items, total=count, disable=None if count > 1 else True, unit="picture"))
    return progress


def write_json(target: str, answers: Sequence[Answer]) -> None:
    """Write the JSON of the answers, one per line, to a file, or for `-` to the standard output."""
    contents = [answer.content for answer in answers if answer.content]
    text = "".join(f"{json.dumps(content, ensure_ascii=False)}\n" for content in contents)
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text, encoding="utf-8")
