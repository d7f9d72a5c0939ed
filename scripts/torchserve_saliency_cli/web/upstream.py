"""The TorchServe behind the page: its models, their descriptions, and their explanations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast
from urllib.parse import quote

import httpx

from torchserve_saliency.errors import RequestError, bad_option
from torchserve_saliency_cli.client.errors import INVALID_KEY, UnreachableError, refusal
from torchserve_saliency_cli.client.transport import Part, Reply, form, trusted
from torchserve_saliency_cli.torchserve.properties import read_token

Json = dict[str, object]
Api = Literal["inference", "management"]
TIMEOUT = httpx.Timeout(600, connect=5)
PAGE = 100  # models per page of TorchServe's list


class Upstream:
    """Requests to a TorchServe, with the tokens of its key file, which is read for each request."""

    def __init__(self, url: str, management_url: str, key_file: Path | None) -> None:
        self.addresses: Mapping[Api, str] = {
            "inference": url.rstrip("/"),
            "management": management_url.rstrip("/"),
        }
        self.key_file = key_file
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
        self.http = httpx.AsyncClient(verify=trusted(), timeout=TIMEOUT, trust_env=False, limits=limits)

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def models(self) -> list[Json]:
        """Return the name, the version and `default` of every version of every model.

        Raise RequestError 502 if the management address is that of another server.
        """
        try:
            found = await asyncio.gather(*map(self._versions, sorted(await self._names())))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise self._another_server() from error
        return [version for versions in found for version in versions]

    async def _names(self) -> set[str]:
        names: list[str] = []
        token: str | None = "0"
        while token is not None:
            listed = cast(Json, await self._manage(f"/models?limit={PAGE}&next_page_token={token}"))
            names += [str(model["modelName"]) for model in cast("list[Json]", listed["models"])]
            token = cast("str | None", listed.get("nextPageToken"))
        return set(names)

    async def _versions(self, name: str) -> list[Json]:
        entries = cast("list[Json]", await self._manage(f"/models/{quote(name, safe='')}/all"))
        default = cast("list[Json]", await self._manage(f"/models/{quote(name, safe='')}"))[0]["modelVersion"]
        versions = {str(entry["modelVersion"]): _parallel(entry) for entry in entries}
        return [
            {"name": name, "version": version, "default": version == default, "parallel": parallel}
            for version, parallel in sorted(versions.items())
        ]

    async def describe(self, name: str, version: str) -> Json:
        """Return the description of a model by its own handler; raise RequestError 422 for another handler."""
        path = f"/models/{_path(name, version)}?customized=true"
        try:
            found = cast("list[Json]", await self._manage(path))[0].get("customizedMetadata")
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise self._another_server() from error
        try:
            description = json.loads(found) if isinstance(found, str) else found
        except ValueError:
            description = None
        if not isinstance(description, dict) or not {"methods", "label_names"} <= description.keys():
            message = f"the model '{name}' does not describe itself: it has another handler, or an older one"
            raise RequestError(422, "NoDescriptionException", message, "model")
        return description

    async def explain(
        self, model: str, version: str, picture: tuple[str, bytes] | None, options: Mapping[str, object]
    ) -> Reply:
        """Return the reply of the explanations route, of any status, for a picture (file name, bytes) or none."""
        parts = [Part(name, _text(name, value)) for name, value in options.items()]
        if picture is not None:
            parts.append(Part("data", picture[1], picture[0]))
        body, content_type = form(parts)
        path = f"/explanations/{_path(model, version)}"
        return await self._send("inference", "POST", path, body, {"Content-Type": content_type})

    async def _manage(self, path: str) -> object:
        """Return the JSON of a management route; raise RequestError for a refusal."""
        reply = await self._send("management", "GET", path)
        if reply.status != 200:
            raise refusal(reply)
        return reply.json()

    async def _send(
        self, api: Api, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Return a reply; raise UnreachableError without one, RequestError 502 if TorchServe refuses the token."""
        token = self._token(api)
        own = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        address = self.addresses[api]
        try:
            answer = await self.http.request(method, address + path, content=body, headers=own)
        except httpx.TimeoutException as error:
            raise UnreachableError(f"TorchServe at {address} did not answer in time") from error
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise UnreachableError(f"no TorchServe answers at {address}") from error
        reply = Reply(answer.status_code, answer.headers, answer.content)
        if 400 <= reply.status < 404 and refusal(reply).type == INVALID_KEY:
            raise self._token_refused(token)
        return reply

    def _another_server(self) -> RequestError:
        address = self.addresses["management"]
        return RequestError(502, "UnreachableException", f"no TorchServe answers at {address}: it is another server")

    def _token(self, api: Api) -> str | None:
        """Return the token of an address, or None if there is no key file."""
        if self.key_file is None:
            return None
        try:
            return read_token(self.key_file, api)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _token_refused(self, token: str | None) -> RequestError:
        """Return the error for a missing, a wrong or an expired token, without the token."""
        if token is None:
            message = "TorchServe wants a token: start the page with --key-file, and name TorchServe's key_file.json"
        else:
            message = (
                "TorchServe refuses the token of the key file: it is another server's, or older than a day; "
                "docs/operations.md shows how to renew it"
            )
        return RequestError(502, INVALID_KEY, message)


def _path(name: str, version: str) -> str:
    """Return the part of a path that names a model; raise RequestError 404 for names that would leave the route."""
    if {name, version} & {".", ".."}:
        raise RequestError(404, "ModelNotFoundException", f"no model has the name {name!r} and the version {version!r}")
    return f"{quote(name, safe='')}/{quote(version, safe='')}"


def _text(name: str, value: object) -> str:
    """Return the text of an option; raise RequestError 400 for a text with half of a surrogate pair."""
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise bad_option(name[:40], "the text is no valid Unicode") from error
    return text


def _parallel(entry: Json) -> int:
    """Return the number of requests of one page that a model can work on at once, each of them alone in its batch."""
    workers = entry.get("workers")
    return max(1, len(workers)) if isinstance(workers, list) and entry.get("batchSize") == 1 else 1
