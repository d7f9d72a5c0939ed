"""The routes of the page's server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from torchserve_saliency.errors import RequestError
from torchserve_saliency_cli.client.errors import UnreachableError
from torchserve_saliency_cli.web.answers import error_response, too_large
from torchserve_saliency_cli.web.colormaps import colormaps
from torchserve_saliency_cli.web.gallery import Gallery, gallery_lines
from torchserve_saliency_cli.web.guard import Guard
from torchserve_saliency_cli.web.pictures import Pictures, check_length
from torchserve_saliency_cli.web.previews import preview
from torchserve_saliency_cli.web.upstream import Upstream

STATIC = Path(__file__).parent / "static"
PREVIEW = 1024  # pixels of the longer side
ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]


def create_app(upstream: Upstream, pictures: Pictures, hosts: Iterable[str], results: Path | None = None) -> ASGIApp:
    """Return the server of the page for a TorchServe, with sample pictures, under these values of `Host`.

    `results` is a folder of predictions for the sample pictures. Raise ValueError if it cannot be read.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await upstream.close()

    routes = [
        Route("/", _page("index.html")),
        Route("/compare", _page("compare.html")),
        Route("/api/server", _server),
        Route("/api/models/{name}/{version}", _describe),
        Route("/api/colormaps", _colormaps),
        Route("/api/pictures", _add_picture, methods=["POST"]),
        Route("/api/pictures/{identifier:path}", _picture),
        Route("/api/explanations/{name}/{version}", _explain, methods=["POST"]),
        Route("/api/gallery/{name}/{version}", gallery_lines),
        Route("/static/icon.svg", _page("icon.svg", "max-age=86400")),  # asked for again with every new link
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    errors: Mapping[type[Exception], ErrorHandler] = {
        RequestError: _request_error,
        HTTPException: _http_error,
        Exception: _failure,
    }
    app = Starlette(routes=routes, exception_handlers=errors, lifespan=lifespan)
    app.state.upstream, app.state.pictures = upstream, pictures
    app.state.gallery = Gallery(upstream, pictures, results)
    return Guard(app, hosts)


def _page(name: str, caching: str = "no-cache") -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        return FileResponse(STATIC / name, headers={"Cache-Control": caching})

    return page


async def _server(request: Request) -> JSONResponse:
    """Answer with the address of TorchServe, its models, and the sample pictures."""
    upstream, pictures = _upstream(request), _pictures(request)
    await run_in_threadpool(pictures.refresh)
    samples = [{"name": sample.name} for sample in pictures.samples.values()]
    address = {"url": upstream.addresses["inference"], "tokens": upstream.key_file is not None}
    return JSONResponse({**address, "models": await upstream.models(), "samples": samples})


async def _describe(request: Request) -> JSONResponse:
    """Answer with the description of a model."""
    return JSONResponse(await _upstream(request).describe(*_model(request)))


async def _colormaps(request: Request) -> JSONResponse:
    """Answer with the colours of each colormap."""
    return JSONResponse(await run_in_threadpool(colormaps), headers={"Cache-Control": "max-age=3600"})


async def _add_picture(request: Request) -> JSONResponse:
    """Keep a picture, the body of the request, and answer with its identifier."""
    return JSONResponse({"id": _pictures(request).add(await _body(request))})


async def _picture(request: Request) -> Response:
    """Answer with a picture that a browser can show, with at most `side` pixels on its longer side."""
    side = request.query_params.get("side", "")[:9]
    _, data = await run_in_threadpool(_pictures(request).read, request.path_params["identifier"])
    shown, kind = await run_in_threadpool(preview, data, int(side) if side.isdecimal() else PREVIEW)
    return Response(shown, media_type=kind)


async def _explain(request: Request) -> Response:
    """Pass a request on to TorchServe: `picture` is an identifier or null, `options` are those of the request."""
    picture, options = _question(await _body(request))
    sent = None if picture is None else await run_in_threadpool(_pictures(request).read, picture)
    reply = await _upstream(request).explain(*_model(request), sent, options)
    if not reply.body and reply.status == 413:
        raise too_large()
    return Response(reply.body, reply.status, media_type=reply.content_type or "application/octet-stream")


def _question(body: bytes) -> tuple[str | None, Mapping[str, object]]:
    """Return the picture's identifier and the options of a body; raise RequestError 400 for another body."""
    try:
        question = json.loads(body)
        picture, options = question["picture"], question["options"]
    except (ValueError, KeyError, TypeError, RecursionError):
        picture = options = 0
    if not isinstance(picture, str | None) or not isinstance(options, dict):
        raise RequestError(400, "BadRequestException", 'the body must be {"picture": ID or null, "options": {…}}')
    return picture, options


async def _body(request: Request) -> bytes:
    """Return the body of a request; raise RequestError 413 as soon as it is too long."""
    chunks: list[bytes] = []
    async for chunk in request.stream():
        chunks.append(chunk)
        check_length(sum(map(len, chunks)))
    return b"".join(chunks)


def _model(request: Request) -> tuple[str, str]:
    """Return the name and the version of the model in a request's path."""
    return request.path_params["name"], request.path_params["version"]


def _upstream(request: Request) -> Upstream:
    return cast(Upstream, request.app.state.upstream)


def _pictures(request: Request) -> Pictures:
    return cast(Pictures, request.app.state.pictures)


async def _request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    if isinstance(error, UnreachableError):
        error = RequestError(502, error.type, error.message)
    return error_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_response(RequestError(error.status_code, "PageException", error.detail))


async def _failure(request: Request, error: Exception) -> Response:
    message = "the server of the page failed; its log has the reason"
    return error_response(RequestError(500, "InternalServerException", message))
