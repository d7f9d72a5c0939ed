"""The limits of a server on loopback that a browser talks to: whom it answers, and what its pages may do."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from torchserve_saliency.errors import RequestError
from torchserve_saliency_cli.web.answers import error_response

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Answers 403 to a foreign `Host` or `Origin`, and adds the security headers to every answer.

    A page of another site can send requests to loopback; it cannot hide its origin. A site whose name was pointed at
    loopback (DNS rebinding) sends its own name as the host. `hosts` are the accepted values of `Host`, with the port.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refusal(Headers(scope=scope))
        await (error_response(refused) if refused else self.app)(scope, receive, send_guarded)

    def _refusal(self, headers: Headers) -> RequestError | None:
        """Return the error for a request from another site or to another host, or None."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return RequestError(403, "ForeignHostException", "the page is not served under this host name")
        if any(origin.partition("://")[2].lower() not in self.hosts for origin in origins):
            return RequestError(403, "ForeignOriginException", "the page does not answer requests of other sites")
        return None


def hosts_of(address: str, port: int, others: Iterable[str] = ()) -> frozenset[str]:
    """Return the values of the header `Host` for a server on an address and a port, and those that a user adds.

    A host name that a user adds without a port also stands for that name with the port.
    """
    names = {"127.0.0.1", "localhost", "[::1]", f"[{address}]" if ":" in address else address, *others}
    return frozenset({f"{name}:{port}" for name in names} | set(others) | (names if port == 80 else set()))
