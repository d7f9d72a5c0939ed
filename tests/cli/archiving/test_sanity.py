"""The sanity tests of `archive`: maps depend on the weights, and not on the rest of their batch."""

from __future__ import annotations

import copy
import itertools
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from tests.archives import own_words, parsed_arguments, unpacked
from tests.networks import Flat, InPlace, Modules, Tokens, classifier, inputs, made
from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.images.preprocessing import InputSpec
from torchserve_saliency.methods import METHODS
from torchserve_saliency.methods.base import Maps, Method, NoParameters, Steps, Subject
from torchserve_saliency.requests.describe import describe
from torchserve_saliency.responses.encoding import encode
from torchserve_saliency_cli.archive import main
from torchserve_saliency_cli.archiving.arguments import UsageError
from torchserve_saliency_cli.archiving.gradient_check import RefusedError
from torchserve_saliency_cli.archiving.map_making import MapMaker
from torchserve_saliency_cli.archiving.pictures import generated_picture
from torchserve_saliency_cli.archiving.sanity import CORE, mixing, sanity
from torchserve_saliency_cli.archiving.self_check import check
from torchserve_saliency_cli.archiving.weight_randomisation import randomise, top_down
from torchserve_saliency_cli.client.transport import Part, form
from torchserve_saliency_cli.torchserve.server import TorchServe

Figures = Mapping[str, object]


def edges(subject: Subject, p: NoParameters) -> Steps:
    """Return the differences of neighbouring pixels, for any network."""
    yield Rows(subject.x, subject.objective, gradient=False)
    return Maps((subject.x - subject.x.roll(1, 3)).abs())


EDGES = Method(edges, NoParameters, "none", "Edges")


def counting() -> Method:
    """Return a method whose maps grow with the number of its earlier maps."""
    numbers = itertools.count(1)

    def function(subject: Subject, p: NoParameters) -> Steps:
        answer = yield Rows(subject.x, subject.objective)
        return Maps(answer.grad[:, 0] * next(numbers))

    return Method(function, NoParameters, "none", "The gradient times a number")


def methods_of(figures: Figures) -> Mapping[str, Figures]:
    return cast("Mapping[str, Figures]", figures["methods"])


class Deep(nn.Module):
    """Eight convolutions with rectifiers between them, and a head."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 8, 16, 16, 16, 16, 16, 16, 16]
        self.body = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths)])
        self.head = nn.Linear(16, 5)
        for layer in self.body:
            nn.init.kaiming_normal_(cast(nn.Conv2d, layer).weight)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.body:
            x = F.relu(layer(x))
        return self.head(x.mean((2, 3)))


def pictures() -> list[Tensor]:
    return list(inputs(2).split(1))


def test_a_map_of_edges_does_not_depend_on_the_weights_and_a_gradient_does() -> None:
    figures = sanity(classifier(made(Deep)), pictures(), {"edges": EDGES, "gradient": METHODS["gradient"]})
    found = methods_of(figures)
    assert found["edges"]["depends_on_weights"] is False
    assert found["edges"]["spearman"] == found["edges"]["fully_random_spearman"] == 1
    assert found["edges"]["cascade"] == [1, 1, 1, 1]
    assert found["edges"]["complexity_rise"] == 0
    assert found["gradient"]["depends_on_weights"] is True
    assert cast(float, found["gradient"]["fully_random_spearman"]) < 0.5
    assert mixing(figures) is None


def test_the_figures_of_all_core_methods_are_reproducible_and_the_network_is_not_changed() -> None:
    subject = classifier(made(Deep))
    before = copy.deepcopy(subject.network.state_dict())
    figures = sanity(subject, pictures())
    assert set(methods_of(figures)) == set(CORE)
    assert all(cast(float, each["batch_error"]) < 1e-5 for each in methods_of(figures).values())
    assert (figures["stages"], figures["judged_after"], figures["left_out"]) == ([4, 4, 4, 6], 2, {})
    assert sanity(subject, pictures()) == figures
    assert all(torch.equal(value, before[name]) for name, value in subject.network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in subject.network.modules())
    json.dumps(figures, allow_nan=False)


def test_methods_that_a_network_does_not_support_are_left_out_with_the_reason() -> None:
    figures = sanity(classifier(made(Flat)), pictures())
    assert set(cast("Mapping[str, str]", figures["left_out"])) == {"guided_backprop", "deconvolution", "grad_cam"}
    assert "has none" in cast("Mapping[str, str]", figures["left_out"])["grad_cam"]
    assert set(methods_of(figures)) == set(CORE) - {"guided_backprop", "deconvolution", "grad_cam"}


def test_a_network_whose_weights_cannot_change_has_no_figures() -> None:
    network = made(Modules)
    for parameter in network.parameters():
        parameter.fill_(0.1) if parameter.dim() < 2 else parameter.zero_()
    found = methods_of(sanity(classifier(network), pictures()))
    assert {name: each["depends_on_weights"] for name, each in found.items()} == dict.fromkeys(CORE)
    assert all(each["spearman"] is None for each in found.values())


def test_layers_are_randomised_from_the_output_to_the_input() -> None:
    subject = classifier(made(Deep))
    stages = top_down(subject, inputs(), 3)
    names = [name for stage in stages for name in stage]
    assert names[:4] == ["head.weight", "head.bias", "body.7.weight", "body.7.bias"]
    assert sorted(names) == sorted(name for name, _ in subject.network.named_parameters())
    network, generator = copy.deepcopy(subject.network), torch.Generator().manual_seed(0)
    randomised: set[str] = set()
    for stage in stages:
        assert randomise(network, stage, generator)
        randomised |= set(stage)
        own = dict(subject.network.named_parameters())
        changed = {name for name, value in network.named_parameters() if not torch.equal(value, own[name])}
        assert changed == randomised


def test_modules_are_in_the_order_of_their_calls_or_follow_their_parent() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 5)
            self.shift = nn.Parameter(torch.randn(3))
            self.first = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(x + self.shift.view(-1, 1, 1)).mean((2, 3)))

    stages = top_down(classifier(made(Backwards)), inputs(), 6)
    assert stages == [("head.weight", "head.bias"), ("first.weight", "first.bias"), ("shift",)]
    tokens = top_down(classifier(made(Tokens)), inputs(), 9)
    assert [stage[0] for stage in tokens[-2:]] == ["patches.weight", "token"]
    names = [stage[0] for stage in tokens]
    assert names[0] == "head.weight"
    assert set(names[1:3]) == {"attention.in_proj_weight", "attention.out_proj.weight"}


def test_random_weights_keep_their_scale_and_vectors_their_values() -> None:
    network = made(Deep)
    trained = copy.deepcopy(network.state_dict())
    assert randomise(network, ["body.4.weight", "body.4.bias"], torch.Generator().manual_seed(3))
    weight, bias = (dict(network.named_parameters())[f"body.4.{name}"] for name in ("weight", "bias"))
    assert float(weight.std() / trained["body.4.weight"].std()) == pytest.approx(1, abs=0.1)
    assert torch.equal(bias.sort().values, trained["body.4.bias"].sort().values)
    assert not torch.equal(bias, trained["body.4.bias"])


def test_a_method_whose_map_depends_on_its_batch_is_found() -> None:
    why = mixing(sanity(classifier(made(Modules)), pictures(), {"mixed": counting(), "edges": EDGES}))
    assert why is not None
    assert "the map of 'mixed' in a batch differs from the one computed alone" in why


def test_a_network_that_mixes_rows_is_found() -> None:
    class Mixing(Modules):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * (1 + x.mean((0, 2, 3), keepdim=True)))

    figures = sanity(classifier(made(Mixing)), pictures())
    assert cast(float, methods_of(figures)["gradient"]["batch_error"]) > 1e-3
    assert mixing(figures) is not None


def test_an_archive_whose_maps_depend_on_their_batch_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MapMaker, "maps", lambda *_: {name: [torch.rand(3, 16, 16)] * 2 for name in CORE})
    with pytest.raises(RefusedError, match="in a batch differs"):
        check(unpacked(tmp_path))


def test_the_archive_contains_the_figures_unless_they_are_switched_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "samples"
    folder.mkdir()
    for seed in range(3):
        Image.effect_noise((20, 20), 50 + seed).convert("RGB").save(folder / f"{seed}.png")
    assert main([*own_words(tmp_path), "--sanity-samples", str(folder)]) == 0
    output = capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "store" / "small.mar") as archive:
        figures = json.loads(archive.read("self_check.json"))["sanity"]
    assert (figures["pictures"], figures["generated"]) == (2, False)
    assert set(figures["methods"]) == set(CORE)
    assert "\n  sanity      " in output
    assert main([*own_words(tmp_path), "--sanity", "off", "--force"]) == 0
    assert "sanity      not tested (--sanity off)" in capsys.readouterr().out
    check_figures = describe(Explainer.load(tmp_path / "store" / "small.mar").classifier)["self_check"]
    assert cast("Figures", check_figures)["sanity"] == "off"


def test_a_folder_without_pictures_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder .* with pictures"):
        parsed_arguments("--arch", "resnet18", "--sanity-samples", str(tmp_path))


FAILED = MappingProxyType(
    {
        "methods": {
            "guided_backprop": {"depends_on_weights": False, "spearman": 0.934},
            "gradient": {"depends_on_weights": True, "spearman": 0.4},
            "grad_cam": {"depends_on_weights": None, "spearman": None},
        }
    }
)


@pytest.mark.parametrize("found", [FAILED, None, {}])
def test_only_the_answers_of_a_failed_method_carry_a_caution(found: Figures | None) -> None:
    explainer = Explainer(replace(classifier(made(InPlace)), self_check={"sanity": found}))
    picture = generated_picture(explainer.classifier.input)
    for method in CORE:
        plain = encode(explainer.explain(picture, method=method), 10**7)
        arrays = encode(explainer.explain(picture, method=method, format="npy"), 10**7)
        for answer in (json.loads(plain.body), json.loads(arrays.headers["Saliency-Metadata"])):
            (entry,) = answer["explanations"]
            assert ("sanity" in entry) is (found is FAILED and method == "guided_backprop")
            if "sanity" in entry:
                assert "rank correlation 0.93" in entry["sanity"]


def test_a_live_server_describes_the_figures_and_its_answers_carry_cautions(server: TorchServe) -> None:
    reply = server.request("GET", "/models/sq/1.0?customized=true", api="management")
    (description,) = cast("list[dict[str, Any]]", reply.json())
    found = description["customizedMetadata"]["self_check"]["sanity"]["methods"]
    assert set(found) == set(CORE)
    failed = {name for name, figures in found.items() if figures["depends_on_weights"] is False}
    assert "guided_backprop" in failed
    assert "gradient" not in failed
    for method in ("guided_backprop", "gradient"):
        fields = [Part("data", generated_picture(InputSpec())), Part("method", method)]
        body, content_type = form(fields)
        answer = server.request("POST", "/explanations/sq/1.0", body, {"Content-Type": content_type}).json()
        (entry,) = cast("dict[str, Any]", answer)["explanations"]
        assert ("sanity" in entry) is (method in failed)
    reply = server.request("GET", "/models/sq/2.0?customized=true", api="management")
    (description,) = cast("list[dict[str, Any]]", reply.json())
    assert description["customizedMetadata"]["self_check"]["sanity"] == "off"


def test_maps_that_are_not_finite_or_missing_have_no_figures() -> None:
    def broken(subject: Subject, p: NoParameters) -> Steps:
        yield Rows(subject.x, subject.objective)
        return Maps(subject.x * float("nan"))

    def refusing(subject: Subject, p: NoParameters) -> Steps:
        yield Rows(subject.x, subject.objective)
        raise RequestError(422, "LayerException", "no such layer")

    methods = {
        "broken": Method(broken, NoParameters, "none", "Nothing"),
        "refusing": Method(refusing, NoParameters, "none", "Nothing"),
    }
    figures = sanity(classifier(made(Modules)), pictures(), methods)
    for each in methods_of(figures).values():
        assert each["depends_on_weights"] is each["spearman"] is each["batch_error"] is each["complexity_rise"] is None
    assert mixing(figures) is None
