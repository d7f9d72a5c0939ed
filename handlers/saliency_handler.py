"""The TorchServe handler: the requests of a batch enter, and a body, status and headers leave for each of them."""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from torchserve_saliency.engine.metrics import BATCH, DECODE, ENCODE, METRICS, MODEL_LABELS, SIZE, BatchMetrics, zeros
from torchserve_saliency.engine.worker import keep_freed_memory, share_of_cores, use_whole_float32
from torchserve_saliency.errors import RequestError
from torchserve_saliency.explainer import Explainer, Run
from torchserve_saliency.model.classifier import load_classifier
from torchserve_saliency.protocols.call import Call, Result
from torchserve_saliency.protocols.dispatch import answer, read_call
from torchserve_saliency.protocols.kserve_v2_binary import LENGTH
from torchserve_saliency.protocols.request_log import count_results, log_line, queries_per_call
from torchserve_saliency.requests.describe import describe
from torchserve_saliency.requests.message import Message
from torchserve_saliency.requests.query import Query
from torchserve_saliency.responses.encoding import Response, json_response

if TYPE_CHECKING:
    from ts.context import Context
    from ts.metrics.caching_metric import CachingMetric
    from ts.metrics.metric_type_enum import MetricTypes

requests_log = logging.getLogger("saliency.requests")


class SaliencyHandler:
    """Predictions and explanations of an image classifier; each request of a batch has its own options."""

    def __init__(self) -> None:
        self.initialized = False
        self.exported: Mapping[str, CachingMetric] = {}

    def initialize(self, context: Context) -> None:
        """Load the archive's network on the worker's device, and limit PyTorch to the worker's share of the cores."""
        keep_freed_memory()
        use_whole_float32()
        properties = context.system_properties
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(share_of_cores(int((context.model_yaml_config or {}).get("minWorkers", 1))))
        gpu = properties.get("gpu_id")
        device = torch.device(f"cuda:{gpu}" if gpu is not None and torch.cuda.is_available() else "cpu")
        classifier = load_classifier(Path(properties["model_dir"]), device)
        self.explainer = Explainer(replace(classifier, name=context.model_name))
        self.explainer.warm_up(int(properties.get("batch_size") or 1))
        self.exported = _exported_metrics(context)
        self._export(zeros())
        gc.collect()
        gc.freeze()  # loaded objects stay alive, so the garbage collector need not visit them again
        self.initialized = True

    def handle(self, data: Sequence[Mapping[str, object]], context: Context) -> list[bytes]:
        """Return one body per request; set statuses, content types and headers on `context`."""
        deadline = time.monotonic() + self.explainer.classifier.limits.max_batch_seconds
        metrics = BatchMetrics()
        with metrics.timed(BATCH):
            with metrics.timed(DECODE):
                calls = [self._call(fields, context.get_all_request_header(i)) for i, fields in enumerate(data)]
                queries = self.preprocess(calls)
            responses = self.postprocess(self.inference(queries, deadline, metrics), calls)
        self._export(metrics)
        self._log(context, queries_per_call(calls, queries), responses, metrics)
        for index, response in enumerate(responses):
            context.set_response_status(response.status, "", index)
            context.set_response_content_type(index, response.content_type)
            for name, value in response.headers.items():
                context.set_response_header(index, name, value)
        return [response.body for response in responses]

    def preprocess(self, calls: Sequence[Call]) -> list[Query | RequestError]:
        """Return one query per picture of the requests, with the picture decoded, or its error."""
        messages = [message for call in calls for message in call.messages]
        return self.explainer.threads.each(self.explainer.read, messages)

    def inference(self, queries: Sequence[Query | RequestError], deadline: float, metrics: BatchMetrics) -> Run:
        """Run all pictures forward together, with gradients of the input enabled if a request needs saliency."""
        return self.explainer.begin(queries, deadline, metrics).forward()

    def postprocess(self, run: Run, calls: Sequence[Call]) -> list[Response]:
        """Backpropagate the scores of the predicted or requested classes, and encode predictions and saliency."""
        outcomes = iter(run.finish())
        answered = [(call, [next(outcomes) for _ in call.messages]) for call in calls]
        classifier = self.explainer.classifier
        deadline = run.deadline + classifier.limits.max_batch_seconds / 6  # 7/8 of TorchServe's responseTimeout

        def encode(answered: tuple[Call, Sequence[Result]]) -> Response:
            return answer(*answered, classifier, deadline)

        with run.metrics.timed(ENCODE):
            responses = self.explainer.threads.each(encode, answered)
        run.metrics.add(SIZE, len(calls))
        count_results(run.metrics, run.queries, answered, responses)
        return responses

    def describe_handle(self) -> dict[str, object]:
        """Return the JSON object of the describe route: labels, input, methods, layers and limits of this model."""
        return describe(self.explainer.classifier)

    def _export(self, metrics: BatchMetrics) -> None:
        """Pass a batch's metrics to TorchServe, except those that its metrics file declares with other labels."""
        model = self.explainer.classifier.name, self.explainer.classifier.version
        for (name, labels), value in metrics.sums.items():
            if name in self.exported:
                self.exported[name].add_or_update(round(value, 6), [*model, *labels])

    def _log(
        self,
        context: Context,
        queries: Iterable[Sequence[Query | RequestError]],
        responses: Sequence[Response],
        metrics: BatchMetrics,
    ) -> None:
        """Write one log line per request."""
        if not requests_log.isEnabledFor(logging.INFO):
            return
        model, ms = (self.explainer.classifier.name, self.explainer.classifier.version), metrics.sums[BATCH, ()] * 1e3
        for index, (own_queries, response) in enumerate(zip(queries, responses, strict=True)):
            requests_log.info("%s", log_line(context.get_request_id(index), model, own_queries, response, ms))

    def _call(self, fields: Mapping[str, object], headers: Mapping[str, object]) -> Call:
        """Return the messages of a request, and the function that builds its answer."""
        if _is_describe_request(headers):
            return Call((), lambda found, classifier: json_response(self.describe_handle()))
        return read_call(_message(fields, headers), self.explainer.classifier)


def _exported_metrics(context: Context) -> dict[str, CachingMetric]:
    """Return the metrics of METRICS, as TorchServe's metrics file declares them or declared here.

    TorchServe exports a metric that its file does not declare only with `model_metrics_auto_detect=true`, and ignores
    it otherwise. A metric that the file declares with other labels is left out.
    """
    if not context.metrics:
        return {}
    declared = {name: metric for cache in context.metrics.cache.values() for name, metric in cache.items()}
    exported = {}
    for name, metric in METRICS.items():
        labels = [*MODEL_LABELS, *metric.labels]
        found = declared.get(name) or context.metrics.add_metric_to_cache(
            metric_name=name, unit=metric.unit, dimension_names=labels, metric_type=_metric_type(metric.kind)
        )
        if found.dimension_names == labels:
            exported[name] = found
    return exported


def _metric_type(kind: str) -> MetricTypes:
    """Return TorchServe's type of a metric, a counter or a histogram."""
    from ts.metrics.metric_type_enum import MetricTypes

    return MetricTypes(kind)


def _message(fields: Mapping[str, object], headers: Mapping[str, object]) -> Message:
    """Return a request as the engine's message."""
    return Message(
        fields,
        content_type=_header(headers, "content-type"),
        accept=_header(headers, "accept"),
        path_options=str(headers.get("url_path", "")),
        explain=headers.get("explain") == "True",
        # only KServe's routes have no url_path
        json_length="" if "url_path" in headers else _header(headers, LENGTH.lower()),
    )


def _is_describe_request(headers: Mapping[str, object]) -> bool:
    """Tell if a request comes from the describe route of the management API.

    On every other route TorchServe sets `explain` and `url_path`, in lower case, and overwrites the client's headers
    of these names. A `describe` header next to them was sent by the client, and is ignored.
    """
    return headers.get("describe") == "True" and "explain" not in headers


def _header(headers: Mapping[str, object], name: str) -> str:
    """Return a header by its lower-case name; skip form parts, which are among the headers but are not text."""
    return next((v for key, v in headers.items() if key.lower() == name and isinstance(v, str)), "")
