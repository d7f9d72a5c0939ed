"""Explanations in a notebook."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tools.cases.case import Case, check
from tools.cases.inputs import (
    LABELS,
    MEAN,
    SIDE,
    STD,
    bare_logits,
    check_logits,
    file_of,
    photograph,
    preprocessed_by_torchvision,
    seeded_network,
)
from tools.cases.workshop import Workshop
from torchserve_saliency import Explainer, RequestError
from torchserve_saliency_cli.files import cli_folder, engine_folder
from torchserve_saliency_cli.leaves.draw import draw
from torchserve_saliency_cli.leaves.embedded_archive import archive_leaves

README = Path(__file__).resolve().parents[2] / "README.md"
SEED = 4  # of the leaf in demo/leaf.png
REPORT = """
import json
print(json.dumps({"class": explanation.predictions[0].label, "map": explanation.array[0].tolist()}))
"""


def small_explainer() -> Explainer:
    """Return the explainer of a small network in memory."""
    return Explainer.of(seeded_network(), labels=LABELS, size=SIDE, resize=SIDE, mean=MEAN, std=STD)


def block_of_the_readme(workshop: Workshop) -> str:
    """E1: the block runs as it stands, and its map points to the lesions that were drawn."""
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (code,) = [block for block in blocks if "Explainer" in block]
    leaf = draw(SEED, ["rust", "scab"])
    archive_leaves(workshop.folder / "model_store", quiet=True)
    (workshop.folder / "demo").mkdir()
    leaf.image.save(workshop.folder / "demo" / "leaf.png")
    path = os.pathsep.join([str(engine_folder()), str(cli_folder())])
    run = [sys.executable, "-c", code + REPORT]
    done = subprocess.run(
        run, cwd=workshop.folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    check(done.returncode == 0, done.stderr[-500:])
    answer = json.loads(done.stdout)
    values = np.array(answer["map"])
    rust = float(values[leaf.masks["rust"]].mean() / values.mean())
    scab = float(values[leaf.masks["scab"]].mean() / values.mean())
    check(rust > 2 and rust > scab, f"the map of rust is {rust:.1f} times its mean on rust, {scab:.1f} times on scab")
    check((workshop.folder / "rust.png").is_file(), "rust.png was not written")
    return (
        f"runs; the map of rust is {rust:.1f} times its mean on the rust that was drawn, {scab:.1f} times on the scab"
    )


def kinds_of_pictures(workshop: Workshop) -> str:
    """E2: every kind of picture that a notebook holds gives the logits of the bare network."""
    explainer = small_explainer()
    image = photograph()
    data, pixels = file_of(image), np.array(image)
    path = workshop.folder / "picture.png"
    path.write_bytes(data)
    fields = torch.from_numpy(pixels).permute(2, 0, 1)
    kinds: Mapping[str, Any] = {
        "a path": path,
        "a path as text": str(path),
        "bytes": data,
        "an open file": path.open("rb"),
        "BytesIO": io.BytesIO(data),
        "PIL.Image": image,
        "an array [H, W, 3]": pixels,
        "floats from 0 to 1": pixels / 255,
        "an array that is not contiguous": np.asfortranarray(pixels),
        "a uint8 tensor [3, H, W]": fields,
        "a uint8 tensor [1, 3, H, W]": fields[None],
        "the network's input": preprocessed_by_torchvision(image),
    }
    expected = bare_logits(preprocessed_by_torchvision(image))
    for name, picture in kinds.items():
        _check_kind(name, explainer, picture, expected)
    grey = image.convert("L")
    expected = bare_logits(preprocessed_by_torchvision(grey))
    for name, picture in {"an array [H, W]": np.array(grey), "PIL.Image in mode L": grey}.items():
        _check_kind(name, explainer, picture, expected)
    for wrong in (
        pixels.astype(float),
        pixels.transpose(2, 0, 1),
        [image],
        fields.float(),
        "https://example.org/a.png",
    ):
        _check_refused(explainer, wrong)
    return f"{len(kinds) + 2} kinds of pictures taken; floats up to 255, channels first, lists and addresses refused"


def _check_kind(name: str, explainer: Explainer, picture: Any, expected: Mapping[str, float]) -> None:
    """Raise AssertionError if the logits for a picture are not the expected ones."""
    try:
        check_logits(explainer.explain(picture).to_dict()["predictions"], expected)
    except Exception as error:
        raise AssertionError(f"{name}: {error}") from error


def _check_refused(explainer: Explainer, picture: Any) -> None:
    """Raise AssertionError if a value that is no picture is not refused."""
    try:
        explainer.explain(picture)
    except RequestError as error:
        check(error.status == 400 and error.option == "data", f"{error.status} for {error.option}")
    else:
        raise AssertionError(f"{type(picture).__name__} {getattr(picture, 'shape', '')} is not refused")


def shown_in_a_cell(workshop: Workshop) -> str:
    """E3: an explanation shows itself, is drawn again without the network, and is saved."""
    explanation = small_explainer().explain(photograph(), target="top2", method="grad_cam")
    html = explanation._repr_html_()
    for word in (explanation.predictions[0].label, "grad_cam", "<img", f"{explanation.predictions[0].probability:.1%}"):
        check(word in html, f"{word!r} is not in the HTML")
    check(html.count("<img") == 2, "there is not one picture per target")
    png = explanation._repr_png_()
    check(png is not None and Image.open(io.BytesIO(png)).format == "PNG", "no PNG for the cell")
    drawn = {render: explanation.image(render=render) for render in ("overlay", "heatmap", "masked", "contours")}
    check(len({image.tobytes() for image in drawn.values()}) == len(drawn), "two ways to draw give the same picture")
    check({image.size for image in drawn.values()} == {(2 * SIDE, SIDE)}, f"sizes {drawn['overlay'].size}")
    for suffix in ("png", "jpg", "webp", "npy", "json"):
        path = explanation.save(workshop.folder / f"map.{suffix}")
        check(path.stat().st_size > 0, f"{path.name} is empty")
    check(bool((np.load(workshop.folder / "map.npy") == explanation.array).all()), "the saved array differs")
    with Image.open(workshop.folder / "map.png") as saved:
        check(saved.tobytes() == drawn["overlay"].tobytes(), "the saved picture is not the overlay")
    check(json.loads((workshop.folder / "map.json").read_text()) == explanation.to_dict(), "the saved JSON differs")
    return "predictions, overlays and method in HTML and PNG; four renders; saved as png, jpg, webp, npy, json"


def network_in_memory(workshop: Workshop) -> str:
    """E4: a network is explained without an archive, and is left as it is."""
    network = seeded_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    explainer = Explainer.of(network, labels=LABELS, size=SIDE, resize=SIDE, mean=MEAN, std=STD)
    image = photograph()
    explanation = explainer.explain(image, target="rust")
    values = preprocessed_by_torchvision(image)
    check_logits(explanation.to_dict()["predictions"], bare_logits(values))
    own = values.double().requires_grad_()
    (gradient,) = torch.autograd.grad(seeded_network().double()(own)[0, LABELS.index("rust")], own)
    expected = gradient[0].abs().amax(0).numpy()
    error = float(np.abs(explanation.array[0] - expected).max() / expected.max())
    check(error < 1e-4, f"the map differs from plain autograd by {error:g} of its maximum")
    same = all(bool((value == before[name]).all()) for name, value in network.state_dict().items())
    check(same and network.training, "the network was changed")
    multi = Explainer.of(seeded_network(), labels=LABELS, size=SIDE, resize=SIDE, activation="sigmoid")
    sigmoid = multi.explain(image, target="above0.5")
    probabilities = {label: 1 / (1 + np.exp(-logit)) for label, logit in bare_logits(values).items()}
    above = sorted((label for label in LABELS if probabilities[label] >= 0.5), key=lambda label: -probabilities[label])
    check(
        [one.target.label for one in sigmoid.maps] == above, f"above 0.5: {[one.target.label for one in sigmoid.maps]}"
    )
    return f"the map of plain autograd to {error:.0e}; sigmoid and above0.5 too; the network is unchanged"


CASES: tuple[Case, ...] = (
    Case("E1", "the README's block for a notebook", block_of_the_readme),
    Case("E2", "a path, bytes, a file, a PIL.Image, arrays, tensors", kinds_of_pictures),
    Case("E3", "an explanation at the end of a cell", shown_in_a_cell),
    Case("E4", "a network in memory, Explainer.of(…)", network_in_memory),
)
