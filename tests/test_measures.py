"""What a batch did: its figures under the declared names, and a line of the log a request."""

from __future__ import annotations

import base64
import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
import yaml

from saliency.errors import RequestError
from saliency.explainer import Explainer
from saliency.ledger import line
from saliency.measures import BACKWARD, BATCH, FORWARD, METRICS, MODEL_LABELS, REFUSED, SPLITS, Measures, zeros
from saliency.message import Message
from saliency.model import Classifier
from saliency.objective import Objective
from saliency.pool import Pool
from saliency.response import error_response
from saliency.rows import Rows
from saliency.targets import Rank
from saliency.unpacked import Limits
from saliency_handler import SaliencyHandler
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from tests.test_handler import EXPLAIN, PREDICT, ask

ROOT = Path(__file__).resolve().parents[1]


class Meter:
    """What a handler uses of ts.metrics.caching_metric.CachingMetric."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, list[str]]] = []

    def add_or_update(self, value: float, labels: list[str]) -> None:
        self.heard.append((value, labels))


@pytest.fixture
def handler() -> SaliencyHandler:
    handler = SaliencyHandler()
    handler.explainer = Explainer(classifier(made(Modules)))
    handler.meters = {name: Meter() for name in METRICS}
    return handler


def heard(handler: SaliencyHandler, name: str) -> list[tuple[float, list[str]]]:
    found = cast(Meter, handler.meters[name]).heard
    return [(value, labels[2:]) for value, labels in found]


def test_a_batch_counts_what_it_answered_and_refused(handler: SaliencyHandler) -> None:
    data = picture(1)
    asked = [{"data": data}, {"data": data, "target": b"2"}, {"data": data, "target": b"cat"}]
    asked += [{"data": data, "target": b"top2"}, {"data": data, "target": b"1;2"}, {"data": data, "target": b"goat"}]
    ask(handler, (PREDICT, {"body": data}), *((EXPLAIN, fields) for fields in asked))
    kinds = {tuple(labels): value for value, labels in heard(handler, "saliency_explanations_total")}
    assert kinds == {("gradient", kind): 1 for kind in ("predicted", "index", "label", "top_k", "several")}
    assert heard(handler, "saliency_predictions_total") == [(1, [])]
    assert heard(handler, REFUSED) == [(1, ["422", "UnknownLabelException"])]
    assert heard(handler, "saliency_batch_size") == [(7, [])]


def test_every_stage_is_timed_and_none_exceeds_the_batch(handler: SaliencyHandler) -> None:
    ask(handler, (EXPLAIN, {"data": picture(1), "method": b"smooth_grad", "samples": b"3"}))
    stages = ("decode", "forward", "backward", "encode")
    ((whole, _),) = heard(handler, BATCH)
    seconds = [heard(handler, f"saliency_{stage}_seconds") for stage in stages]
    assert all(len(one) == 1 and one[0][0] > 0 for one in seconds)
    assert sum(one[0][0] for one in seconds) <= whole + 1e-4


def test_answers_that_cannot_be_written_are_counted(handler: SaliencyHandler) -> None:
    limits = Limits(max_response_bytes=6_000)
    handler.explainer.classifier = replace(handler.explainer.classifier, limits=limits)
    large = {"space": "original", "target": "top5", "render": "side_by_side"}
    ask(handler, (EXPLAIN, {"data": picture(1), **{name: value.encode() for name, value in large.items()}}))
    assert heard(handler, REFUSED) == [(1, ["413", "ResponseTooLargeException"])]
    data = base64.b64encode(picture(1)).decode()
    instances = [{"data": data, "render": "none"}, {"data": data, **large}, {"data": "?"}]
    (body,), context = ask(handler, ({"explain": "True"}, {"body": {"instances": instances}}))
    assert (context.statuses, [entry.get("code") for entry in json.loads(body)["explanations"]]) == (
        [200],
        [None, 413, 400],
    )
    too_large = (1, ["413", "ResponseTooLargeException"])
    assert sorted(heard(handler, REFUSED)) == [(1, ["400", "BadOptionException"]), too_large, too_large]


@pytest.mark.parametrize(("why", "expected"), [("out of memory", 1), ("a kernel failed", 0)])
def test_only_splits_for_memory_are_counted(why: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(made(Modules))
    x = torch.rand(4, *model.row().shape[1:])
    forward = type(model).forward_plain

    def small(self: Classifier, rows: torch.Tensor) -> torch.Tensor:
        if len(rows) > 2:
            raise RuntimeError(why)
        return forward(self, rows)

    monkeypatch.setattr(type(model), "forward_plain", small)
    measures = Measures()
    (answer,) = Pool(model, [Rows(x, Objective((Rank(0),)))], 4, measures=measures).answers()
    assert not isinstance(answer, RequestError)
    assert measures.sums[SPLITS, ()] == expected
    assert measures.sums[FORWARD, ()] > 0
    assert measures.sums[BACKWARD, ()] > 0


def test_label_values_come_from_tables_never_from_a_client(handler: SaliencyHandler) -> None:
    evil = b"x|#type:COUNTER\n[METRICS]a.b:1|#c:d"
    ask(
        handler,
        (EXPLAIN, {"data": picture(1), "target": evil}),
        (EXPLAIN, {"data": picture(1), "method": evil}),
        (EXPLAIN, {"data": evil}),
    )
    values = {
        word
        for meter in cast("list[Meter]", list(handler.meters.values()))
        for _, labels in meter.heard
        for word in labels
    }
    assert all(word.isprintable() and not set(word) & set("|#,:\n[") for word in values)


def test_a_file_that_does_not_declare_our_metrics_gets_none_of_them(handler: SaliencyHandler) -> None:
    handler.meters = {}
    _, context = ask(handler, (EXPLAIN, {"data": picture(1)}))
    assert context.statuses == [200]


def test_the_metrics_file_declares_every_metric_as_the_table_says() -> None:
    said = yaml.safe_load((ROOT / "deploy" / "metrics.yaml").read_text())["model_metrics"]
    declared = {one["name"]: (kind, one["unit"], one["dimensions"]) for kind in said for one in said[kind]}
    ours = {name: (m.kind, m.unit, [*MODEL_LABELS, *m.labels]) for name, m in METRICS.items()}
    assert {name: one for name, one in declared.items() if name.startswith("saliency_")} == ours


def test_the_metrics_file_keeps_torchserves_own() -> None:
    ts = pytest.importorskip("ts", reason="TorchServe is not installed")
    theirs = yaml.safe_load((Path(ts.__file__).parent / "configs" / "metrics.yaml").read_text())
    said = yaml.safe_load((ROOT / "deploy" / "metrics.yaml").read_text())
    assert said["ts_metrics"] == theirs["ts_metrics"]
    assert said["model_metrics"]["gauge"] == theirs["model_metrics"]["gauge"]


def test_what_alerts_watch_begins_at_zero() -> None:
    sums = zeros().sums
    assert (SPLITS, ()) in sums
    assert (REFUSED, ("507", "OutOfMemoryException")) in sums
    assert set(sums.values()) == {0}


def test_a_line_a_request_that_nothing_can_break(handler: SaliencyHandler, caplog: pytest.LogCaptureFixture) -> None:
    evil = "goat\r\n[METRICS]saliency_x.Count:1|#a:b\x00\u2028"
    with caplog.at_level(logging.INFO, "saliency.requests"):
        ask(handler, (EXPLAIN, {"data": picture(1), "target": evil}), (EXPLAIN, {"data": picture(1), "target": "top2"}))
    lines = [record.getMessage() for record in caplog.records if record.name == "saliency.requests"]
    assert len(lines) == 2
    assert all(text.isascii() and text.isprintable() and "goat" not in text for text in lines)
    refusal, answer = (json.loads(text) for text in lines)
    assert refusal["request"] == "request 0"
    assert (refusal["status"], refusal["type"], refusal["pictures"]) == (422, "UnknownLabelException", 1)
    assert (answer["status"], answer["methods"], answer["targets"]) == (200, ["gradient"], ["top_k"])
    assert answer["milliseconds"] > 0


def test_even_a_request_id_with_control_characters_stays_on_its_line() -> None:
    response = error_response(RequestError(400, "BadOptionException", "no"))
    text = line("a\nb\x1b[31m", ("m", "1.0"), [], response, math.pi)
    assert text.isprintable()
    assert json.loads(text)["request"] == "a\nb\x1b[31m"


def test_a_run_without_measures_keeps_its_own(handler: SaliencyHandler) -> None:
    query = handler.explainer.read(Message({"data": picture(1)}, explain=True))
    run = handler.explainer.begin([query])
    run.finish()
    assert run.measures.sums[FORWARD, ()] > 0
