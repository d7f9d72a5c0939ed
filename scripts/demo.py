"""The demonstration: archive the embedded apple-leaf model, serve it, and show in demo/ why it says what it says."""

from __future__ import annotations

import argparse
import io
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from scripts.client import RefusedError, Said, Service, UnreachableError
from scripts.embedded import NAME, archive_leaves, is_current
from scripts.leaves.draw import Leaf, draw
from scripts.report import sentence
from scripts.server import ServerError, TorchServe
from scripts.sheet import Cell, Section, bars, contact_sheet, outlined, words

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
    "The maps never saw these outlines, and can be held against them."
)
OUTLINES = {"rust": "#ff9a1f", "scab": "#39c6ff"}


@dataclass(frozen=True)
class Seen:
    """What the model said of a leaf, and the picture of why."""

    said: Said
    picture: Image.Image

    def shares(self) -> dict[str, float]:
        """Return every class's probability, the best first."""
        return {each["label"]: each["probability"] for each in self.said["predictions"]}


@dataclass(frozen=True)
class Viewer:
    """Asks a service why, and keeps every picture in a folder and every request's seconds."""

    service: Service
    folder: Path
    seconds: list[float] = field(default_factory=list)

    def see(self, name: str, leaf: Leaf, options: Mapping[str, str]) -> Seen:
        """Return the answer to one question about a leaf; prints it and saves its picture."""
        began = time.perf_counter()
        answer = self.service.explain(png(leaf), {"render": "overlay", **options}, f"{name}.png")
        self.seconds.append(time.perf_counter() - began)
        picture = answer.picture()
        if answer.said is None or picture is None:
            raise ServerError("the server sent no picture")
        out = self.folder / f"{name}.{options['method']}{question(options)}.png"
        picture.save(out)
        best, (entry,) = answer.said["predictions"][0], answer.said["explanations"]
        seen = f"{best['label']:>9} {best['probability']:6.1%}"
        print(f"  {name:<14}{seen}   {sentence(entry):<39}{self.seconds[-1] * 1000:5.0f} ms   {shown(out)}")
        return Seen(answer.said, picture)


def main() -> None:
    """Run the demonstration, or exit with a sentence that tells why it could not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "demo", help="where the pictures go (default: demo/)")
    folder = parser.parse_args().out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        demonstrate(ROOT / "model_store", folder)
    except (ServerError, RefusedError, UnreachableError) as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError:
        sys.exit("the embedded model could not be archived (the reason is above)")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def demonstrate(store: Path, folder: Path) -> None:
    """Archive, serve, explain, and write the pictures and the contact sheet; the server is stopped at the end."""
    began = time.perf_counter()
    current = is_current(store / f"{NAME}.mar")
    print(f"{shown(archive_leaves(store))} is {'up to date' if current else 'written'} ({since(began)})", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    starting = time.perf_counter()
    with TorchServe(store, {"load_models": f"{NAME}.mar"}, authorize=True, usual_ports=True) as server:
        print(f"TorchServe is ready on {server.url}, token authorization on ({since(starting)})", flush=True)
        viewer = Viewer(Service(server.url, NAME, token=server.token()), folder)
        sheet = contact_sheet("Why did the model say that?", [predicted(viewer), asked(viewer)])
    sheet.save(folder / "contact_sheet.png")
    median = statistics.median(viewer.seconds) * 1000
    print(f"TorchServe is stopped; {len(viewer.seconds)} explanations, median {median:.0f} ms, all in {since(began)}")
    print(f"open {shown(folder / 'contact_sheet.png')}")


def predicted(viewer: Viewer) -> Section:
    """Return the section that explains the class the model predicts, a leaf a row, a method a column."""
    rows = []
    for name, (seed, diseases) in SINGLES.items():
        leaf = drawn(viewer, name, seed, diseases)
        views = [viewer.see(name, leaf, {"method": method}) for method in METHODS]
        first = [Cell(leaf.image, f"drawn: {leaf.label}"), Cell(bars(views[0].shares()))]
        rows.append([*first, *(Cell(view.picture, f"why {best(view)}") for view in views)])
    return Section(
        "Four leaves, and what spoke for the predicted class",
        "Bright is what the answer depends on; the leaves are drawn, with decoys of the same colours around them.",
        ["the picture", "what the model says", *METHODS.values()],
        rows,
    )


def asked(viewer: Viewer) -> Section:
    """Return the section that asks three questions about one leaf with two diseases."""
    leaf = drawn(viewer, "rust_and_scab", *MIXED)
    truth = outlined(leaf.image, leaf.masks, OUTLINES)
    truth.save(viewer.folder / "rust_and_scab.truth.png")
    views = {
        method: [viewer.see("rust_and_scab", leaf, {"method": method, **why}) for why in QUESTIONS.values()]
        for method in ("guided_backprop", "grad_cam")
    }
    said = bars(views["grad_cam"][0].shares())
    first = [
        [Cell(leaf.image, f"drawn: {leaf.label}"), Cell(said)],
        [Cell(truth, "the lesions as they were drawn"), Cell(words(TRUTH))],
    ]
    rows = [
        [*left, *(Cell(view.picture, METHODS[method]) for view in views[method])]
        for left, method in zip(first, views, strict=True)
    ]
    return Section(
        "One leaf with two diseases, and three questions",
        "Only the score that is traced back differs: that of rust, that of scab, and rust minus scab.",
        ["the picture", "what the model says", *QUESTIONS],
        rows,
    )


def drawn(viewer: Viewer, name: str, seed: int, diseases: tuple[str, ...]) -> Leaf:
    """Return a leaf, its picture saved."""
    leaf = draw(seed, diseases)
    leaf.image.save(viewer.folder / f"{name}.png")
    return leaf


def question(options: Mapping[str, str]) -> str:
    """Return what is asked, as a part of a file name; nothing where the predicted class is."""
    asked_for = "-against-".join(options[name] for name in ("target", "against") if name in options)
    return f".{asked_for}" if asked_for else ""


def png(leaf: Leaf) -> bytes:
    """Return a leaf's picture as a PNG file."""
    buffer = io.BytesIO()
    leaf.image.save(buffer, "png")
    return buffer.getvalue()


def best(seen: Seen) -> str:
    """Return the predicted class."""
    return seen.said["predictions"][0]["label"]


def shown(path: Path) -> str:
    """Return a path as a person would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def since(began: float) -> str:
    """Return the seconds since then, in words."""
    return f"{time.perf_counter() - began:.1f} s"


if __name__ == "__main__":
    main()
