"""The network in a user's file: the class or function that is meant, its arguments, and the files that it imports."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from tests.archives import laid_out, model_file
from torchserve_saliency.errors import ModelError
from torchserve_saliency.model.classifier import load_classifier
from torchserve_saliency.model.model_file import find_in_file, network_from_file

NET = """
class Net(nn.Module):
    def __init__(self, num_classes=3, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)))
"""
PART = """
class Squeeze(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.gate = nn.Linear(width, width)

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.squeeze = Squeeze()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
"""


@pytest.mark.parametrize(
    "code",
    [
        PART,
        f"class FocalLoss(nn.Module):\n    gamma = 2\n{NET}",  # it has no parameters
        f"class Base(nn.Module):\n    pass\n{NET.replace('Net(nn.Module)', 'Net(Base)')}",
        f"{NET}\nclass _Old(Net):\n    pass\n".replace("class Net", "class _Kept").replace("_Old(Net)", "Net(_Kept)"),
    ],
)
def test_c1_the_network_is_the_class_that_is_no_part_of_another(tmp_path: Path, code: str) -> None:
    """C1: small modules of its own beside the network."""
    assert find_in_file(model_file(tmp_path, code))[0] == "Net"


def test_c1_the_network_is_the_class_that_fits_the_weights(tmp_path: Path) -> None:
    path = model_file(tmp_path, NET + NET.replace("Net", "Other").replace("self.head", "self.top"))
    with pytest.raises(ModelError, match="not 2: Net, Other; --class NAME says which"):
        find_in_file(path)
    assert find_in_file(path, fits=lambda network: int("top.bias" in network.state_dict()))[0] == "Other"
    assert find_in_file(path, "Net")[0] == "Net"


def test_c1_an_unknown_name_is_an_error_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no class and no function 'Ne1t'; did you mean Net"):
        find_in_file(model_file(tmp_path, NET), "Ne1t")


def test_c2_arguments_reach_the_class(tmp_path: Path) -> None:
    """C2: a constructor with arguments."""
    path = model_file(tmp_path, NET.replace("num_classes=3", "num_classes"))
    assert network_from_file(path, None, {"num_classes": 5}).get_submodule("head").out_features == 5
    with pytest.raises(ModelError, match=r"--arguments gives them .*Net\(num_classes, width=4\)"):
        find_in_file(path)
    with pytest.raises(ModelError, match=r"'Net' cannot be built .*: missing a required argument: 'num_classes'"):
        find_in_file(path, "Net", {"width": 5})
    with pytest.raises(ModelError, match=r"'Net' cannot be built .*unexpected keyword argument 'classes'"):
        find_in_file(path, "Net", {"num_classes": 2, "classes": 5})


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (f"{NET}\ndef tiny(classes: int) -> nn.Module:\n    return Net(classes)", "tiny"),
        (f"{NET}\ndef tiny(classes: int) -> 'Net':\n    return Net(classes)", "tiny"),
        ("def make_network(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, classes))", "make_network"),
        (
            "from torchvision.models import resnet18\ndef build(classes):\n    return resnet18(num_classes=classes)",
            "build",
        ),
    ],
)
def test_c3_a_function_makes_the_network(tmp_path: Path, code: str, name: str) -> None:
    """C3: a function that returns the network, with arguments that no class takes."""
    found, network = find_in_file(model_file(tmp_path, code), None, {"classes": 7})
    assert found == name
    assert list(network.parameters())[-1].shape == (7,)
    assert find_in_file(model_file(tmp_path, code), name, {"classes": 2})[0] == name


def test_c3_a_function_is_preferred_if_no_class_fits_the_weights(tmp_path: Path) -> None:
    path = model_file(tmp_path, f"{NET}\ndef wide() -> nn.Module:\n    return Net(3, 9)")
    assert find_in_file(path, fits=lambda network: int(network.get_submodule("conv").out_channels == 9))[0] == "wide"


def test_c3_no_function_is_called_that_does_not_say_that_it_makes_a_network(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    code = f"def train():\n    open({str(marker)!r}, 'w')"
    with pytest.raises(ModelError, match="not 0: none; --class NAME can also name a function"):
        find_in_file(model_file(tmp_path, code))
    assert not marker.exists()


def test_c3_a_method_a_lambda_or_a_variable_can_be_named(tmp_path: Path) -> None:
    small = "    @classmethod\n    def small(cls, n):\n        return cls(n)\n"
    path = model_file(tmp_path, f"{NET}\n{small}\nmake = lambda n: Net(n)\nready = Net(2)")
    for name in ("Net.small", "make"):
        assert network_from_file(path, name, {"n": 2}).get_submodule("head").out_features == 2
    assert network_from_file(path, "ready").get_submodule("head").out_features == 2
    with pytest.raises(ModelError, match=r"--arguments: 'ready' in 'net\.py' is a network already"):
        network_from_file(path, "ready", {"n": 2})


def test_c3_a_variable_is_the_network_if_no_class_and_no_function_is(tmp_path: Path) -> None:
    path = model_file(tmp_path, NET.replace("num_classes=3", "num_classes") + "\nmodel = Net(5)")
    assert find_in_file(path)[0] == "model"


def test_c1_a_class_that_fails_is_not_replaced_by_a_part(tmp_path: Path) -> None:
    failing = NET.replace("super().__init__()", "super().__init__()\n        raise ValueError('no weights')")
    code = f"class Part(nn.Linear):\n    def __init__(self):\n        super().__init__(1, 1)\n\n{failing}"
    with pytest.raises(ModelError, match=r"'Net' cannot be built: ValueError: no weights \(net.py, line 14: `raise"):
        find_in_file(model_file(tmp_path, code))
    base = "class Base(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.make()\n"
    base += "    def make(self):\n        raise NotImplementedError\n"
    code = base + NET.replace("Net(nn.Module)", "Net(Base)") + "\n    def make(self):\n        pass\n"
    assert find_in_file(model_file(tmp_path, code))[0] == "Net"


def test_c4_import_module_finds_extra_files(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "size.py").write_text("CLASSES = 6\n")
    code = "import importlib\nfrom importlib import import_module\nimport importlib.util\n"
    code += "size = importlib.import_module('parts.size')\nassert import_module('.parts.size', __package__) is size\n"
    path = model_file(tmp_path, code + NET.replace("num_classes=3", "num_classes=size.CLASSES"))
    assert network_from_file(path, files=[tmp_path / "parts"]).get_submodule("head").out_features == 6
    assert "parts" not in sys.modules


def test_c3_a_variable_can_be_named(tmp_path: Path) -> None:
    assert isinstance(network_from_file(model_file(tmp_path, f"{NET}\nnetwork = Net(2)"), "network"), torch.nn.Module)


def extra(folder: Path, factor: int) -> None:
    """Write the files that the network of USING imports; its output is multiplied by `factor`."""
    (folder / "parts" / "deep").mkdir(parents=True)
    (folder / "blocks.py").write_text(f"from parts.pool import pool\nFACTOR = {factor}\n")
    (folder / "parts" / "pool.py").write_text("from .deep import mean\ndef pool(x):\n    return mean.mean(x)\n")
    (folder / "parts" / "deep" / "mean.py").write_text("import numpy\ndef mean(x):\n    return x.mean((2, 3))\n")
    (folder / "parts" / "late.py").write_text("from blocks import FACTOR\n")


USING = """
from blocks import pool
from .blocks import FACTOR as ONE
import parts.pool as again

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        from late import FACTOR
        import blocks
        assert blocks.FACTOR == FACTOR == ONE
        return self.head(pool(x)) * FACTOR
"""


def test_c4_extra_files_are_imported_and_do_not_mix_with_those_of_another_archive(tmp_path: Path) -> None:
    """C4: a network in several files; two archives in one process have extra files of the same names."""
    networks = []
    for factor in (1, 3):
        folder = tmp_path / str(factor)
        extra(folder, factor)
        files = [folder / "blocks.py", folder / "parts"]
        path = model_file(folder, USING)
        torch.manual_seed(0)
        state = network_from_file(path, files=files).state_dict()
        handler = {"extra_files": ["blocks.py", "parts"], "class": "Net", "input": {"size": [8, 8], "resize": [8]}}
        networks.append(load_classifier(laid_out(folder, state, handler, modelFile="net.py"), torch.device("cpu")))
    x = torch.rand(2, 3, 8, 8)
    one, three = (network.forward(x) for network in networks)
    torch.testing.assert_close(one * 3, three)
    assert not {"blocks", "parts", "late", "net"} & set(sys.modules)


def test_c4_a_missing_file_beside_it_is_named_with_the_flag(tmp_path: Path) -> None:
    extra(tmp_path, 1)
    with pytest.raises(ModelError, match=r"No module named 'blocks' .*; 'blocks\.py' is beside it: .* --extra-files"):
        find_in_file(model_file(tmp_path, USING))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nowhere", r"No module named 'nowhere' \(ModuleNotFoundError in net\.py, line 6: `import nowhere`\)"),
        ("import nowhere", "name it for the server in a --requirements-file"),
        ("x = 1\n\ny = x / 0", r"division by zero \(ZeroDivisionError in net\.py, line 8: `y = x / 0`\)"),
        ("class A(:", r"invalid syntax \(SyntaxError in net\.py, line 6\)"),
        ("raise SystemExit('no GPU')", r"no GPU \(SystemExit in net\.py, line 6"),
        ("def f():\n    raise ValueError('one\\ntwo')\nf()", r"two \(ValueError in net\.py, line 7"),
    ],
)
def test_a_file_that_fails_shows_its_last_line_and_where(tmp_path: Path, code: str, reason: str) -> None:
    """C5 and bad input: the message, the file and the line."""
    with pytest.raises(ModelError, match=reason):
        find_in_file(model_file(tmp_path, code))
