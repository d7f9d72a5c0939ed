"""Dashboard, alerts and scraping: well formed, and of metrics that a live server exports."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from saliency.measures import METRICS, MODEL_LABELS
from scripts.server import TorchServe
from scripts.settings import read_properties
from scripts.wire import Part, form

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
OF_PROMETHEUS = {"up"}
WORDS = {"by", "without", "on", "ignoring", "and", "or", "unless", "bool", "offset"}
# labels that no metric of ours declares: Prometheus' own, and the frontend's
OTHERS = {"job", "instance", "le", "WorkerName", "Hostname"}
NAME = r"[A-Za-z_:][A-Za-z0-9_:]*"


def dashboard() -> dict[str, Any]:
    return json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))


def alerts() -> list[dict[str, Any]]:
    said = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    return [rule for group in said["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [*panels, *(rule["expr"] for rule in alerts())]


def names_of(expression: str) -> set[str]:
    """Return the metrics that a PromQL expression selects."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\b\d[\d.e]*\b", "", bare)
    return {name for name in re.findall(rf"{NAME}\b(?!\s*\()", bare) if name not in WORDS}


def labels_of(expression: str) -> set[str]:
    """Return the labels that a PromQL expression asks for or groups by."""
    asked = re.findall(rf'({NAME})\s*(?:=~|!~|!=|=)\s*"', expression)
    grouped = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression)
    return {*asked, *(label.strip() for group in grouped for label in group.split(","))}


def test_names_and_labels_are_found_in_promql() -> None:
    said = 'histogram_quantile(0.95, sum by (a, le) (rate(x_bucket{c=~"d|e f", g="h"}[5m]))) / y > 1e6 and on (a) z'
    assert names_of(said) == {"x_bucket", "y", "z"}
    assert labels_of(said) == {"a", "le", "c", "g"}


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_an_expression_is_closed_and_asks_for_labels_that_there_are(expression: str) -> None:
    bare = re.sub(r'"[^"]*"', "", expression)
    assert all(bare.count(a) == bare.count(b) for a, b in ("()", "[]", "{}"))
    assert names_of(expression)
    declared = {label for metric in METRICS.values() for label in metric.labels}
    assert labels_of(expression) <= declared | {*MODEL_LABELS} | OTHERS


def test_every_metric_of_ours_is_looked_at() -> None:
    looked_at = {name for expression in expressions() for name in names_of(expression)}
    assert all(any(name.startswith(ours) for name in looked_at) for ours in METRICS)


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    said = dashboard()
    panels = said["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    assert all(len({t["refId"] for t in panel["targets"]}) == len(panel["targets"]) for panel in panels)
    variables = {one["name"] for one in said["templating"]["list"]} | {"__rate_interval", "__all"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(said))) <= variables


def test_every_alert_is_explained_and_has_a_severity() -> None:
    documented = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rules = alerts()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert f"`{rule['alert']}`" in documented
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


def test_every_metric_is_documented() -> None:
    documented = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in documented for name in METRICS)


def test_prometheus_scrapes_the_metrics_address_and_reads_the_alerts() -> None:
    said = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = said["scrape_configs"]
    address = read_properties(ROOT / "config.properties")["metrics_address"].removeprefix("http://")
    assert job["static_configs"][0]["targets"] == [address]
    assert job["job_name"] == "torchserve"
    assert all((DEPLOY / "prometheus" / name).is_file() for name in said["rule_files"])


def exported(server: TorchServe) -> tuple[set[str], Mapping[str, float]]:
    """Return the names that the server exports, and its samples, by name and labels as they are written."""
    text = server.request("GET", "/metrics", api="metrics").body.decode()
    typed = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    names = {name + suffix for name, kind in typed for suffix in suffixes.get(kind, ("",))}
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return names, {name: float(value) for name, _, value in lines}


def samples(server: TorchServe, wanted: int) -> Iterator[Mapping[str, float]]:
    """Yield the samples, again and again until the frontend has read what the workers wrote."""
    for _ in range(wanted):
        yield exported(server)[1]
        time.sleep(0.1)


def test_all_that_is_looked_at_is_exported_by_the_live_server(server: TorchServe, leaf: bytes) -> None:
    def ask(target: str) -> int:
        body, content_type = form([Part("data", leaf, "leaf.png"), Part("target", target.encode())])
        return server.request("POST", "/explanations/leaves", body, {"Content-Type": content_type}).status

    assert server.request("POST", "/predictions/leaves", leaf).status == 200
    assert [ask("predicted"), ask("rust"), ask("no\n[METRICS]such:1|#a:b")] == [200, 200, 422]
    asked = ("saliency_explanations_total", "saliency_refused_total", "saliency_predictions_total")
    for found in samples(server, 100):
        own = {key: value for key, value in found.items() if '"leaves"' in key}
        sums = {name: sum(value for key, value in own.items() if key.startswith(name)) for name in asked}
        if all(value > 0 for value in sums.values()):
            break
    assert sums["saliency_explanations_total"] >= 2
    assert sums["saliency_predictions_total"] >= 1
    assert sums["saliency_refused_total"] >= 1
    names, _ = exported(server)
    needed = {name for expression in expressions() for name in names_of(expression)}
    assert needed - OF_PROMETHEUS <= names
    assert all(any(key.startswith(name) for key in found) for name in METRICS)


def test_each_request_has_a_line_in_the_models_log_that_no_client_can_break(server: TorchServe, leaf: bytes) -> None:
    evil = 'x\r\n{"request": "forged"}\n[METRICS]saliency_refused_total.Count:1|#a:b|#type:COUNTER|#hostname:h,1'
    body, content_type = form([Part("data", leaf, "leaf.png"), Part("target", evil.encode())])
    assert server.request("POST", "/explanations/leaves", body, {"Content-Type": content_type}).status == 422
    assert server.request("POST", "/explanations/leaves", leaf).status == 200
    log = server.folder / "logs" / "model_log.log"
    for _ in range(100):
        lines = [json.loads(text) for text in re.findall(r"MODEL_LOG - (\{.*\})$", log.read_text(), re.MULTILINE)]
        told = [line for line in lines if line["model"] == "leaves"]
        if len(told) > 1 and told[-1]["status"] == 200:
            break
        time.sleep(0.1)
    assert (told[-2]["status"], told[-2]["type"]) == (422, "UnknownLabelException")
    assert (told[-1]["methods"], told[-1]["targets"], told[-1]["pictures"]) == (["gradient"], ["predicted"], 1)
    assert all(re.fullmatch(r"[0-9a-f-]{36}", line["request"]) for line in told)
    assert not any(line["request"] == "forged" for line in lines)
