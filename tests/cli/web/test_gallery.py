"""The lines of the gallery, with the answers of TorchServe in its place, and with results of `bulk`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from tests.cli.web.bulk_results import row, write_results
from torchserve_saliency.errors import RequestError
from torchserve_saliency_cli.client.errors import UnreachableError
from torchserve_saliency_cli.client.transport import Reply
from torchserve_saliency_cli.web.app import create_app
from torchserve_saliency_cli.web.gallery import Gallery
from torchserve_saliency_cli.web.pictures import Pictures
from torchserve_saliency_cli.web.upstream import Json, Upstream

NAMES = ["cat", "dog", "owl", "hen"]
FILES = ("cat/a.png", "cat/b.png", "dog/c.png", "owl/d.png", "x.png")
Predicted = tuple[int, str, float]


class FixedUpstream(Upstream):
    """Answers for a picture by its bytes, which are the probabilities of the classes."""

    def __init__(self, activation: str = "softmax") -> None:
        super().__init__("http://127.0.0.1:1", "http://127.0.0.1:1", None)
        self.description: dict[str, object] = {"label_names": NAMES, "activation": activation}
        self.failures: dict[str, Reply | RequestError] = {}
        self.asked: list[str] = []
        self.options: list[Mapping[str, object]] = []
        self.running = self.most = 0

    async def describe(self, name: str, version: str) -> Json:
        return self.description

    async def explain(
        self, model: str, version: str, picture: tuple[str, bytes] | None, options: Mapping[str, object]
    ) -> Reply:
        assert picture is not None
        self.asked.append(picture[0])
        self.options.append(options)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.002)
            failure = self.failures.get(picture[0])
            if isinstance(failure, RequestError):
                raise failure
            return failure or answer_of(json.loads(picture[1]), options["target"])
        finally:
            self.running -= 1


def answer_of(probabilities: list[float], target: object) -> Reply:
    ranked = sorted(enumerate(probabilities), key=lambda one: -one[1])
    predictions = [{"index": i, "label": NAMES[i], "probability": p, "logit": 0} for i, p in ranked[:3]]
    index = target if isinstance(target, int) else ranked[0][0]
    explanations = [{"target": {"index": index, "label": NAMES[index], "probability": probabilities[index]}}]
    return reply(200, {"predictions": predictions, "explanations": explanations})


def reply(status: int, body: object) -> Reply:
    return Reply(status, httpx.Headers(), b"" if body is None else json.dumps(body).encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a folder of "pictures"; `cat/b.png` is taken for a dog."""
    written = zip(
        FILES, ([0.6, 0.4, 0, 0], [0.2, 0.8, 0, 0], [0.1, 0.9, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]), strict=True
    )
    for name, probabilities in written:
        file = tmp_path / "samples" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(probabilities))
    return tmp_path / "samples"


@pytest.fixture
def upstream() -> FixedUpstream:
    return FixedUpstream()


def lines_of(gallery: Gallery, head: str = "") -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [dict(line) async for line in await gallery.open("m", "1.0", head)]

    return asyncio.run(collect())


def verdicts(lines: list[dict[str, Any]]) -> dict[str, tuple[str, bool | None]]:
    """Return the most probable class of each picture, and if it is right."""
    return {one["name"]: (one["predictions"][0]["label"], one["right"]) for one in lines if "predictions" in one}


def notes(lines: list[dict[str, Any]]) -> list[str]:
    return [line["note"] for line in lines if "note" in line]


EXPECTED = {
    "cat/a.png": ("cat", True),
    "cat/b.png": ("dog", False),
    "dog/c.png": ("dog", True),
    "owl/d.png": ("owl", True),
    "x.png": ("cat", None),
}


def test_the_list_of_pictures_comes_first_and_then_each_prediction(upstream: FixedUpstream, folder: Path) -> None:
    first, *others, last = lines_of(Gallery(upstream, Pictures(folder)))
    assert first["pictures"][0] == {"name": "cat/a.png", "label": "cat", "index": 0}
    assert first["pictures"][-1] == {"name": "x.png", "label": None, "index": None}
    assert (first["activation"], first["notes"], last) == ("softmax", [], {"done": True})
    assert verdicts(others) == EXPECTED
    assert upstream.options[0] == {"render": "none", "top_k": 3, "quality": False, "target": "predicted"}


def test_at_most_four_requests_run_at_once(upstream: FixedUpstream, folder: Path) -> None:
    for number in range(30):
        (folder / "cat" / f"{number}.png").write_text("[1, 0, 0, 0]")
    gallery = Gallery(upstream, Pictures(folder))

    async def read() -> None:
        async for _ in await gallery.open("m", "1.0", ""):
            pass

    async def two_browsers() -> None:
        await asyncio.gather(read(), read())

    asyncio.run(two_browsers())
    assert upstream.most == 4
    assert len(set(upstream.asked)) == 35 == len(gallery._answers)


def test_a_second_opening_asks_only_for_changed_pictures(upstream: FixedUpstream, folder: Path) -> None:
    gallery = Gallery(upstream, Pictures(folder))
    first = lines_of(gallery)
    assert len(upstream.asked) == 5
    assert verdicts(lines_of(gallery)) == verdicts(first)
    assert len(upstream.asked) == 5
    (folder / "x.png").write_text("[0, 0, 0, 1.0]")
    assert verdicts(lines_of(gallery)) == EXPECTED | {"x.png": ("hen", None)}
    assert upstream.asked[5:] == ["x.png"]
    upstream.description = {**upstream.description, "self_check": "of other weights"}
    lines_of(gallery)
    assert len(upstream.asked) == 11


def test_a_browser_that_leaves_stops_the_work(upstream: FixedUpstream, folder: Path) -> None:
    for number in range(30):
        (folder / "cat" / f"{number}.png").write_text("[1, 0, 0, 0]")

    async def leave() -> None:
        lines: AsyncIterator[Any] = await Gallery(upstream, Pictures(folder)).open("m", "1.0", "")
        assert "pictures" in await anext(lines)
        assert "predictions" in await anext(lines)
        await lines.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)

    asyncio.run(leave())
    assert upstream.running == 0
    assert len(upstream.asked) <= 8


def test_a_picture_that_fails_is_a_line(upstream: FixedUpstream, folder: Path) -> None:
    upstream.failures = {
        "a.png": reply(415, {"code": 415, "type": "BrokenException", "message": "broken", "option": "data"}),
        "b.png": reply(413, None),
        "c.png": reply(200, {"predictions": 3}),
    }
    gallery = Gallery(upstream, Pictures(folder))
    lines = lines_of(gallery)
    errors = {line["name"]: line["error"] for line in lines if "error" in line}
    assert errors["cat/a.png"] == {"code": 415, "type": "BrokenException", "message": "broken", "option": "data"}
    assert "max_request_size" in errors["cat/b.png"]["message"]
    assert errors["dog/c.png"]["message"] == "the answer of TorchServe holds no predictions"
    assert lines[-1] == {"done": True}
    upstream.failures = {}
    assert verdicts(lines_of(gallery)) == EXPECTED  # errors are not kept


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (UnreachableError("no TorchServe answers"), 502),
        (reply(404, {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: m"}), 404),
    ],
)
def test_an_error_of_all_pictures_is_the_last_line(
    upstream: FixedUpstream, folder: Path, failure: Reply | RequestError, code: int
) -> None:
    upstream.failures = dict.fromkeys(("a.png", "b.png", "c.png", "d.png", "x.png"), failure)
    *_, last = lines_of(Gallery(upstream, Pictures(folder)))
    assert last["error"]["code"] == code
    assert len(upstream.asked) <= 4


def test_a_multi_label_model_is_asked_for_the_true_class(folder: Path) -> None:
    upstream = FixedUpstream("sigmoid")
    (folder / "cat" / "a.png").write_text("[0.55, 0.9, 0.8, 0.7]")  # the true class is the fourth
    (folder / "cat" / "b.png").write_text("[0.45, 0.9, 0.1, 0.1]")
    found = verdicts(lines_of(Gallery(upstream, Pictures(folder))))
    assert found == EXPECTED | {"cat/a.png": ("dog", True), "cat/b.png": ("dog", False)}
    assert upstream.options[0]["target"] == 0


def test_an_output_of_several_is_asked_for(upstream: FixedUpstream, folder: Path) -> None:
    heads = [{"name": name, "label_names": NAMES, "activation": "softmax"} for name in ("one", "two")]
    upstream.description = {"label_names": NAMES, "heads": heads, "default_head": "one"}
    gallery = Gallery(upstream, Pictures(folder))
    lines_of(gallery)
    lines_of(gallery, "two")
    assert [options["head"] for options in upstream.options] == ["one"] * 5 + ["two"] * 5
    with pytest.raises(RequestError, match="this network has one, two"):
        lines_of(gallery, "three")


def stored(*changes: tuple[str, tuple[Predicted, ...]]) -> list[Any]:
    """Return rows with the predictions of TorchServe for all pictures but the last, with changes."""
    rows: dict[str, tuple[Predicted, ...]] = {
        "cat/a.png": ((0, "cat", 0.6), (1, "dog", 0.4)),
        "cat/b.png": ((1, "dog", 0.8), (0, "cat", 0.2)),
        "dog/c.png": ((1, "dog", 0.9),),
        "owl/d.png": ((2, "owl", 1.0),),
    }
    return [row(name, *predictions) for name, predictions in (rows | dict(changes)).items()]


def test_results_are_read_instead_of_asking(upstream: FixedUpstream, folder: Path, tmp_path: Path) -> None:
    write_results(tmp_path / "results", stored())
    lines = lines_of(Gallery(upstream, Pictures(folder), tmp_path / "results"))
    assert verdicts(lines) == EXPECTED
    assert notes(lines) == ["The predictions for 4 of 5 pictures are read from the results."]
    assert sorted(upstream.asked) == ["a.png", "b.png", "c.png", "x.png"]  # three of them to compare


@pytest.mark.parametrize(
    "change",
    [
        ("cat/a.png", ((0, "cat", 0.63), (1, "dog", 0.37))),
        ("cat/b.png", ((2, "owl", 0.5),)),
        ("owl/d.png", ((2, "crow", 1.0),)),
        ("owl/d.png", ((7, "owl", 1.0),)),
    ],
)
def test_results_of_another_model_are_not_used(
    upstream: FixedUpstream, folder: Path, tmp_path: Path, change: tuple[str, tuple[Predicted, ...]]
) -> None:
    write_results(tmp_path / "results", stored(change))
    lines = lines_of(Gallery(upstream, Pictures(folder), tmp_path / "results"))
    assert notes(lines) == ["The results are not those of this model; TorchServe is asked."]
    assert verdicts(lines) == EXPECTED


def test_results_that_are_older_than_a_picture_are_not_used_for_it(
    upstream: FixedUpstream, folder: Path, tmp_path: Path
) -> None:
    file = write_results(tmp_path / "results", stored(("owl/d.png", ((0, "cat", 1.0),))))
    later = file.stat().st_mtime + 5
    os.utime(folder / "owl" / "d.png", (later, later))
    lines = lines_of(Gallery(upstream, Pictures(folder), tmp_path / "results"))
    assert notes(lines) == ["The predictions for 3 of 5 pictures are read from the results."]
    assert verdicts(lines) == EXPECTED


def test_results_of_other_pictures_are_not_used(upstream: FixedUpstream, folder: Path, tmp_path: Path) -> None:
    write_results(tmp_path / "results", [row("other.png", (0, "cat", 1.0))])
    lines = lines_of(Gallery(upstream, Pictures(folder), tmp_path / "results"))
    assert notes(lines) == ["The results hold no predictions for these pictures as they are now; TorchServe is asked."]
    assert verdicts(lines) == EXPECTED


def test_stored_predictions_that_leave_the_verdict_open_are_asked_for(folder: Path, tmp_path: Path) -> None:
    upstream = FixedUpstream("sigmoid")
    (folder / "cat" / "a.png").write_text("[0.55, 0.9, 0.8, 0.7]")
    write_results(tmp_path / "results", stored(("cat/a.png", ((1, "dog", 0.9), (2, "owl", 0.8), (3, "hen", 0.7)))))
    lines = lines_of(Gallery(upstream, Pictures(folder), tmp_path / "results"))
    assert verdicts(lines) == EXPECTED | {"cat/a.png": ("dog", True)}


def test_broken_results_and_labels_are_refused_at_the_start(
    upstream: FixedUpstream, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="--results needs --samples"):
        Gallery(upstream, Pictures(None), tmp_path)
    with pytest.raises(ValueError, match="holds no results"):
        Gallery(upstream, Pictures(folder), tmp_path)
    (folder / "labels.csv").write_text("a,b")
    with pytest.raises(ValueError, match="must name the columns path and label"):
        Gallery(upstream, Pictures(folder))


def test_without_samples_there_are_no_pictures(upstream: FixedUpstream) -> None:
    first, last = lines_of(Gallery(upstream, Pictures(None)))
    assert (first["pictures"], last) == ([], {"done": True})


def test_the_route_answers_with_lines_or_with_an_error(upstream: FixedUpstream, folder: Path) -> None:
    app = create_app(upstream, Pictures(folder), ["testserver"])
    with TestClient(app) as client:
        answer = client.get("/api/gallery/m/1.0")
        assert answer.headers["Content-Type"].startswith("application/x-ndjson")
        assert verdicts([json.loads(line) for line in answer.text.splitlines()]) == EXPECTED
        assert client.get("/api/gallery/m/1.0?head=x").status_code == 422
        (folder / "labels.csv").write_text("path,label\nz.png,cat\n")
        refused = client.get("/api/gallery/m/1.0")
        assert (refused.status_code, refused.json()["option"]) == (422, "samples")
        assert "no path in labels.csv is a picture of the folder" in refused.json()["message"]
