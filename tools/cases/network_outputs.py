"""C6, C8 and C9: outputs in other shapes, several heads, and gradients that the network blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tools.cases.case import check
from tools.cases.inputs import check_refused, file_of, photograph
from tools.cases.own_network import (
    MEAN,
    NET,
    SIDE,
    STD,
    archive_own,
    array_of,
    check_near,
    check_not_archived,
    check_right,
    defined,
    network_input,
    seeded,
    slope,
)
from tools.cases.workshop import Workshop
from torchserve_saliency import Explainer
from torchserve_saliency.errors import ModelError


class _Named(NamedTuple):
    features: Tensor
    logits: Tensor


class _ModelOutput(OrderedDict[str, Any]):
    """A mapping whose values are attributes and items by position, too, like that of `transformers`."""

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else list(self.values())[key]


TAKEN: Mapping[str, Callable[[Tensor], Any]] = {
    "squeezed": lambda logits: logits.squeeze(),
    "[n, K, 1, 1]": lambda logits: logits[..., None, None],
    "[n, 1, K]": lambda logits: logits[:, None],
    "a tuple": lambda logits: (logits, logits[:, None, None].expand(-1, 4, 4, -1)),
    "a tuple, features first": lambda logits: (logits[:, None, None].expand(-1, 4, 4, -1), logits),
    "a list with None": lambda logits: [None, logits],
    "a dictionary": lambda logits: {"features": logits.repeat(1, 7), "logits": logits},
    "a named tuple": lambda logits: _Named(logits.repeat(1, 7), logits),
    "like transformers": lambda logits: _ModelOutput(loss=None, logits=logits, hidden_states=(logits,)),
    "float64": lambda logits: logits.double(),
}
REFUSED: Mapping[str, Callable[[Tensor], Any]] = {
    "[K, n]": lambda logits: logits.T,
    "[2, n] of two classes": lambda logits: logits[:, :2].T,
    "flat": lambda logits: logits.flatten(),
    "[1, n, K]": lambda logits: logits[None],
    "the mean of the batch": lambda logits: logits.mean(0),
    "minus the mean of the batch": lambda logits: logits - logits.mean(0),
    "[n, K, h, w]": lambda logits: logits[..., None, None].expand(-1, -1, 4, 4),
    "classes, not logits": lambda logits: logits.argmax(1),
    "no tensor": lambda logits: logits.tolist(),
}


class _Reshaped(nn.Module):
    def __init__(self, network: nn.Module, output: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, x: Tensor) -> Any:
        return self.output(self.network(x))


def _explainer(network: nn.Module) -> Explainer:
    return Explainer.of(network, size=SIDE, resize=SIDE, mean=(MEAN,) * 3, std=(STD,) * 3)


def shapes_of_logits(workshop: Workshop) -> str:
    """C6: logits in any shape that holds one row per picture; other shapes are refused."""
    single = NET.replace(
        "return self.head(self.features(x).mean((2, 3)))", "return self.head(self.features(x).mean((2, 3))).squeeze()"
    )
    network = seeded(defined(NET), 1)
    server = workshop.handler(archive_own(workshop, single, network.state_dict(), "--arguments", '{"classes": 1}'))
    check_right(server, lambda x: torch.cat([-network(x), network(x)], 1))
    three = seeded(defined(NET))
    values = network_input(photograph())
    for name, output in TAKEN.items():
        found = _explainer(_Reshaped(three, output)).explain(values[0], target=1, reduce="none", top_k=9)
        logits = [each.logit for each in sorted(found.predictions, key=lambda each: each.index)]
        check_near(np.array(logits), three(values)[0].detach().numpy(), f"{name}: the logits")
        check_near(found.maps[0].saliency, slope(three, values, 1), f"{name}: the gradient")
    for name, output in REFUSED.items():
        try:
            made = _explainer(_Reshaped(three, output))
        except ModelError:
            continue
        raise AssertionError(f"{name} was taken for logits of {len(made.classifier.labels)} classes")
    (workshop.folder / "net.mar").unlink()
    flat = NET.replace("mean((2, 3)))", "mean((2, 3))).flatten()")
    message = check_not_archived(archive_own(workshop, flat, three.state_dict()), "[2, classes]")
    return f"[n] and {len(TAKEN)} other shapes; {len(REFUSED)} shapes refused, such as: {message}"


TWO = NET.replace(
    "self.head = nn.Linear(6, classes)", "self.species = nn.Linear(6, 3)\n        self.disease = nn.Linear(6, 2)"
)
TWO = TWO.replace(
    "return self.head(self.features(x).mean((2, 3)))",
    "f = self.features(x).mean((2, 3))\n        return {'species': self.species(f), 'disease': self.disease(f)}",
)


def two_heads(workshop: Workshop) -> str:
    """C8: species and disease in one archive."""
    network = seeded(defined(TWO))
    species = workshop.write("species.txt", "apple\npear\nplum\n")
    disease = workshop.write("disease.txt", "scab\nrust\n")
    flags = ("--labels", f"species={species},disease={disease}", "--activation", "disease=sigmoid")
    archived = archive_own(workshop, TWO, network.state_dict(), *flags)
    server = workshop.handler(archived)
    picture, values = file_of(photograph()), network_input(photograph())
    outputs = {name: each[0].detach() for name, each in network(values).items()}
    right = {
        "species": dict(zip(("apple", "pear", "plum"), outputs["species"].softmax(0).tolist(), strict=True)),
        "disease": dict(zip(("scab", "rust"), outputs["disease"].sigmoid().tolist(), strict=True)),
    }
    for head, expected in right.items():
        check_right(server, lambda x, head=head: network(x)[head], head=head)
        answer = server.ask({"data": picture, "head": head}, explain=False)
        check(answer.body.keys() == expected.keys(), f"{head}: {answer.body}")
        worst = max(abs(answer.body[label] - value) for label, value in expected.items())
        check(worst < 1e-6, f"{head}: probabilities differ by {worst:g}")
    default = server.ask({"data": picture}, explain=False)
    check(default.body.keys() == right["species"].keys(), f"without a head: {default.body}")
    check_refused(server.ask({"data": picture, "head": "disease", "target": "pear"}), 422, "pear")
    message = check_refused(server.ask({"data": picture, "head": "diseases"}), 422, "species", "disease")
    described = [(head["name"], head["activation"]) for head in server.describe()["heads"]]
    check(described == [("species", "softmax"), ("disease", "sigmoid")], f"described: {described}")
    (workshop.folder / "net.mar").unlink()
    wrong = archive_own(workshop, TWO, network.state_dict(), "--labels", f"kind={species}")
    check_not_archived(wrong, "kind", "species, disease")
    return f"one archive, probabilities right to 1e-6; another head: {message}"


FEATURES = "        return self.conv(x).relu()\n"
BLOCKING = (
    "        with torch.no_grad():\n            return self.conv(x).relu()\n",
    "        with torch.inference_mode():\n            return self.conv(x).relu()\n",
    "        return self.conv(x).relu().detach()\n",
    "        return self.conv(x.data).relu()\n",
    "        return torch.tensor(self.conv(x).relu())\n",
    "        torch.set_grad_enabled(self.training)\n        return self.conv(x).relu()\n",
    "        x -= 0.25\n        x.add_(0.25)\n        return self.conv(x).relu()\n",
    "        half = self.conv(x).relu() / 2\n        return half + half.detach()\n",
)
METHODS = ("gradient", "grad_cam", "integrated_gradients", "guided_backprop", "deep_lift", "lrp", "occlusion")


def blocked_gradients(workshop: Workshop) -> str:
    """C9: `torch.no_grad()` around the backbone, and other ways to cut the gradient."""
    network = seeded(defined(NET))
    code = NET.replace(FEATURES, BLOCKING[0])
    archived = archive_own(workshop, code, network.state_dict())
    check("gradients   restored" in archived.output, archived.output[-500:])
    server = workshop.handler(archived)
    check_right(server, network)
    check(server.describe()["gradients"] == "restored", str(server.describe()["gradients"]))
    values = network_input(photograph())
    plain = _explainer(network)
    right = {name: plain.explain(values[0].clone(), method=name, target=1).maps[0].saliency for name in METHODS}
    check_near(right["gradient"], np.abs(slope(network, values, 1)).max(0), "the gradient")
    for body in BLOCKING:
        other = seeded(defined(NET.replace(FEATURES, body)))
        found = _explainer(other)
        for name in METHODS:
            saliency = found.explain(values[0].clone(), method=name, target=1).maps[0].saliency
            check_near(saliency, right[name], f"{name} of {body.strip()!r}")
    return f"{len(BLOCKING)} ways, {len(METHODS)} methods as without; {_without_autograd(workshop, network)}"


def _without_autograd(workshop: Workshop, network: nn.Module) -> str:
    """Archive the network with features by numpy, which no gradient passes; return the refusal of a method."""
    code = NET.replace(FEATURES, "        return torch.from_numpy(self.conv(x).relu().detach().cpu().numpy())\n")
    server = workshop.handler(archive_own(workshop, code, network.state_dict(), "--method", "occlusion"))
    picture = file_of(photograph())
    expected = _explainer(network).explain(network_input(photograph())[0], method="occlusion", target=1)
    check_near(array_of(server, picture, target=1), expected.maps[0].saliency, "occlusion without autograd")
    described = server.describe()
    check("gradient" not in described["methods"] and "occlusion" in described["methods"], "methods described")
    check("gradient" in described["unsupported"], "the reason is not described")
    return check_refused(server.ask({"data": picture, "method": "gradient"}), 422, "occlusion")
