"""F5 and F9: the accuracy on a folder, the preprocessing in the summary, and imports that the archive does not hold."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from tools.cases.case import check
from tools.cases.own_network import HEAD, INPUT, NET, archive_own, check_not_archived, defined, network_input, seeded
from tools.cases.workshop import Workshop

COLOURS = {"red": (230, 30, 20), "green": (30, 220, 40), "blue": (20, 40, 240)}


def accuracy_on_a_folder(workshop: Workshop) -> str:
    """F5: pictures in folders of their classes; a wrong normalisation shows, and too low an accuracy is refused."""
    network = _colours()
    for label, colour in COLOURS.items():
        for number in range(4):
            picture = Image.new("RGB", (20, 16), colour if number else COLOURS["red"])
            path = workshop.folder / "test" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
            right = list(COLOURS).index(label) if number else 0
            check(int(network(network_input(picture)).argmax()) == right, f"{path}: the network is not as expected")
    flags = ("--labels", workshop.write("labels.txt", "\n".join(COLOURS)), "--check-folder", workshop.folder / "test")
    archived = archive_own(workshop, NET, network.state_dict(), *flags, "--min-accuracy", 0.8)
    for words in (
        "83.3% of 12 pictures",
        "red    4 of 4",
        "green  3 of 4, mostly taken for red",
        "16 x 16, 3 channels (RGB): resize shorter side to 16, bilinear, then centre crop",
        "mean 0.5 0.5 0.5, std 0.25 0.25 0.25",
        "checking the archive",
    ):
        check(words in archived.output, f"{words!r} is not in: {archived.output[-900:]}")
    (workshop.folder / "net.mar").unlink()
    wrong = archive_own(workshop, NET, network.state_dict(), *flags, "--min-accuracy", 0.9)
    check_not_archived(wrong, "83.3%", "--min-accuracy 0.9", "--input-size", "mostly taken for red")
    nothing = workshop.archive("--arch", "resnet18", "--weights", "none", "--min-accuracy", 0.9)
    check_not_archived(nothing, "--check-folder")
    return "83.3 % of 12 pictures, by class; refused below --min-accuracy 0.9"


def _colours() -> Any:
    """Return a network whose classes are the channels of the picture."""
    network: Any = seeded(defined(NET))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for channel in range(3):
            network.conv.weight[channel, channel, 1, 1] = 1
            network.head.weight[channel, channel] = 1
        network.conv.bias.fill_(2)
    return network


FAILING = {
    "import nothing_of_this_name.models\n": ("nothing_of_this_name", "line 4", "--requirements-file"),
    "SIZES = {'tiny': 1}\nWIDTH = SIZES['large']\n": (
        "'large'",
        "KeyError",
        "net.py, line 5",
        "WIDTH = SIZES['large']",
    ),
    "def make(:\n": ("invalid syntax", "net.py, line 4"),
    "raise SystemExit('give a configuration')\n": ("give a configuration", "net.py, line 4"),
    "open('settings.yaml')\n": ("settings.yaml", "net.py, line 4", "--extra-files"),
}


def imports_that_are_missing(workshop: Workshop) -> str:
    """F9: an import that the archive does not hold is named; a file that fails shows its own last line and where."""
    network = seeded(defined(NET))
    code = "import tqdm\nimport numpy, json\n" + NET + "\n    def show(self):\n        from pytest import approx\n"
    archived = archive_own(workshop, code, network.state_dict())
    check(archived.status == 0, archived.output[-500:])
    check("tqdm (net.py, line 4), pytest (net.py, line" in archived.output, archived.output[-900:])
    check("--requirements-file" in archived.output, "the flag is not named")
    held = archived.output.partition("not held")[2].splitlines()[0]
    check("numpy" not in held and "json" not in held and "torch," not in held, held)
    archived.path.unlink()
    for code, words in FAILING.items():
        check_not_archived(archive_own(workshop, code + NET, network.state_dict()), *words)
    blocks = workshop.write("blocks.py", "import torch\n\nDEEP = torch.zeros(2)[5]\n")
    workshop.write("net.py", f"from blocks import DEEP\n{HEAD}{NET}")
    own = ("--model-file", workshop.folder / "net.py", "--weights", workshop.folder / "net.pt", *INPUT)
    message = check_not_archived(
        workshop.archive(*own, "--extra-files", blocks), "IndexError", "blocks.py, line 3", "DEEP = torch.zeros(2)[5]"
    )
    return f"named with file and line; {message}"
