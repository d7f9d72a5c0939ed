"""TorchServe's face of the engine: rows of a batch in, a body and a status for each out."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from saliency.crew import share_of_cores
from saliency.deadline import Deadline
from saliency.describe import describe
from saliency.errors import RequestError
from saliency.explainer import Explainer, Run
from saliency.ledger import line, of_each, tally
from saliency.measures import BATCH, DECODE, ENCODE, METRICS, MODEL_LABELS, SIZE, Measures, zeros
from saliency.memory import keep_freed_memory
from saliency.message import Message
from saliency.model import load_classifier
from saliency.precision import use_whole_float32
from saliency.protocols import Call, answer, read_call
from saliency.protocols.base import Found
from saliency.protocols.binary import LENGTH
from saliency.request import Query
from saliency.response import Response, json_response

if TYPE_CHECKING:
    from ts.context import Context
    from ts.metrics.caching_metric import CachingMetric

requests_log = logging.getLogger("saliency.requests")


class SaliencyHandler:
    """Answers predictions and explanations of an image classifier, each request of a batch by its own options."""

    def __init__(self) -> None:
        self.initialized = False
        self.meters: Mapping[str, CachingMetric] = {}

    def initialize(self, context: Context) -> None:
        """Load the archive's network on the worker's device, with the worker's share of the cores."""
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
        self.meters = _meters(context)
        self._export(zeros())
        gc.collect()
        gc.freeze()  # what was loaded stays: no collection has to look through it again
        self.initialized = True

    def handle(self, data: Sequence[Mapping[str, object]], context: Context) -> list[bytes]:
        """Return one body a request; statuses and content types are set on `context`."""
        deadline = Deadline.after(self.explainer.classifier.limits.max_batch_seconds)
        measures = Measures()
        with measures.timed(BATCH):
            with measures.timed(DECODE):
                calls = [self._call(fields, context.get_all_request_header(i)) for i, fields in enumerate(data)]
                queries = self.preprocess(calls)
            responses = self.postprocess(self.inference(queries, deadline, measures), calls)
        self._export(measures)
        self._log(context, of_each(calls, queries), responses, measures)
        for index, response in enumerate(responses):
            context.set_response_status(response.status, "", index)
            context.set_response_content_type(index, response.content_type)
            for name, value in response.headers.items():
                context.set_response_header(index, name, value)
        return [response.body for response in responses]

    def preprocess(self, calls: Sequence[Call]) -> list[Query | RequestError]:
        """Return the query of each of the requests' pictures, decoded, or its refusal."""
        return self.explainer.crew.each(self.explainer.read, [message for call in calls for message in call.messages])

    def inference(self, queries: Sequence[Query | RequestError], deadline: Deadline, measures: Measures) -> Run:
        """Run all pictures forward together, gradients enabled on the input where a request wants saliency."""
        return self.explainer.begin(queries, deadline, measures).forward()

    def postprocess(self, run: Run, calls: Sequence[Call]) -> list[Response]:
        """Run backprop for the predicted or requested classes, and encode predictions and saliency."""
        outcomes = iter(run.finish())
        answered = [(call, [next(outcomes) for _ in call.messages]) for call in calls]
        classifier = self.explainer.classifier
        last = run.deadline.later(classifier.limits.max_batch_seconds / 6)  # by then 7/8 of the timeout

        def encoded(one: tuple[Call, Sequence[Found]]) -> Response:
            return answer(*one, classifier, last)

        with run.measures.timed(ENCODE):
            responses = self.explainer.crew.each(encoded, answered)
        run.measures.add(SIZE, len(calls))
        tally(run.measures, run.queries, answered, responses)
        return responses

    def describe_handle(self) -> dict[str, object]:
        """Return what this model can explain."""
        return describe(self.explainer.classifier)

    def _export(self, measures: Measures) -> None:
        """Hand a batch's figures to TorchServe, those that its metrics file declares."""
        model = self.explainer.classifier.name, self.explainer.classifier.version
        for (name, labels), value in measures.sums.items():
            if name in self.meters:
                self.meters[name].add_or_update(round(value, 6), [*model, *labels])

    def _log(
        self,
        context: Context,
        queries: Iterable[Sequence[Query | RequestError]],
        responses: Sequence[Response],
        measures: Measures,
    ) -> None:
        """Write a line a request."""
        if not requests_log.isEnabledFor(logging.INFO):
            return
        model, ms = (self.explainer.classifier.name, self.explainer.classifier.version), measures.sums[BATCH, ()] * 1e3
        for index, (asked, response) in enumerate(zip(queries, responses, strict=True)):
            requests_log.info("%s", line(context.get_request_id(index), model, asked, response, ms))

    def _call(self, fields: Mapping[str, object], headers: Mapping[str, object]) -> Call:
        """Return what a request asks for."""
        if _describes(headers):
            return Call((), lambda found, classifier: json_response(self.describe_handle()))
        return read_call(_message(fields, headers), self.explainer.classifier)


def _meters(context: Context) -> dict[str, CachingMetric]:
    """Return TorchServe's metrics of the names in METRICS that its metrics file declares with our labels."""
    caches = context.metrics.cache.values() if context.metrics else ()
    declared = {name: metric for cache in caches for name, metric in cache.items() if name in METRICS}
    labelled = {name: [*MODEL_LABELS, *METRICS[name].labels] for name in declared}
    return {name: metric for name, metric in declared.items() if metric.dimension_names == labelled[name]}


def _message(fields: Mapping[str, object], headers: Mapping[str, object]) -> Message:
    """Return a request as the engine reads it."""
    return Message(
        fields,
        content_type=_header(headers, "content-type"),
        accept=_header(headers, "accept"),
        path_options=str(headers.get("url_path", "")),
        explain=headers.get("explain") == "True",
        json_length="" if "url_path" in headers else _header(headers, LENGTH.lower()),  # KServe's routes have no path
    )


def _describes(headers: Mapping[str, object]) -> bool:
    """Tell whether the management route asks what the model is.

    TorchServe sets `explain` and `url_path` itself, spelt so, on every other route: what a client sends under these
    names is overwritten, and a `describe` beside them is the client's own.
    """
    return headers.get("describe") == "True" and "explain" not in headers


def _header(headers: Mapping[str, object], name: str) -> str:
    """Return a header in whatever case it was sent; parts of a form stand among the headers and are no text."""
    return next((v for key, v in headers.items() if key.lower() == name and isinstance(v, str)), "")
