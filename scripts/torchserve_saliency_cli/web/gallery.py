"""The gallery: the sample pictures as a labelled set, with the predictions of a model.

Predictions come from results of `bulk` for a picture that has any, else from TorchServe. Results are used only if they
are newer than the picture, if their labels are those of the model, and if TorchServe gives the same predictions for
those pictures that they are least sure of: results of another model would give wrong figures.
"""

from __future__ import annotations

import json
from asyncio import Semaphore
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from torchserve_saliency.errors import RequestError, unreadable
from torchserve_saliency_cli.client.errors import UnreachableError, refusal
from torchserve_saliency_cli.client.transport import Reply
from torchserve_saliency_cli.web.answers import too_large
from torchserve_saliency_cli.web.parallel import in_parallel
from torchserve_saliency_cli.web.pictures import Pictures, Sample
from torchserve_saliency_cli.web.results import Results, Stored
from torchserve_saliency_cli.web.true_labels import TrueLabels, read_labels_csv, true_labels
from torchserve_saliency_cli.web.upstream import Upstream
from torchserve_saliency_cli.web.verdicts import TOP, Answer, Json, Model, read_model, read_predictions

PARALLEL = 4  # requests at once, of all browsers
COMPARED = 3  # pictures whose results are compared with TorchServe
TOLERANCE = 0.02  # of a probability, between results and TorchServe
KEPT = 200_000  # answers in memory


class Gallery:
    """The predictions of models for the sample pictures; those of TorchServe are kept in memory."""

    def __init__(self, upstream: Upstream, pictures: Pictures, results: Path | None = None) -> None:
        """Raise ValueError for results or a labels.csv that cannot be read."""
        if results is not None and pictures.folder is None:
            raise ValueError("--results needs --samples, the folder of the pictures that the results are of")
        self.upstream = upstream
        self.pictures = pictures
        self.results = None if results is None or pictures.folder is None else Results(results, pictures.folder)
        self._answers: OrderedDict[object, Answer] = OrderedDict()
        self._free = Semaphore(PARALLEL)
        if pictures.folder is not None:
            read_labels_csv(pictures.folder)
        if self.results is not None:
            self.results.predictions(pictures.samples)

    async def open(self, name: str, version: str, head: str) -> AsyncIterator[Json]:
        """Return the lines for a model: the list of the pictures, the predictions as they arrive, and the end.

        Raise RequestError if the model does not describe itself or the pictures cannot be read.
        """
        model = read_model(name, version, head, await self.upstream.describe(name, version))
        try:
            samples, labels, found = await run_in_threadpool(self._read, model)
        except (ValueError, OSError) as error:
            raise RequestError(422, "SamplesException", str(error), "samples") from error
        return self._lines(model, samples, labels, found)

    def _read(self, model: Model) -> tuple[Sequence[Sample], TrueLabels, Mapping[str, Stored]]:
        """Return the sample pictures, their true classes, and the stored predictions for them."""
        self.pictures.refresh()
        samples, folder = self.pictures.samples, self.pictures.folder
        labels = true_labels(folder, samples.values(), model.labels) if folder else TrueLabels({}, [])
        stored = self.results.predictions(samples) if self.results and model.is_default_head else {}
        newer = {name: one for name, one in stored.items() if one.modified > samples[name].path.stat().st_mtime_ns}
        return list(samples.values()), labels, newer

    async def _lines(
        self, model: Model, samples: Sequence[Sample], labels: TrueLabels, found: Mapping[str, Stored]
    ) -> AsyncIterator[Json]:
        """Yield the lines; an error that concerns all pictures is the last one."""
        indices = labels.indices
        pictures = [
            {"name": one.name, "label": labels.labels.get(one.name), "index": indices.get(one.name)} for one in samples
        ]
        yield {"pictures": pictures, "activation": model.activation, "notes": list(labels.notes)}
        try:
            stored, note = await self._trusted(model, {sample.name: sample for sample in samples}, found)
            if note:
                yield {"note": note}
            answers = {name: model.stored_answer(stored[name].predictions, indices.get(name)) for name in stored}
            for name, answer in answers.items():
                if answer:
                    yield model.line(name, answer, indices.get(name))
            others = [sample for sample in samples if not answers.get(sample.name)]
            jobs = (self._line(model, sample, indices.get(sample.name)) for sample in others)
            async for line in in_parallel(jobs, PARALLEL):
                yield line
            yield {"done": True}
        except RequestError as error:
            status = {"code": 502} if isinstance(error, UnreachableError) else {}
            yield {"error": error.body() | status}

    async def _trusted(
        self, model: Model, samples: Mapping[str, Sample], found: Mapping[str, Stored]
    ) -> tuple[Mapping[str, Stored], str]:
        """Return the stored predictions if they are those of the model, else none; and a sentence for the page."""
        if self.results is None:
            return {}, ""
        if not found:
            return {}, "The results hold no predictions for these pictures as they are now; TorchServe is asked."
        other = "The results are not those of this model; TorchServe is asked."
        if not all(model.fits(one.predictions) for one in found.values()):
            return {}, other
        least_sure = sorted(found, key=lambda name: found[name].predictions[0].probability)[:COMPARED]
        jobs = (self._agrees(model, samples[name], found[name]) for name in least_sure)
        agreed = [one async for one in in_parallel(jobs, COMPARED)]
        if False in agreed or True not in agreed:
            return {}, other
        return found, f"The predictions for {len(found)} of {len(samples)} pictures are read from the results."

    async def _agrees(self, model: Model, sample: Sample, stored: Stored) -> bool | None:
        """Tell if TorchServe gives the stored probability; None if it refuses the picture."""
        expected = stored.predictions[0]
        answer = await self._answer(model, sample, None)
        if isinstance(answer, RequestError):
            return None
        got = next((one.probability for one in answer.predictions if one.index == expected.index), None)
        return got is not None and abs(got - expected.probability) <= TOLERANCE * max(1, abs(got))

    async def _line(self, model: Model, sample: Sample, index: int | None) -> Json:
        answer = await self._answer(model, sample, index)
        if isinstance(answer, RequestError):
            return {"name": sample.name, "error": answer.body()}
        return model.line(sample.name, answer, index)

    async def _answer(self, model: Model, sample: Sample, index: int | None) -> Answer | RequestError:
        """Return the predictions, or the error that concerns this picture alone; raise RequestError for all others."""
        try:
            state = sample.path.stat()
        except OSError as error:
            return unreadable(error)
        target = index if model.is_multi_label else None
        key = (model.name, model.version, model.head, model.fingerprint, sample.path, state.st_mtime_ns, state.st_size)
        async with self._free:
            answer = self._answers.get((key, target)) or await self._ask(model, sample, target)
        if isinstance(answer, Answer):
            self._answers[key, target] = answer
            while len(self._answers) > KEPT:
                self._answers.popitem(last=False)
        return answer

    async def _ask(self, model: Model, sample: Sample, target: int | None) -> Answer | RequestError:
        """Ask TorchServe for the predictions, and for the probability of a class."""
        try:
            data = await run_in_threadpool(sample.path.read_bytes)
        except OSError as error:
            return unreadable(error)
        options: dict[str, object] = {"render": "none", "top_k": TOP, "quality": False}
        options |= {"head": model.head} if model.head else {}
        options["target"] = "predicted" if target is None else target
        reply = await self.upstream.explain(model.name, model.version, (sample.path.name, data), options)
        return _answer(reply, target)


def _answer(reply: Reply, target: int | None) -> Answer | RequestError:
    """Return the answer in a reply; raise RequestError if the model is not served."""
    if reply.status == 413 and not reply.body:
        return too_large()
    if reply.status != 200:
        error = refusal(reply)
        if reply.status == 404:
            raise error
        return error
    try:
        body = cast("Mapping[str, list[Mapping[str, Mapping[str, float]]]]", reply.json())
        probability = None if target is None else float(body["explanations"][0]["target"]["probability"])
        return Answer(read_predictions(body["predictions"]), probability)
    except (ValueError, KeyError, TypeError, IndexError):
        return RequestError(502, "UnknownAnswerException", "the answer of TorchServe holds no predictions")


async def gallery_lines(request: Request) -> StreamingResponse:
    """Answer with lines of JSON: the list of the sample pictures, and the predictions as they arrive."""
    gallery = cast(Gallery, request.app.state.gallery)
    model = request.path_params["name"], request.path_params["version"]
    lines = await gallery.open(*model, request.query_params.get("head", ""))
    text = (json.dumps(line) + "\n" async for line in lines)
    return StreamingResponse(text, media_type="application/x-ndjson")
