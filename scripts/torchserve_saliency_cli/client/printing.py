"""The command line's output: tables of predictions, a progress bar, errors, and a summary."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from tqdm import tqdm

from torchserve_saliency.errors import RequestError
from torchserve_saliency.responses.display import DisplayedExplanation
from torchserve_saliency.responses.explanation import Prediction, TargetMap
from torchserve_saliency_cli.client.results import Result

T = TypeVar("T")


def print_full(result: Result, explanation: DisplayedExplanation) -> None:
    """Print a picture's predictions as a table, then the targets explained and the file with their maps."""
    print(f"{result.name} ({result.seconds * 1000:.0f} ms)")
    print(table(explanation.predictions))
    for one in explanation.maps:
        print(f"  explained: {sentence(one, explanation.method)}")
    if not explanation.maps:
        print("  explained: no class")
    for note in notes(explanation):
        print(f"  note: {note}")
    if result.out:
        print(f"  saved: {result.out}")


def print_short(result: Result, explanation: DisplayedExplanation) -> None:
    """Print one line per picture: its predicted class, the true class if that is another, and the file with its map."""
    best = explanation.predictions[0]
    prediction = f"{best.probability:7.2%}  {best.label}"
    verdict = f"  wrong, it is {result.true_class.label}" if result.true_class and result.right is False else ""
    milliseconds = f"{result.seconds * 1000:5.0f} ms"
    line = f"{result.name:<28}  {prediction:<36}  {milliseconds}  {result.out or ''}"
    tqdm.write(line.rstrip() + verdict)


def print_error(name: str, error: RequestError) -> None:
    """Print an error to stderr, with a hint if the token was refused."""
    hint = " (pass --token or --key-file)" if error.type == "InvalidKeyException" else ""
    tqdm.write(f"{name}: {error}{hint}", file=sys.stderr)


def print_summary(right: int, wrong: int, unknown: Mapping[str, str], failed: int) -> None:
    """Print how many predictions were right, by the folders of the pictures, and the folders that are no classes."""
    if right + wrong:
        print(f"right: {right} of {right + wrong} ({right / (right + wrong):.1%})")
    for name, reason in unknown.items():
        print(f"the folder {name!r} is no class of the model: {reason}", file=sys.stderr)
    if failed:
        print(f"no explanation: {failed} of the pictures (see above)", file=sys.stderr)


def table(predictions: Sequence[Prediction]) -> str:
    """Return predictions as aligned lines of probability, label, index and logit."""
    width = max((len(each.label) for each in predictions), default=0)
    return "\n".join(
        f"  {each.probability:8.2%}  {each.label:<{width}}  class {each.index:<4}  logit {each.logit:7.2f}"
        for each in predictions
    )


def sentence(one: TargetMap, method: str) -> str:
    """Return an explanation in words: its class, the class that it is compared with, and its method."""
    rival = f" against {one.against.label}" if one.against else ""
    return f"{one.target.label}{rival}, by {method}"


def notes(explanation: DisplayedExplanation) -> list[str]:
    """Return the warnings about the maps: that of the sanity test, and those of each map, each once."""
    found = [explanation.sanity] if explanation.sanity else []
    for one in explanation.maps:
        texts = one.findings.get("notes", ())
        found += texts if isinstance(texts, list | tuple) else [str(texts)]
    return list(dict.fromkeys(found))


def with_progress(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the items, with a progress bar on stderr if there are several and stderr is a terminal."""
    progress: Iterator[T] = iter(tqdm(items, total=count, disable=None if count > 1 else True, unit="picture"))
    return progress
