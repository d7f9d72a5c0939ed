"""TorchServe's face of the engine: rows of a batch in, a body and a status for each out."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from saliency.crew import share_of_cores
from saliency.describe import describe
from saliency.errors import RequestError, refused
from saliency.explainer import Explainer, Run
from saliency.explanation import Explanation
from saliency.jobs import Outcome
from saliency.memory import keep_freed_memory
from saliency.message import Message
from saliency.model import load_classifier
from saliency.precision import use_whole_float32
from saliency.request import Query
from saliency.response import Response, classes_body, encode, error_response, json_response

if TYPE_CHECKING:
    from ts.context import Context


class SaliencyHandler:
    """Answers predictions and explanations of an image classifier, each request of a batch by its own options."""

    def __init__(self) -> None:
        self.initialized = False

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
        gc.collect()
        gc.freeze()  # what was loaded stays: no collection has to look through it again
        self.initialized = True

    def handle(self, data: Sequence[Mapping[str, object]], context: Context) -> list[bytes]:
        """Return one body a request; statuses and content types are set on `context`."""
        headers = [context.get_all_request_header(i) for i in range(len(data))]
        asked = [i for i in range(len(data)) if not _describes(headers[i])]
        queries = self.preprocess([data[i] for i in asked], [headers[i] for i in asked])
        answers = dict(zip(asked, self.postprocess(self.inference(queries)), strict=True))
        responses = [answers.get(i) or json_response(self.describe_handle()) for i in range(len(data))]
        for index, response in enumerate(responses):
            context.set_response_status(response.status, "", index)
            context.set_response_content_type(index, response.content_type)
            for name, value in response.headers.items():
                context.set_response_header(index, name, value)
        return [response.body for response in responses]

    def preprocess(
        self, data: Sequence[Mapping[str, object]], headers: Sequence[Mapping[str, object]]
    ) -> list[Query | RequestError]:
        """Return each request's query with its decoded picture, or its refusal."""
        messages = [_message(fields, header) for fields, header in zip(data, headers, strict=True)]
        return self.explainer.crew.each(self.explainer.read, messages)

    def inference(self, queries: Sequence[Query | RequestError]) -> Run:
        """Run all pictures forward together, gradients enabled on the input where a request wants saliency."""
        return self.explainer.begin(queries).forward()

    def postprocess(self, run: Run) -> list[Response]:
        """Run backprop for the predicted or requested classes, and encode predictions and saliency."""
        return self.explainer.crew.each(self._encoded, run.finish())

    def describe_handle(self) -> dict[str, object]:
        """Return what this model can explain."""
        return describe(self.explainer.classifier)

    def _encoded(self, outcome: Outcome | RequestError) -> Response:
        """Return an outcome as bytes."""
        try:
            if isinstance(outcome, RequestError):
                return error_response(outcome)
            if isinstance(outcome, Explanation):
                return encode(outcome, self.explainer.classifier.limits.max_response_bytes)
            display = self.explainer.classifier.labels.display
            return json_response(classes_body([(display(p.index), p.probability) for p in outcome]))
        except Exception as error:
            return error_response(refused(error, "the encoding"))


def _message(fields: Mapping[str, object], headers: Mapping[str, object]) -> Message:
    """Return a request as the engine reads it."""
    return Message(
        fields,
        content_type=_header(headers, "content-type"),
        accept=_header(headers, "accept"),
        path_options=str(headers.get("url_path", "")),
        explain=headers.get("explain") == "True",
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
