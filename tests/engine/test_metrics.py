"""Metrics of a batch under their declared names, and one log line per request."""

from __future__ import annotations

import base64
import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import torch
import yaml

from saliency_handler import SaliencyHandler, _exported_metrics
from tests.networks import Modules, classifier, made
from tests.test_explainer import picture
from tests.test_handler import EXPLAIN, PREDICT, ask
from torchserve_saliency.engine.batching import Pool
from torchserve_saliency.engine.metrics import (
    BACKWARD,
    BATCH,
    FORWARD,
    METRICS,
    MODEL_LABELS,
    REFUSED,
    SPLITS,
    BatchMetrics,
    zeros,
)
from torchserve_saliency.engine.objective import Objective, Rank
from torchserve_saliency.engine.rows import Rows
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer
from torchserve_saliency.model.archive import Limits
from torchserve_saliency.protocols.request_log import log_line
from torchserve_saliency.requests.message import Message
from torchserve_saliency.responses.encoding import error_response

if TYPE_CHECKING:
    from ts.context import Context

ROOT = Path(__file__).resolve().parents[2]


class FakeMetric:
    """The part of ts.metrics.caching_metric.CachingMetric that the handler uses."""

    def __init__(self) -> None:
        self.values: list[tuple[float, list[str]]] = []

    def add_or_update(self, value: float, labels: list[str]) -> None:
        self.values.append((value, labels))


@pytest.fixture
def handler() -> SaliencyHandler:
    handler = SaliencyHandler()
    handler.explainer = Explainer(classifier(made(Modules)))
    handler.exported = {name: FakeMetric() for name in METRICS}
    return handler


def exported(handler: SaliencyHandler, name: str) -> list[tuple[float, list[str]]]:
    found = cast(FakeMetric, handler.exported[name]).values
    return [(value, labels[2:]) for value, labels in found]


def test_explanations_predictions_and_errors_of_a_batch_are_counted(handler: SaliencyHandler) -> None:
    data = picture(1)
    requests = [{"data": data}, {"data": data, "target": b"2"}, {"data": data, "target": b"cat"}]
    requests += [{"data": data, "target": b"top2"}, {"data": data, "target": b"1;2"}, {"data": data, "target": b"goat"}]
    ask(handler, (PREDICT, {"body": data}), *((EXPLAIN, fields) for fields in requests))
    counts = {tuple(labels): value for value, labels in exported(handler, "saliency_explanations_total")}
    assert counts == {("gradient", kind): 1 for kind in ("predicted", "index", "label", "top_k", "several")}
    assert exported(handler, "saliency_predictions_total") == [(1, [])]
    assert exported(handler, REFUSED) == [(1, ["422", "UnknownLabelException"])]
    assert exported(handler, "saliency_batch_size") == [(7, [])]


def test_every_stage_is_timed_and_none_exceeds_the_batch(handler: SaliencyHandler) -> None:
    ask(handler, (EXPLAIN, {"data": picture(1), "method": b"smooth_grad", "samples": b"3"}))
    stages = ("decode", "forward", "backward", "encode")
    ((whole, _),) = exported(handler, BATCH)
    seconds = [exported(handler, f"saliency_{stage}_seconds") for stage in stages]
    assert all(len(one) == 1 and one[0][0] > 0 for one in seconds)
    assert sum(one[0][0] for one in seconds) <= whole + 1e-4


def test_answers_that_fail_to_be_encoded_are_counted(handler: SaliencyHandler) -> None:
    limits = Limits(max_response_bytes=6_000)
    handler.explainer.classifier = replace(handler.explainer.classifier, limits=limits)
    large = {"space": "original", "target": "top5", "render": "side_by_side"}
    ask(handler, (EXPLAIN, {"data": picture(1), **{name: value.encode() for name, value in large.items()}}))
    assert exported(handler, REFUSED) == [(1, ["413", "ResponseTooLargeException"])]
    data = base64.b64encode(picture(1)).decode()
    instances = [{"data": data, "render": "none"}, {"data": data, **large}, {"data": "?"}]
    (body,), context = ask(handler, ({"explain": "True"}, {"body": {"instances": instances}}))
    assert (context.statuses, [entry.get("code") for entry in json.loads(body)["explanations"]]) == (
        [200],
        [None, 413, 400],
    )
    too_large = (1, ["413", "ResponseTooLargeException"])
    assert sorted(exported(handler, REFUSED)) == [(1, ["400", "BadOptionException"]), too_large, too_large]


@pytest.mark.parametrize(("reason", "expected"), [("out of memory", 1), ("a kernel failed", 0)])
def test_only_splits_because_of_memory_are_counted(reason: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(made(Modules))
    x = torch.rand(4, *model.row().shape[1:])
    forward = model.forward_plain

    def small(rows: torch.Tensor) -> torch.Tensor:
        if len(rows) > 2:
            raise RuntimeError(reason)
        return forward(rows)

    monkeypatch.setitem(model.__dict__, "forward_plain", small)
    metrics = BatchMetrics()
    (answer,) = Pool(model, [Rows(x, Objective((Rank(0),)))], 4, metrics=metrics).answers()
    assert not isinstance(answer, RequestError)
    assert metrics.sums[SPLITS, ()] == expected
    assert metrics.sums[FORWARD, ()] > 0
    assert metrics.sums[BACKWARD, ()] > 0


def test_label_values_never_come_from_a_client(handler: SaliencyHandler) -> None:
    evil = b"x|#type:COUNTER\n[METRICS]a.b:1|#c:d"
    ask(
        handler,
        (EXPLAIN, {"data": picture(1), "target": evil}),
        (EXPLAIN, {"data": picture(1), "method": evil}),
        (EXPLAIN, {"data": evil}),
    )
    values = {
        word
        for metric in cast("list[FakeMetric]", list(handler.exported.values()))
        for _, labels in metric.values
        for word in labels
    }
    assert all(word.isprintable() and not set(word) & set("|#,:\n[") for word in values)


def test_undeclared_metrics_are_not_exported(handler: SaliencyHandler) -> None:
    handler.exported = {}
    _, context = ask(handler, (EXPLAIN, {"data": picture(1)}))
    assert context.statuses == [200]


def test_the_metrics_file_declares_every_metric_of_the_table() -> None:
    file = yaml.safe_load((ROOT / "deploy" / "metrics.yaml").read_text())["model_metrics"]
    declared = {one["name"]: (kind, one["unit"], one["dimensions"]) for kind in file for one in file[kind]}
    ours = {name: (m.kind, m.unit, [*MODEL_LABELS, *m.labels]) for name, m in METRICS.items()}
    assert {name: one for name, one in declared.items() if name.startswith("saliency_")} == ours


def test_the_metrics_file_keeps_torchserves_metrics() -> None:
    ts = pytest.importorskip("ts", reason="TorchServe is not installed")
    original = yaml.safe_load((Path(ts.__file__).parent / "configs" / "metrics.yaml").read_text())
    file = yaml.safe_load((ROOT / "deploy" / "metrics.yaml").read_text())
    assert file["ts_metrics"] == original["ts_metrics"]
    assert file["model_metrics"]["gauge"] == original["model_metrics"]["gauge"]


def test_metrics_of_alerts_start_at_zero() -> None:
    sums = zeros().sums
    assert (SPLITS, ()) in sums
    assert (REFUSED, ("507", "OutOfMemoryException")) in sums
    assert set(sums.values()) == {0}


def test_each_request_has_one_log_line(handler: SaliencyHandler, caplog: pytest.LogCaptureFixture) -> None:
    evil = "goat\r\n[METRICS]saliency_x.Count:1|#a:b\x00\u2028"
    with caplog.at_level(logging.INFO, "saliency.requests"):
        ask(handler, (EXPLAIN, {"data": picture(1), "target": evil}), (EXPLAIN, {"data": picture(1), "target": "top2"}))
    lines = [record.getMessage() for record in caplog.records if record.name == "saliency.requests"]
    assert len(lines) == 2
    assert all(text.isascii() and text.isprintable() and "goat" not in text for text in lines)
    error, answer = (json.loads(text) for text in lines)
    assert error["request"] == "request 0"
    assert (error["status"], error["type"], error["pictures"]) == (422, "UnknownLabelException", 1)
    assert (answer["status"], answer["methods"], answer["targets"]) == (200, ["gradient"], ["top_k"])
    assert answer["milliseconds"] > 0


def test_a_request_id_with_control_characters_stays_on_one_line() -> None:
    response = error_response(RequestError(400, "BadOptionException", "no"))
    text = log_line("a\nb\x1b[31m", ("m", "1.0"), [], response, math.pi)
    assert text.isprintable()
    assert json.loads(text)["request"] == "a\nb\x1b[31m"


def test_a_run_without_metrics_creates_its_own(handler: SaliencyHandler) -> None:
    query = handler.explainer.read(Message({"data": picture(1)}, explain=True))
    run = handler.explainer.begin([query])
    run.finish()
    assert run.metrics.sums[FORWARD, ()] > 0


class Frontend:
    """The part of ts.context.Context that declares metrics, as TorchServe builds it from a metrics file."""

    def __init__(self, file: Path) -> None:
        from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

        self.metrics = MetricsCacheYamlImpl(str(file))
        self.metrics.initialize_cache()


def test_d10_metrics_that_the_file_does_not_declare_are_exported_for_auto_detection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """D10: with `model_metrics_auto_detect=true`, TorchServe registers a metric at its first line."""
    file = tmp_path / "metrics.yaml"
    file.write_text("model_metrics:\n  gauge:\n    - {name: HandlerTime, unit: ms, dimensions: [ModelName, Level]}\n")
    found = _exported_metrics(cast("Context", Frontend(file)))
    assert list(found) == list(METRICS)
    own = _exported_metrics(cast("Context", Frontend(ROOT / "deploy" / "metrics.yaml")))
    for name, metric in found.items():
        for attribute in ("metric_name", "unit", "dimension_names", "metric_type"):
            assert getattr(metric, attribute) == getattr(own[name], attribute)
    with caplog.at_level(logging.INFO):
        found[REFUSED].add_or_update(1, ["net", "1.0", "503", "DeadlineException"])
    assert f"[METRICS]{REFUSED}.Count:1|#model_name:net,model_version:1.0,status:503,type:Dead" in caplog.text


def test_d10_a_metric_that_the_file_declares_with_other_labels_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.yaml"
    file.write_text(f"model_metrics:\n  counter:\n    - {{name: {REFUSED}, unit: Count, dimensions: [model_name]}}\n")
    assert set(_exported_metrics(cast("Context", Frontend(file)))) == set(METRICS) - {REFUSED}
