"""What protects the page: its headers, who may send to it, and how much."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crvae.data.images import PIXELS
from crvae.web.addresses import parts

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; media-src 'self' data: blob:; object-src 'none'; form-action 'self'; base-uri 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Whatever the page's scripts would like to load, the browser asks no other host (Gradio needs inline scripts and styles)."""

NAMES = ("127.0.0.1", "localhost")
"""Hosts that a browser on this machine may have typed; others come from a page that renamed this address."""
LARGEST_UPLOAD = 20 * 2**20
"""Bytes of an uploaded image."""
LARGEST_BODY = LARGEST_UPLOAD + 2**16
"""Bytes of any request: an upload and its envelope."""


@dataclass
class Limits:
    """What is set once, before the page is served."""

    pixels: int = PIXELS
    """The most of an uploaded image."""


LIMITS = Limits()


class Guard:
    """ASGI middleware: refuses requests under foreign names, from foreign pages and above LARGEST_BODY, unread."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refused = _refuse(scope["method"], Headers(scope=scope))
        try:
            await (refused or self._app)(scope, receive, protected)
        except ClientDisconnect:  # the page was closed while it sent something: nobody waits for an answer
            return


def _refuse(method: str, headers: Headers) -> PlainTextResponse | None:
    """The answer to a request that must not be read, or None."""
    host = headers.get("host", "")
    if parts(f"//{host}").hostname not in NAMES:
        return PlainTextResponse("This page is served to this machine alone, under 127.0.0.1 or localhost.", 421)
    if method in ("GET", "HEAD"):
        return None
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none") or (origin is not None and parts(origin).netloc != host):
        return PlainTextResponse("The request comes from another site.", 403)
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or "transfer-encoding" in headers:
        return PlainTextResponse("The length of the request is missing.", 411)
    if len(length) > 12 or int(length) > LARGEST_BODY:
        return PlainTextResponse(f"The request is larger than {LARGEST_UPLOAD >> 20} MiB.", 413)
    return None
