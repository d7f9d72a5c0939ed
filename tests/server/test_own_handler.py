"""An archive with the user's own handler and a network in several files, on a live server of its own (C4, C7)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.archives import HEAD
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.model_file import network_from_file
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.archiving.pictures import generated_picture
from torchserve_saliency_cli.torchserve.server import TorchServe

pytestmark = pytest.mark.server
NETWORK = """
from blocks import Block

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.block = Block()
        self.head = nn.Linear(6, num_classes)

    def forward(self, x):
        from layers.pool import pool
        return self.head(pool(self.block(x)))
"""
BLOCKS = """
from torch import nn

class Block(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 6, 3), nn.ReLU())
"""
HANDLER = """
from dataclasses import replace

from saliency_handler import SaliencyHandler

class Counting(SaliencyHandler):
    def initialize(self, context):
        super().initialize(context)
        self.answered = 0

    def postprocess(self, run, calls):
        responses = super().postprocess(run, calls)
        self.answered += len(responses)
        return [replace(each, headers={**each.headers, "Answered": str(self.answered)}) for each in responses]
"""


def test_c7_a_subclass_of_the_handler_answers(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(HEAD + NETWORK)
    (tmp_path / "blocks.py").write_text(BLOCKS)
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "pool.py").write_text("def pool(x):\n    return x.mean((2, 3))\n")
    (tmp_path / "counting_handler.py").write_text(HANDLER)
    extra = (tmp_path / "blocks.py", tmp_path / "layers")
    torch.save(network_from_file(tmp_path / "net.py", None, {"num_classes": 3}, extra).state_dict(), tmp_path / "w.pt")
    words = ["--model-name", "own", "--export-path", str(tmp_path / "store"), "--model-file", str(tmp_path / "net.py")]
    words += ["--extra-files", ",".join(map(str, extra)), "--arguments", '{"num_classes": 3}']
    words += ["--weights", str(tmp_path / "w.pt"), "--handler", str(tmp_path / "counting_handler.py")]
    assert main([*words, "--input-size", "24", "--resize", "24", "--sanity", "off"]) == 0
    explainer = Explainer.load(tmp_path / "store" / "own.mar")
    picture = generated_picture(explainer.classifier.input)
    expected = {each.label: each.probability for each in explainer.explain(picture).predictions}
    with TorchServe(tmp_path / "store") as server:
        for count in (1, 2):
            reply = server.request("POST", "/predictions/own", picture)
            assert reply.status == 200
            assert json.loads(reply.body) == pytest.approx(expected, abs=1e-6)
            assert {name.lower(): value for name, value in reply.headers.items()}["answered"] == str(count)
