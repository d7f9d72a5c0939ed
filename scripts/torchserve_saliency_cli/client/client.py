"""The client of a server of explanations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import httpx

from torchserve_saliency.errors import RequestError, unreadable
from torchserve_saliency.images.picture_kinds import PictureLike
from torchserve_saliency.responses.display import DisplayedExplanation
from torchserve_saliency_cli.client.answers import explanation_of
from torchserve_saliency_cli.client.base import BaseClient, several
from torchserve_saliency_cli.client.exchange import Outcome
from torchserve_saliency_cli.client.requests import picture_request


class Client(BaseClient):
    """Explains pictures with a served model: `Client("http://127.0.0.1:8080").explain("owl.jpg", model="resnet18")`.

    It may be used by several threads at once, and as a context manager, which closes its connections.
    """

    def _open(self) -> None:
        self._http = httpx.Client(**self._settings)

    def explain(
        self, picture: PictureLike | None = None, *, model: str, version: str | None = None, **options: object
    ) -> DisplayedExplanation:
        """Return the explanation of a picture by a served model.

        The picture is of any kind that `Explainer.explain` takes. Omit it for a method that creates one. The options
        are those of a request; `format="npy"` asks for exact maps, which have 256 levels otherwise. Raise RefusedError
        if the server answers with an error, UnreachableError if it does not answer, and RequestError for a value that
        is no picture; all are RequestErrors, with `status`, `type`, `message` and `option`.
        """
        request = picture_request(picture, model, version, options)
        exchange = self._connection.exchange(request)
        outcome: Outcome = None
        while True:
            try:
                step = exchange.send(outcome)
            except StopIteration as end:
                return explanation_of(end.value, request)
            outcome = None
            if isinstance(step, httpx.Request):
                outcome = self._send(step)
            else:
                time.sleep(step)

    def _send(self, request: httpx.Request) -> Outcome:
        """Return the response to a request, or the error of the connection."""
        try:
            return self._http.send(request)
        except httpx.TransportError as error:
            return error

    def explain_many(
        self,
        pictures: Iterable[PictureLike],
        *,
        model: str,
        version: str | None = None,
        parallel: int = 4,
        on_progress: Callable[[int], object] | None = None,
        **options: object,
    ) -> list[DisplayedExplanation | RequestError]:
        """Return the explanation of each picture, in order, from `parallel` requests at a time.

        If a request fails, its place in the list has the RequestError, and the others are not affected. `on_progress`
        is called with the number of pictures done.
        """

        def one(picture: PictureLike) -> DisplayedExplanation | RequestError:
            try:
                return self.explain(picture, model=model, version=version, **options)
            except RequestError as error:
                return error
            except OSError as error:
                return unreadable(error)

        done: list[DisplayedExplanation | RequestError] = []
        with ThreadPoolExecutor(max(1, parallel)) as pool:
            for outcome in pool.map(one, several(pictures)):
                done.append(outcome)
                if on_progress:
                    on_progress(len(done))
        return done

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
