"""The client of a server of explanations, for `asyncio`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType

import httpx

from torchserve_saliency.errors import RequestError, unreadable
from torchserve_saliency.images.picture_kinds import PictureLike
from torchserve_saliency.responses.display import DisplayedExplanation
from torchserve_saliency_cli.client.answers import explanation_of
from torchserve_saliency_cli.client.base import BaseClient, several
from torchserve_saliency_cli.client.exchange import Outcome
from torchserve_saliency_cli.client.requests import picture_request


class AsyncClient(BaseClient):
    """Explains pictures with a served model: `await AsyncClient(url).explain("owl.jpg", model="resnet18")`.

    Its arguments are those of `Client`. It may be used as an asynchronous context manager.
    """

    def _open(self) -> None:
        self._http = httpx.AsyncClient(**self._settings)

    async def explain(
        self, picture: PictureLike | None = None, *, model: str, version: str | None = None, **options: object
    ) -> DisplayedExplanation:
        """Return the explanation of a picture by a served model; see `Client.explain`."""
        request = await asyncio.to_thread(picture_request, picture, model, version, options)
        exchange = self._connection.exchange(request)
        outcome: Outcome = None
        while True:
            try:
                step = exchange.send(outcome)
            except StopIteration as end:
                return await asyncio.to_thread(explanation_of, end.value, request)
            outcome = None
            if isinstance(step, httpx.Request):
                outcome = await self._send(step)
            else:
                await asyncio.sleep(step)

    async def _send(self, request: httpx.Request) -> Outcome:
        """Return the response to a request, or the error of the connection."""
        try:
            return await self._http.send(request)
        except httpx.TransportError as error:
            return error

    async def explain_many(
        self,
        pictures: Iterable[PictureLike],
        *,
        model: str,
        version: str | None = None,
        parallel: int = 4,
        **options: object,
    ) -> list[DisplayedExplanation | RequestError]:
        """Return the explanation of each picture, in order, or its RequestError; see `Client.explain_many`."""
        free = asyncio.Semaphore(max(1, parallel))

        async def one(picture: PictureLike) -> DisplayedExplanation | RequestError:
            async with free:
                try:
                    return await self.explain(picture, model=model, version=version, **options)
                except RequestError as error:
                    return error
                except OSError as error:
                    return unreadable(error)

        return list(await asyncio.gather(*(one(picture) for picture in several(pictures))))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
