"""The client in Python: the explanations of a server equal those of an explainer in this process."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.handler_server import HandlerServer, handler_server
from tests.networks import SIZE, Modules, classifier, made
from tests.test_explainer import picture
from torchserve_saliency import AsyncClient, Client, Explainer, RequestError
from torchserve_saliency.client import RefusedError, UnreachableError
from torchserve_saliency.responses.display import DisplayedExplanation
from torchserve_saliency.responses.explanation import Prediction
from torchserve_saliency_cli.torchserve.processes import free_ports

BUSY = (
    503,
    {"Content-Type": "application/json"},
    b'{"code": 503, "type": "ServiceUnavailableException", "message": "x"}',
)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(classifier(made(Modules)))


@pytest.fixture
def server(explainer: Explainer) -> Iterator[HandlerServer]:
    with handler_server(explainer) as running:
        yield running


@pytest.fixture
def client(server: HandlerServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with Client(server.url) as made_client:
        yield made_client


def without_saliency(body: dict[str, Any]) -> dict[str, Any]:
    entries = [{name: value for name, value in entry.items() if name != "saliency"} for entry in body["explanations"]]
    return {**body, "explanations": entries}


def plain(predictions: Iterable[Prediction | None]) -> list[object]:
    """Return predictions without the labels that are made unique, which answers do not hold."""
    return [each and replace(each, unique_label="") for each in predictions]


@pytest.mark.parametrize(
    "options",
    [
        {"target": "top2", "method": "grad_cam"},
        {"target": [1, "cat"], "against": 3, "reduce": "sum"},
        {"reduce": "none", "target": np.int64(2)},
        {"method": "integrated_gradients", "steps": 7, "space": "original"},
        {"target": "above0.999999"},
        {"quality": True},
    ],
)
def test_the_explanation_equals_that_of_an_explainer_in_this_process(
    client: Client, explainer: Explainer, options: dict[str, Any]
) -> None:
    here = explainer.explain(picture(3), **options)
    exact = client.explain(picture(3), model="m", format="npy", **options)
    served = client.explain(picture(3), model="m", **options)
    assert type(served) is type(here)
    assert exact.array.shape == here.array.shape
    assert served.array.shape == here.array.shape or not here.maps
    np.testing.assert_array_equal(exact.array, here.array)
    for one, there in zip(served.maps, here.maps, strict=True):
        step = float(np.ptp(there.saliency)) / 255
        np.testing.assert_allclose(one.saliency, there.saliency, atol=0.51 * step + 1e-12)
        assert (one.target.label, one.target.index) == (there.target.label, there.target.index)
    assert served.to_dict() == here.to_dict()
    assert without_saliency(exact.to_dict()) == without_saliency(here.to_dict())
    assert plain(served.predictions) == plain(here.predictions)
    assert served.parameters == (dict(here.parameters) if here.maps else {})


@pytest.mark.parametrize("space", ["input", "original"])
def test_a_map_is_drawn_over_the_picture_that_was_sent(client: Client, explainer: Explainer, space: str) -> None:
    options: dict[str, Any] = {"method": "grad_cam", "space": space}
    here = explainer.explain(picture(3, (40, 60)), **options)
    there = client.explain(picture(3, (40, 60)), model="m", **options)
    for render in ("overlay", "contours", "masked", "side_by_side"):
        one, other = (np.asarray(each.image(render).convert("RGB"), np.float64) for each in (here, there))
        assert one.shape == other.shape
        assert (
            np.abs(one - other).mean() < 4
        )  # of 255: the picture is resized by another filter, the map has 256 levels


def kinds(folder: Path) -> list[object]:
    """Return the same picture of 24 by 40 pixels as each kind that a program may hold it as."""
    data = picture(5)
    (folder / "five.png").write_bytes(data)
    image = Image.open(io.BytesIO(data))
    pixels = np.asarray(image)
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    return [folder / "five.png", str(folder / "five.png"), data, io.BytesIO(data), image, pixels, pixels / 255, tensor]


def test_e2_every_kind_of_picture_is_sent(client: Client, explainer: Explainer, tmp_path: Path) -> None:
    expected = explainer.explain(picture(5)).array
    for one in kinds(tmp_path):
        found = client.explain(one, model="m", format="npy")  # type: ignore[arg-type]
        np.testing.assert_array_equal(found.array, expected)


def test_e2_a_preprocessed_tensor_is_sent_exactly(client: Client, explainer: Explainer) -> None:
    x = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    options: dict[str, Any] = {"target": "top2", "against": "runner_up", "method": "gradient_x_input"}
    here, there = explainer.explain(x, top_k=5, **options), client.explain(x, model="m", **options)
    np.testing.assert_array_equal(there.array, here.array)
    assert [one.target.label for one in there.maps] == [one.target.label for one in here.maps]
    assert plain([one.against for one in there.maps]) == plain([one.against for one in here.maps])
    assert there.image().size == here.image().size
    assert plain(there.predictions) == plain(here.predictions)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16", "PA"])
def test_e2_an_image_of_any_mode_is_sent(client: Client, explainer: Explainer, mode: str) -> None:
    grey = Image.open(io.BytesIO(picture(4))).convert("L")
    wide = {"I", "F", "I;16"}
    image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode in wide else grey.convert("RGB")
    image = image if image.mode == mode else image.convert("LA").convert("PA") if mode == "PA" else image.convert(mode)
    here, there = explainer.explain(image), client.explain(image, model="m", format="npy")
    assert here.predictions[0].label == there.predictions[0].label
    np.testing.assert_allclose(there.array, here.array, rtol=0.02, atol=0.02 * float(here.array.max()))


def test_values_of_python_are_sent_as_the_server_reads_them(client: Client, server: HandlerServer) -> None:
    client.explain(
        picture(1),
        model="m",
        version="2.0",
        target=(np.int64(1), "cat"),
        quality=False,
        alpha=np.float32(0.5),
        against=None,
    )
    fields = {name: value for name, value in server.requests[0].fields.items() if name != "data"}
    assert server.requests[0].path == "/explanations/m/2.0"
    assert fields == {
        "render": b"heatmap",
        "target": b'[1, "cat"]',
        "quality": b"false",
        "alpha": b"0.5",
        "format": b"json",
    }


def test_f6_a_default_format_of_the_archive_does_not_matter() -> None:
    defaults: dict[str, Any] = {"format": "png", "render": "none", "method": "feature_maps"}
    with handler_server(Explainer(classifier(made(Modules), **defaults))) as server, Client(server.url) as client:
        found = client.explain(picture(1), model="m")
        assert found.method == "feature_maps"
        assert len(found.predictions) == 5
        assert found.image().size[0] > 16
        assert client.explain(picture(1), model="m", method="gradient").array.shape == (1, SIZE, SIZE)


def test_f6_a_method_that_makes_a_picture_takes_none(client: Client, explainer: Explainer) -> None:
    options: dict[str, Any] = {"method": "activation_maximization", "target": 2, "steps": 3, "seed": 1}
    here, there = explainer.explain(**options), client.explain(model="m", **options)
    assert np.abs(np.asarray(here.image(), float) - np.asarray(there.image(), float)).max() == 0
    assert there.image().size == (SIZE, SIZE)


def test_an_error_of_the_server_has_its_status_type_message_and_option(client: Client) -> None:
    with pytest.raises(RefusedError) as caught:
        client.explain(picture(1), model="m", target="doog")
    error = caught.value
    assert (error.status, error.type, error.option) == (422, "UnknownLabelException", "target")
    assert "did you mean 'dog'" in error.message
    assert isinstance(error, RequestError)
    assert str(error).startswith("422 UnknownLabelException: ")


def test_values_that_are_no_picture_are_not_sent(client: Client, server: HandlerServer) -> None:
    for wrong in (3, ["a", "b"], np.zeros((2, 3, 4, 5)), torch.zeros(4), object()):
        with pytest.raises(RequestError):
            client.explain(wrong, model="m")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        client.explain(3, model="m")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="formats json and npy"):
        client.explain(picture(1), model="m", format="png")
    with pytest.raises(FileNotFoundError):
        client.explain("nowhere.png", model="m")
    assert not server.requests


def test_a_busy_server_and_a_broken_connection_are_tried_again(client: Client, server: HandlerServer) -> None:
    server.first = [BUSY, None, BUSY]
    assert client.explain(picture(1), model="m").predictions
    assert len(server.requests) == 4


def test_the_last_failure_is_raised(client: Client, server: HandlerServer) -> None:
    server.first = [BUSY] * 4
    with pytest.raises(RefusedError, match="ServiceUnavailable") as caught:
        client.explain(picture(1), model="m")
    assert (caught.value.status, len(server.requests)) == (503, 4)
    server.first = [None] * 4
    with pytest.raises(UnreachableError, match="no TorchServe answers"):
        client.explain(picture(1), model="m")


@pytest.mark.parametrize("status", [400, 404, 413, 500, 507])
def test_other_statuses_are_not_tried_again(client: Client, server: HandlerServer, status: int) -> None:
    server.first = [(status, {}, b"")]
    with pytest.raises(RefusedError) as caught:
        client.explain(picture(1), model="m")
    assert (caught.value.status, caught.value.message, len(server.requests)) == (status, "an empty answer", 1)


def test_the_pause_that_the_server_asks_for_is_kept(server: HandlerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    status, headers, body = BUSY
    server.first = [(status, {**headers, "Retry-After": "7"}, body), BUSY, BUSY]
    Client(server.url).explain(picture(1), model="m")
    assert pauses[0] == 7
    assert pauses[1] < pauses[2] < 2


def test_an_answer_that_takes_too_long_is_not_asked_for_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(2)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=r"within 0\.2 seconds"):
            Client(address, timeout=0.2).explain(picture(1), model="m")


def test_no_server_is_an_error_that_names_the_address() -> None:
    (port,) = free_ports(1)
    with pytest.raises(UnreachableError, match=f"no TorchServe answers at http://127.0.0.1:{port}") as caught:
        Client(f"http://127.0.0.1:{port}", retries=0).explain(picture(1), model="m")
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.status == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"url": "127.0.0.1:8080"}, "http://"),
        ({"url": "http://127.0.0.1:port"}, "invalid"),
        ({"url": "http://a", "timeout": 0}, "timeout"),
        ({"url": "http://a", "token": "x", "key_file": "y"}, "not both"),
    ],
)
def test_invalid_settings_are_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Client(**arguments)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[1]", b'{"predictions": []}'])
def test_an_answer_of_another_server_is_an_error(client: Client, server: HandlerServer, body: bytes) -> None:
    server.first = [(200, {"Content-Type": "application/json"}, body)]
    with pytest.raises(RefusedError, match="no explanation"):
        client.explain(picture(1), model="m")


def test_f10_a_token_that_the_server_has_renewed_is_read_again(server: HandlerServer, tmp_path: Path) -> None:
    keys = tmp_path / "key_file.json"
    keys.write_text(json.dumps({"inference": {"key": "new"}}))
    refused = {"code": 400, "type": "InvalidKeyException", "message": "Token Authorization failed."}
    answer = (400, {"Content-Type": "application/json"}, json.dumps(refused).encode())

    class Renewing(Client):
        def _send(self, request: Any) -> Any:
            if len(server.requests) == 0:
                keys.write_text(json.dumps({"inference": {"key": "newest"}}))
            return super()._send(request)

    server.first = [answer]
    Renewing(server.url, key_file=keys).explain(picture(1), model="m")
    assert [each.headers["Authorization"] for each in server.requests] == ["Bearer new", "Bearer newest"]
    server.first = [answer]
    with pytest.raises(RefusedError):
        Client(server.url, token="given").explain(picture(1), model="m")


def test_several_pictures_have_their_explanations_or_errors_in_order(client: Client, server: HandlerServer) -> None:
    done: list[int] = []
    pictures: list[Any] = [picture(1), b"nothing", "nowhere.png", 7, picture(2)]
    found = client.explain_many(pictures, model="m", parallel=2, on_progress=done.append, method="grad_cam")
    assert [type(each) for each in found[::4]] == [DisplayedExplanation] * 2
    errors = [each for each in found[1:4] if isinstance(each, RequestError)]
    assert [error.status for error in errors] == [415, 400, 400]
    assert done == [1, 2, 3, 4, 5]
    with pytest.raises(TypeError):
        client.explain_many("owl.png", model="m")


def test_the_asynchronous_client_has_a_limited_number_of_requests(server: HandlerServer) -> None:
    async def run() -> list[DisplayedExplanation | RequestError]:
        async with AsyncClient(server.url) as client:
            one = await client.explain(picture(1), model="m", method="grad_cam")
            many = await client.explain_many([picture(seed) for seed in range(9)] + [b"x"], model="m", parallel=3)
            return [one, *many]

    server.first = [None, BUSY]
    found = asyncio.run(run())
    assert [isinstance(each, RequestError) for each in found] == [False] * 10 + [True]
    assert 1 < server.most_busy <= 3
