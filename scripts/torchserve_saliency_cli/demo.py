"""Archive the embedded apple-leaf model, serve it, and explain its predictions on drawn leaves."""

from __future__ import annotations

import argparse
import io
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from torchserve_saliency.errors import RequestError
from torchserve_saliency.responses.display import DisplayedExplanation
from torchserve_saliency_cli.client.client import Client
from torchserve_saliency_cli.client.printing import sentence
from torchserve_saliency_cli.contact_sheet import Cell, Section, bars, contact_sheet, outlined, words
from torchserve_saliency_cli.files import work_folder
from torchserve_saliency_cli.leaves.draw import Leaf, draw
from torchserve_saliency_cli.leaves.embedded_archive import NAME, archive_leaves, is_current
from torchserve_saliency_cli.program import program
from torchserve_saliency_cli.torchserve.launch import require_torchserve
from torchserve_saliency_cli.torchserve.server import ServerError, TorchServe

SINGLES: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "rust": (41, ("rust",)),
    "scab": (42, ("scab",)),
    "black_rot": (43, ("black rot",)),
    "healthy": (40, ()),
}
MIXED = (13, ("rust", "scab"))
METHODS = {"gradient": "gradient", "guided_backprop": "guided backpropagation", "grad_cam": "Grad-CAM"}
QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "why rust?": {"target": "rust"},
    "why scab?": {"target": "scab"},
    "why rust and not scab?": {"target": "rust", "against": "scab"},
}
TRUTH = (
    "The generator knows which lesion is which: rust is outlined in orange, scab in blue. "
    "The network never saw these outlines, so they can be compared with the maps."
)
OUTLINES = {"rust": "#ff9a1f", "scab": "#39c6ff"}


@dataclass(frozen=True)
class Explained:
    """The model's answer for a leaf, and the picture of its saliency map."""

    content: DisplayedExplanation
    picture: Image.Image

    @property
    def label(self) -> str:
        """Return the predicted class."""
        return self.content.predictions[0].label

    def probabilities(self) -> dict[str, float]:
        """Return the probability of every class, the highest first."""
        return {each.label: each.probability for each in self.content.predictions}


@dataclass(frozen=True)
class Demonstration:
    """Sends leaves to a server, saves the pictures of their explanations in a folder, and measures the seconds."""

    client: Client
    folder: Path
    seconds: list[float] = field(default_factory=list)

    def explain(self, name: str, leaf: Leaf, options: Mapping[str, str]) -> Explained:
        """Return the explanation of a leaf, printed and saved."""
        began = time.perf_counter()
        explanation = self.client.explain(png(leaf), model=NAME, **options)
        self.seconds.append(time.perf_counter() - began)
        picture = explanation.image()
        out = self.folder / f"{name}.{options['method']}{question(options)}.png"
        picture.save(out)
        best, (one,) = explanation.predictions[0], explanation.maps
        prediction, why = f"{best.label:>9} {best.probability:6.1%}", sentence(one, explanation.method)
        print(f"  {name:<14}{prediction}   {why:<39}{self.seconds[-1] * 1000:5.0f} ms   {shown(out)}")
        return Explained(explanation, picture)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demonstration, or exit with an error message."""
    parser = argparse.ArgumentParser(prog=program("demo"), description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=work_folder() / "demo", help="folder for the pictures (default: demo)"
    )
    folder = parser.parse_args(arguments).out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        require_torchserve()
        demonstrate(work_folder() / "model_store", folder)
    except (ServerError, RequestError) as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError:
        sys.exit("the embedded model could not be archived (the reason is above)")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def demonstrate(store: Path, folder: Path) -> None:
    """Archive, serve and explain; write the pictures and the contact sheet; stop the server."""
    began = time.perf_counter()
    current = is_current(store / f"{NAME}.mar")
    print(f"{shown(archive_leaves(store))} is {'up to date' if current else 'written'} ({since(began)})", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    starting = time.perf_counter()
    with TorchServe(store, {"load_models": f"{NAME}.mar"}, authorize=True, usual_ports=True) as server:
        print(f"TorchServe is ready on {server.url}, token authorization on ({since(starting)})", flush=True)
        demo = Demonstration(Client(server.url, server.token()), folder)
        sheet = contact_sheet("Why did the model predict that?", [predicted_classes(demo), questions(demo)])
    sheet.save(folder / "contact_sheet.png")
    median = statistics.median(demo.seconds) * 1000
    print(f"TorchServe is stopped; {len(demo.seconds)} explanations, median {median:.0f} ms, all in {since(began)}")
    print(f"open {shown(folder / 'contact_sheet.png')}")


def predicted_classes(demo: Demonstration) -> Section:
    """Return the section that explains the predicted class: one leaf per row, one method per column."""
    rows = []
    for name, (seed, diseases) in SINGLES.items():
        leaf = drawn(demo, name, seed, diseases)
        found = [demo.explain(name, leaf, {"method": method}) for method in METHODS]
        first = [Cell(leaf.image, f"drawn: {leaf.label}"), Cell(bars(found[0].probabilities()))]
        rows.append([*first, *(Cell(each.picture, f"why {each.label}") for each in found)])
    return Section(
        "Four leaves, and the evidence for the predicted class",
        "The prediction depends on the bright pixels; around the drawn leaves lie decoys of the same colours.",
        ["the picture", "the predictions", *METHODS.values()],
        rows,
    )


def questions(demo: Demonstration) -> Section:
    """Return the section that asks three questions about one leaf with two diseases."""
    leaf = drawn(demo, "rust_and_scab", *MIXED)
    truth = outlined(leaf.image, leaf.masks, OUTLINES)
    truth.save(demo.folder / "rust_and_scab.truth.png")
    found = {
        method: [demo.explain("rust_and_scab", leaf, {"method": method, **why}) for why in QUESTIONS.values()]
        for method in ("guided_backprop", "grad_cam")
    }
    chart = bars(found["grad_cam"][0].probabilities())
    first = [
        [Cell(leaf.image, f"drawn: {leaf.label}"), Cell(chart)],
        [Cell(truth, "the lesions as they were drawn"), Cell(words(TRUTH))],
    ]
    rows = [
        [*left, *(Cell(each.picture, METHODS[method]) for each in found[method])]
        for left, method in zip(first, found, strict=True)
    ]
    return Section(
        "One leaf with two diseases, and three questions",
        "Only the score differs whose gradient is taken: that of rust, that of scab, and rust minus scab.",
        ["the picture", "the predictions", *QUESTIONS],
        rows,
    )


def drawn(demo: Demonstration, name: str, seed: int, diseases: tuple[str, ...]) -> Leaf:
    """Return a leaf, and save its picture."""
    leaf = draw(seed, diseases)
    leaf.image.save(demo.folder / f"{name}.png")
    return leaf


def question(options: Mapping[str, str]) -> str:
    """Return the classes of a question as a part of a file name; without a class, nothing."""
    classes = "-against-".join(options[name] for name in ("target", "against") if name in options)
    return f".{classes}" if classes else ""


def png(leaf: Leaf) -> bytes:
    """Return a leaf's picture as a PNG file."""
    buffer = io.BytesIO()
    leaf.image.save(buffer, "png")
    return buffer.getvalue()


def shown(path: Path) -> str:
    """Return a path relative to the current folder if it is inside it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def since(began: float) -> str:
    """Return the seconds that have passed, with their unit."""
    return f"{time.perf_counter() - began:.1f} s"
