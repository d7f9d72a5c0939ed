"""C1 to C5 and C7: the class or function that is meant, its arguments, its files, its packages, its handler."""

from __future__ import annotations

import importlib
import sys

import torch

from tools.cases.case import check
from tools.cases.inputs import file_of, photograph
from tools.cases.own_network import (
    HEAD,
    INPUT,
    NET,
    archive_own,
    check_not_archived,
    check_right,
    defined,
    names,
    network_input,
    seeded,
)
from tools.cases.workshop import InProcess, Workshop
from torchserve_saliency.model.model_file import network_from_file

BLOCKS = """
class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(6, 6)

    def forward(self, x):
        return x * self.scale(x.mean((2, 3))).sigmoid()[..., None, None]

class Focal(nn.Module):
    gamma = 2

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = self.make_gate()

    def make_gate(self):
        raise NotImplementedError
"""
GATED = """
class Net(Base):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.head = nn.Linear(6, 3)

    def make_gate(self):
        return Gate()

    def forward(self, x):
        return self.head(self.gate(self.conv(x)).relu().mean((2, 3)))
"""
OTHER = NET.replace("Net", "Other").replace(".relu()", ".tanh()")
MAKERS = """
make = lambda classes: Net(classes)

def build(cfg, scale=1):
    network = Net(cfg["classes"])
    network.conv.weight.data.mul_(scale)
    return network

ready = Net(4)
"""
STRICT = NET.replace("classes=3", "classes")
SMALL = "    @classmethod\n    def small(cls, classes):\n        return cls(classes)\n"


FILES = """
from layers import FACTOR
import tqdm

def scaled():
    from late import OFFSET
    return FACTOR + OFFSET + tqdm.MINE
"""


def several_classes(workshop: Workshop) -> str:
    """C1: parts, a loss and a base class beside the network; two whole networks."""
    network = seeded(defined(BLOCKS + GATED))
    server = workshop.handler(archive_own(workshop, BLOCKS + GATED, network.state_dict()))
    check_right(server, network)
    plain = seeded(defined(NET))
    both = archive_own(workshop, NET + OTHER, plain.state_dict(), "--model-name", "both")
    (workshop.folder / "net.mar").unlink()
    message = check_not_archived(both, "--class", "Net", "Other")
    other = seeded(defined(OTHER, "Other"))
    chosen = archive_own(workshop, NET + OTHER, plain.state_dict(), "--class", "Other")
    check_right(workshop.handler(chosen), other)
    return f"the network that is no part; two networks: {message}"


def constructor_arguments(workshop: Workshop) -> str:
    """C2: a class that needs an argument."""
    network = seeded(defined(STRICT), 5)
    state = network.state_dict()
    server = workshop.handler(archive_own(workshop, STRICT, state, "--arguments", '{"classes": 5}'))
    logits = check_right(server, network)
    (workshop.folder / "net.mar").unlink()
    check_not_archived(archive_own(workshop, STRICT, state, "--arguments", '{"clases": 5}'), "--arguments", "classes")
    check_not_archived(archive_own(workshop, STRICT, state, "--arguments", "classes=5"), "--arguments", "JSON")
    check_not_archived(archive_own(workshop, STRICT, state, "--arguments", '{"classes": 4}'), "4", "5")
    message = check_not_archived(archive_own(workshop, STRICT, state), "--arguments", "Net(classes)")
    return f"{len(logits)} classes; without --arguments: {message}"


def functions(workshop: Workshop) -> str:
    """C3: a function, a lambda, a class method or a variable that is the network."""
    network = seeded(defined(STRICT), 4)
    code, state = STRICT + SMALL + MAKERS, network.state_dict()
    cfg = '{"cfg": {"classes": 4}, "scale": 3}'
    archived = archive_own(workshop, code, state, "--class", "build", "--arguments", cfg)
    check_right(workshop.handler(archived), network)
    for name, arguments in (("make", {"classes": 4}), ("Net.small", {"classes": 4}), ("ready", {})):
        found = network_from_file(workshop.folder / "net.py", name, arguments)
        found.load_state_dict(state)
        check(torch.equal(found(torch.ones(1, 3, 8, 8)), network(torch.ones(1, 3, 8, 8))), f"{name} is another network")
    check_right(workshop.handler(archive_own(workshop, STRICT + "model = Net(4)\n", state)), network)
    (workshop.folder / "net.mar").unlink()
    wrong = archive_own(workshop, code, state, "--class", "ready", "--arguments", '{"classes": 4}')
    check_not_archived(wrong, "--arguments", "'ready'")
    message = check_not_archived(archive_own(workshop, code, state, "--class", "bild"), "--class", "build")
    return f"a function, a lambda, a class method, a variable; a wrong name: {message}"


def several_files(workshop: Workshop) -> str:
    """C4: a module, a package and a folder of modules, with names that others have, in two archives at once."""
    servers = []
    for factor in (2, 3):
        folder = workshop.folder / f"part{factor}"
        code = f"from blocks import scaled\nfrom . import tqdm\n{HEAD}{NET.replace('.relu()', '.relu() * scaled()')}"
        workshop.write(f"{folder.name}/net.py", code)
        workshop.write(f"{folder.name}/blocks.py", FILES)
        workshop.write(f"{folder.name}/layers/__init__.py", "from .deep.factor import FACTOR\n")
        workshop.write(f"{folder.name}/layers/deep/factor.py", f"import layers\nFACTOR = {factor}\n")
        late = "import importlib\nOFFSET = importlib.import_module('blocks').FACTOR\n"
        workshop.write(f"{folder.name}/folder/late.py", late)
        workshop.write(f"{folder.name}/tqdm.py", "MINE = 1\n")
        network = seeded(defined(NET.replace(".relu()", f".relu() * {2 * factor + 1}")))
        files = names([folder / each for each in ("blocks.py", "layers", "folder", "tqdm.py")])
        weights = workshop.save("net.pt", network.state_dict())
        flags = ("--model-file", folder / "net.py", "--weights", weights, *INPUT)
        servers.append((workshop.handler(workshop.archive(*flags, "--extra-files", files)), network))
    for server, network in servers:
        check_right(server, network)
    (workshop.folder / "net.mar").unlink()
    message = check_not_archived(workshop.archive(*flags), "--extra-files", "blocks.py", "line 1")
    return f"each has its own files; without --extra-files: {message}"


def required_packages(workshop: Workshop) -> str:
    """C5: a package that the image lacks."""
    network = seeded(defined(NET))
    code = "import tqdm\n" + NET
    listed = workshop.write("needed.txt", "tqdm>=4\n")
    unlisted = archive_own(workshop, code, network.state_dict())
    check("not held" in unlisted.output and "tqdm (net.py, line" in unlisted.output, unlisted.output[-500:])
    archived = archive_own(workshop, code, network.state_dict(), "--requirements-file", listed)
    check("install_py_dep_per_model=true" in archived.output, "config.properties is not named")
    check("not held" not in archived.output, "a listed package is named as missing")
    server = workshop.handler(archived)
    check_right(server, network)
    manifest = next((workshop.folder / "unpacked").glob("*/MAR-INF/MANIFEST.json")).read_text()
    check('"requirementsFile": "needed.txt"' in manifest, manifest)
    return "held as torch-model-archiver holds it; install_py_dep_per_model=true is named"


HANDLER = """
from dataclasses import replace
from saliency_handler import SaliencyHandler

class Doubting(SaliencyHandler):
    def postprocess(self, run, calls):
        return [replace(each, headers={**each.headers, "X-Doubt": "yes"}) for each in super().postprocess(run, calls)]
"""


def _with_handler_of(workshop: Workshop, server: InProcess) -> InProcess:
    """Return the server with the handler `Doubting` of the unpacked archive, imported as TorchServe imports it."""
    (folder,) = (workshop.folder / "unpacked").iterdir()
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module("my_handler")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("my_handler", None)
    handler = module.Doubting()
    handler.initialize(server.context)
    return InProcess(handler, server.context)


def own_handler(workshop: Workshop) -> str:
    """C7: a subclass of SaliencyHandler, loaded from the archive as TorchServe does."""
    network = seeded(defined(NET))
    handler = workshop.write("my_handler.py", HANDLER)
    archived = archive_own(workshop, NET, network.state_dict(), "--handler", handler)
    server = _with_handler_of(workshop, workshop.handler(archived))
    check_right(server, network)
    picture = file_of(photograph())
    answer = server.ask({"data": picture}, explain=False)
    check(answer.headers.get("X-Doubt") == "yes", f"headers {dict(answer.headers)}")
    with torch.no_grad():
        expected = network(network_input(photograph())).softmax(1).max()
    check(abs(max(answer.body.values()) - float(expected)) < 1e-5, f"{answer.body}")
    (workshop.folder / "net.mar").unlink()
    workshop.write("my_handler.py", "class Mine:\n    def handle(self, data, context):\n        return data\n")
    wrong = archive_own(workshop, NET, network.state_dict(), "--handler", handler)
    message = check_not_archived(wrong, "--handler", "SaliencyHandler")
    return f"its header is in the answer; another class: {message}"
