"""Take the pictures of docs/page.md: the page with real networks, in Chromium.

    python -m tools.page_pictures --data ../shared/data --out docs

The folder of data holds the weights and the photographs that the tests of real networks use.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from PIL import Image

from tools.browser import chromium, running_page
from torchserve_saliency_cli.files import command
from torchserve_saliency_cli.leaves.draw import draw
from torchserve_saliency_cli.leaves.embedded_archive import archive_leaves
from torchserve_saliency_cli.torchserve.properties import KEY_FILE
from torchserve_saliency_cli.torchserve.server import TorchServe

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDTH, HEIGHT = 1280, 800
LONGEST = 120_000.0  # milliseconds
QUALITY = 88
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_NETWORK = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)
        self.pool, self.relu = nn.MaxPool2d(2, 2), nn.ReLU()

    def forward(self, x):
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.relu(self.fc1(x.flatten(1)))
        return self.fc3(self.relu(self.fc2(x)))
"""
# The parts of the link of each picture.
PICTURES: Mapping[str, Sequence[tuple[str, str]]] = {
    "page.jpg": [
        ("model", "squeezenet"),
        ("picture", "sample:dog_and_cat.png"),
        ("class", "tiger cat"),
        ("against", "runner_up"),
        ("smooth", "1"),
        *(("card", method) for method in ("gradient", "smooth_grad", "grad_cam")),
    ],
    "page_leaves.jpg": [
        ("model", "leaves"),
        ("picture", "sample:rust and scab.png"),
        ("class", "rust"),
        *(("card", method) for method in ("gradient", "integrated_gradients?score=logit", "rise?score=logit")),
    ],
    "page_cifar.jpg": [
        ("model", "cifar"),
        ("picture", "sample:ship.png"),
        *(("card", method) for method in ("gradient", "grad_cam", "occlusion?score=logit")),
    ],
}
GALLERY = ("page_gallery.jpg", [("model", "cifar"), ("view", "gallery"), ("card", "gradient"), ("order", "least sure")])


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of weights and photographs")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the pictures (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store, samples = Path(scratch) / "store", Path(scratch) / "samples"
        archive_networks(args.data, store)
        collect_samples(args.data, samples)
        with TorchServe(store, authorize=True) as server, chromium() as browser:
            addresses = ("--url", server.url, "--management-url", server.management_url)
            keys = ("--key-file", str(server.folder / KEY_FILE))
            with running_page(*addresses, *keys, "--samples", str(samples)) as url:
                for name, parts in PICTURES.items():
                    file = dict(parts)["picture"].removeprefix("sample:")
                    take(browser, f"{url}#{urlencode([*parts, ('file', file)])}", args.out / name)
            with running_page(*addresses, *keys, "--samples", str(args.data / "cifar10")) as url:
                take(browser, f"{url}#{urlencode(GALLERY[1])}", args.out / GALLERY[0], whole=False)


def archive_networks(data: Path, store: Path) -> None:
    """Archive the embedded model, SqueezeNet, and the network of Captum's tutorial."""
    archive_leaves(store)
    network, labels = store.parent / "net.py", store.parent / "labels.txt"
    network.write_text(CIFAR_NETWORK, encoding="utf-8")
    labels.write_text("\n".join(CIFAR_CLASSES), encoding="utf-8")
    squeezenet = ("--arch", "squeezenet1_1", "--weights", data / "weights" / "squeezenet1_1.pt")
    cifar = ("--model-file", network, "--serialized-file", data / "weights" / "cifar_torchvision.pt")
    flags = (
        "--labels",
        labels,
        "--input-size",
        "32",
        "--resize",
        "32",
        "--mean",
        "0.5,0.5,0.5",
        "--std",
        "0.5,0.5,0.5",
    )
    for name, words in (("squeezenet", squeezenet), ("cifar", (*cifar, *flags))):
        own = ("--model-name", name, "--export-path", store, *words)
        subprocess.run([*command("archive"), *map(str, own)], check=True)


def collect_samples(data: Path, folder: Path) -> None:
    """Copy the photographs and a ship to a folder, and draw a leaf."""
    folder.mkdir()
    ship = min((data / "cifar10" / "ship").iterdir())
    for file in (data / "photos").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    Image.open(ship).save(folder / "ship.png")
    draw(4, ["rust", "scab"]).image.save(folder / "rust and scab.png")


def take(browser: Browser, link: str, file: Path, whole: bool = True) -> None:
    """Write a picture of the page that a link opens; if `whole`, with the part below the window."""
    from playwright.sync_api import expect

    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
    page.goto(link)
    expect(page.get_by_role("status")).to_have_text(re.compile("done$"), timeout=LONGEST)
    expect(page.get_by_role("alert")).to_have_count(0)
    page.wait_for_load_state("networkidle")
    shot = page.screenshot(full_page=whole)
    Image.open(io.BytesIO(shot)).convert("RGB").save(file, quality=QUALITY)
    page.close()
    print(file)


if __name__ == "__main__":
    main()
