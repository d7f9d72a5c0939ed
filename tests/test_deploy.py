"""Dashboard, alerts and scraping: they are well-formed, and use only metrics that a live server exports."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from torchserve_saliency.engine.metrics import METRICS, MODEL_LABELS
from torchserve_saliency_cli.client.transport import Part, form
from torchserve_saliency_cli.torchserve.properties import read_properties
from torchserve_saliency_cli.torchserve.server import TorchServe

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
PROMETHEUS_METRICS = {"up"}
KEYWORDS = {"by", "without", "on", "ignoring", "and", "or", "unless", "bool", "offset"}
# labels of Prometheus itself and of TorchServe's frontend
FOREIGN_LABELS = {"job", "instance", "le", "WorkerName", "Hostname"}
NAME = r"[A-Za-z_:][A-Za-z0-9_:]*"


def dashboard() -> dict[str, Any]:
    """Return the dashboard of Grafana."""
    return json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))


def alerts() -> list[dict[str, Any]]:
    """Return the rules of the alerts."""
    content = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    """Return the PromQL expressions of the dashboard and of the alerts."""
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [*panels, *(rule["expr"] for rule in alerts())]


def names_of(expression: str) -> set[str]:
    """Return the metrics in a PromQL expression."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\b\d[\d.e]*\b", "", bare)
    return {name for name in re.findall(rf"{NAME}\b(?!\s*\()", bare) if name not in KEYWORDS}


def labels_of(expression: str) -> set[str]:
    """Return the labels that a PromQL expression matches or groups by."""
    matched = re.findall(rf'({NAME})\s*(?:=~|!~|!=|=)\s*"', expression)
    grouped = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression)
    return {*matched, *(label.strip() for group in grouped for label in group.split(","))}


def test_names_and_labels_are_found_in_promql() -> None:
    expression = (
        'histogram_quantile(0.95, sum by (a, le) (rate(x_bucket{c=~"d|e f", g="h"}[5m]))) / y > 1e6 and on (a) z'
    )
    assert names_of(expression) == {"x_bucket", "y", "z"}
    assert labels_of(expression) == {"a", "le", "c", "g"}


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_an_expression_is_balanced_and_uses_labels_that_exist(expression: str) -> None:
    bare = re.sub(r'"[^"]*"', "", expression)
    assert all(bare.count(a) == bare.count(b) for a, b in ("()", "[]", "{}"))
    assert names_of(expression)
    declared = {label for metric in METRICS.values() for label in metric.labels}
    assert labels_of(expression) <= declared | {*MODEL_LABELS} | FOREIGN_LABELS


def test_every_metric_of_the_handler_is_used() -> None:
    used = {name for expression in expressions() for name in names_of(expression)}
    assert all(any(name.startswith(metric) for name in used) for metric in METRICS)


def test_the_dashboard_is_valid() -> None:
    board = dashboard()
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    assert all(len({t["refId"] for t in panel["targets"]}) == len(panel["targets"]) for panel in panels)
    variables = {each["name"] for each in board["templating"]["list"]} | {"__rate_interval", "__all"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(board))) <= variables


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
    content = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = content["scrape_configs"]
    address = read_properties(ROOT / "config.properties")["metrics_address"].removeprefix("http://")
    assert job["static_configs"][0]["targets"] == [address]
    assert job["job_name"] == "torchserve"
    assert all((DEPLOY / "prometheus" / name).is_file() for name in content["rule_files"])


def exported(server: TorchServe) -> tuple[set[str], Mapping[str, float]]:
    """Return the names of the exported metrics, and the samples by their names and labels."""
    text = server.request("GET", "/metrics", api="metrics").body.decode()
    typed = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    names = {name + suffix for name, kind in typed for suffix in suffixes.get(kind, ("",))}
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return names, {name: float(value) for name, _, value in lines}


def samples(server: TorchServe, attempts: int) -> Iterator[Mapping[str, float]]:
    """Yield the samples up to `attempts` times, because the frontend reads the workers' metrics with a delay."""
    for _ in range(attempts):
        yield exported(server)[1]
        time.sleep(0.1)


def test_the_live_server_exports_all_metrics_in_use(server: TorchServe, leaf: bytes) -> None:
    def explain(target: str) -> int:
        body, content_type = form([Part("data", leaf, "leaf.png"), Part("target", target.encode())])
        return server.request("POST", "/explanations/leaves", body, {"Content-Type": content_type}).status

    assert server.request("POST", "/predictions/leaves", leaf).status == 200
    assert [explain("predicted"), explain("rust"), explain("no\n[METRICS]such:1|#a:b")] == [200, 200, 422]
    counters = ("saliency_explanations_total", "saliency_refused_total", "saliency_predictions_total")
    for found in samples(server, 100):
        own = {key: value for key, value in found.items() if '"leaves"' in key}
        sums = {name: sum(value for key, value in own.items() if key.startswith(name)) for name in counters}
        if all(value > 0 for value in sums.values()):
            break
    assert sums["saliency_explanations_total"] >= 2
    assert sums["saliency_predictions_total"] >= 1
    assert sums["saliency_refused_total"] >= 1
    names, _ = exported(server)
    needed = {name for expression in expressions() for name in names_of(expression)}
    assert needed - PROMETHEUS_METRICS <= names
    assert all(any(key.startswith(name) for key in found) for name in METRICS)


def test_each_request_has_a_log_line_that_no_client_can_break(server: TorchServe, leaf: bytes) -> None:
    evil = 'x\r\n{"request": "forged"}\n[METRICS]saliency_refused_total.Count:1|#a:b|#type:COUNTER|#hostname:h,1'
    body, content_type = form([Part("data", leaf, "leaf.png"), Part("target", evil.encode())])
    assert server.request("POST", "/explanations/leaves", body, {"Content-Type": content_type}).status == 422
    assert server.request("POST", "/explanations/leaves", leaf).status == 200
    log = server.folder / "logs" / "model_log.log"
    for _ in range(100):
        lines = [json.loads(text) for text in re.findall(r"MODEL_LOG - (\{.*\})$", log.read_text(), re.MULTILINE)]
        requests = [line for line in lines if line["model"] == "leaves"]
        if len(requests) > 1 and requests[-1]["status"] == 200:
            break
        time.sleep(0.1)
    assert (requests[-2]["status"], requests[-2]["type"]) == (422, "UnknownLabelException")
    assert (requests[-1]["methods"], requests[-1]["targets"], requests[-1]["pictures"]) == (
        ["gradient"],
        ["predicted"],
        1,
    )
    assert all(re.fullmatch(r"[0-9a-f-]{36}", line["request"]) for line in requests)
    assert not any(line["request"] == "forged" for line in lines)
