"""The clients in Python and the command `explain` against a live TorchServe, with tokens; pictures as JPEG and WebP."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.serving import Request, photo, send
from torchserve_saliency import AsyncClient, Client, Explainer, RequestError
from torchserve_saliency.images.picture_kinds import PictureLike
from torchserve_saliency_cli import explain
from torchserve_saliency_cli.client import transport
from torchserve_saliency_cli.leaves.draw import draw
from torchserve_saliency_cli.torchserve.properties import KEY_FILE
from torchserve_saliency_cli.torchserve.server import TorchServe


@pytest.fixture
def client(server: TorchServe) -> Iterator[Client]:
    with Client(server.url, server.token()) as made:
        yield made


@pytest.fixture(scope="module")
def here(model_store: Path) -> Explainer:
    return Explainer.load(model_store / "leaves.mar")


def test_the_client_gets_the_explanation_of_a_notebook(client: Client, here: Explainer, leaf: bytes) -> None:
    options: dict[str, Any] = {"target": ["rust", "scab"], "against": "healthy", "method": "grad_cam"}
    served = client.explain(leaf, model="leaves", format="npy", **options)
    own = here.explain(leaf, **options)
    np.testing.assert_allclose(served.array, own.array, rtol=1e-3, atol=1e-4 * float(own.array.max()))
    assert [one.target.label for one in served.maps] == ["rust", "scab"]
    drawn, expected = (np.asarray(each.image("overlay"), float) for each in (served, own))
    assert np.abs(drawn - expected).mean() < 1


def test_the_client_reads_the_token_from_the_key_file(server: TorchServe, leaf: bytes) -> None:
    with Client(server.url, key_file=server.folder / KEY_FILE) as client:
        assert client.explain(leaf, model="leaves", version="1.0").predictions
    with Client(server.url, "wrong") as client, pytest.raises(RequestError) as caught:
        client.explain(leaf, model="leaves")
    assert (caught.value.status, caught.value.type) == (400, "InvalidKeyException")


def test_many_pictures_are_explained_in_parallel(client: Client, server: TorchServe, leaf: bytes) -> None:
    pictures: list[PictureLike] = [leaf, b"no picture", draw(41, ["rust"]).image]
    first, broken, last = client.explain_many(pictures, model="leaves", method="grad_cam", parallel=3)
    assert isinstance(broken, RequestError)
    assert broken.status == 415

    async def ask() -> list[object]:
        async with AsyncClient(server.url, server.token()) as asynchronous:
            return list(await asynchronous.explain_many(pictures, model="leaves", method="grad_cam", parallel=3))

    again = asyncio.run(ask())
    for one, other in ((first, again[0]), (last, again[2])):
        assert not isinstance(one, RequestError)
        assert [each.label for each in one.predictions] == [each.label for each in other.predictions]  # type: ignore[attr-defined]
    assert isinstance(again[1], RequestError)


def test_the_command_explains_a_folder(
    server: TorchServe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for place, disease in {"rust/1.png": "rust", "scab/2.png": "scab", "black_rot/3.png": "rust"}.items():
        path = tmp_path / "data" / place
        path.parent.mkdir(parents=True)
        draw(41, [disease]).image.save(path)
    common = ["data", "--model", "leaves", "--url", server.url, "--key-file", str(server.folder / KEY_FILE)]
    records = ["--json", "all.jsonl", "--csv", "all.csv", "--sheet", "sheet.png", "--out", "maps"]
    assert explain.main([*common, *records, "--method", "Grad-CAM"]) == 0
    found = {line["path"]: line for line in map(json.loads, Path("all.jsonl").read_text().splitlines())}
    assert {path: line["correct"] for path, line in found.items()} == {
        "data/rust/1.png": True,
        "data/scab/2.png": True,
        "data/black_rot/3.png": False,
    }
    with Path("all.csv").open(newline="") as file:
        assert [row["predicted"] for row in csv.DictReader(file)] == ["rust", "rust", "scab"]
    assert "right: 2 of 3" in capsys.readouterr().out
    assert Image.open("maps/rust/1.saliency.png").size > (224, 224)  # with a caption
    assert Image.open("sheet.png").height > 3 * 224
    assert explain.main([*common, "--wrong-only", "--json", "wrong.jsonl", "--out", "wrong"]) == 0
    assert [json.loads(line)["path"] for line in Path("wrong.jsonl").read_text().splitlines()] == [
        "data/black_rot/3.png"
    ]
    assert [path.name for path in Path("wrong").rglob("*.png")] == ["3.saliency.png"]


@pytest.mark.parametrize(("name", "kind"), [("jpeg", "JPEG"), ("webp", "WEBP")])
def test_d5_an_overlay_in_the_space_of_the_photograph(server: TorchServe, name: str, kind: str) -> None:
    fields: dict[str, str | bytes] = {"render": "overlay", "space": "original", "method": "grad_cam"}
    data = photo(1, (1500, 2000))
    by_header = send(server, Request(fields, data, "/explanations/sq", {"Accept": f"image/{name}"}))
    by_option = send(server, Request({**fields, "format": name}, data, "/explanations/sq"))
    for reply in (by_header, by_option):
        assert (reply.status, reply.content_type) == (200, f"image/{name}")
        image = Image.open(io.BytesIO(reply.body))
        assert (image.format, image.size) == (kind, (2000, 1500))


def test_d4_a_preflight_is_answered_by_torchserve_as_documented(server: TorchServe) -> None:
    headers = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    reply = transport.send(f"{server.url}/explanations/leaves", "OPTIONS", headers=headers)
    assert reply.status == 400
