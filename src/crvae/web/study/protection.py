"""What protects the study: headers, size, origin and content type of requests, rate limits."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import OrderedDict

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crvae.web.addresses import parts

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Robots-Tag": "noindex",
}
LARGEST_BODY = 4096
"""Bytes of the largest form that is read."""


class Protection:
    """ASGI middleware: refuses large, foreign or oddly typed forms before anything reads them; adds the headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def protected(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = _refuse(Headers(scope=scope)) if scope["method"] not in ("GET", "HEAD", "OPTIONS") else None
        try:
            await (refused or self._app)(scope, receive, protected)
        except Exception:
            if not started:  # the framework's own answer to an unforeseen error would come without the headers
                await PlainTextResponse("Something went wrong. Please try again.", 500)(scope, receive, protected)
            raise


def _refuse(headers: Headers) -> PlainTextResponse | None:
    """The answer to a form that must not be read, or None."""
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or "transfer-encoding" in headers:
        return PlainTextResponse("The length of the form is missing.", 411)
    if len(length) > 9 or int(length) > LARGEST_BODY:
        return PlainTextResponse("The form is too large.", 413)
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return PlainTextResponse("Forms are sent as application/x-www-form-urlencoded.", 415)
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none") or (origin is not None and parts(origin).netloc != headers.get("host")):
        return PlainTextResponse("The form comes from another site.", 403)
    return None


class RateLimit:
    """A bucket for each key: `burst` requests at once, `per_second` in the long run. Keeps the latest 10,000 keys."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._rate, self._burst = per_second, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, key: str) -> bool:
        """Counts one request of `key`; False if it is one too many."""
        now = time.monotonic()
        with self._lock:
            left, before = self._buckets.pop(key, (float(self._burst), now))
            left = min(self._burst, left + (now - before) * self._rate)
            self._buckets[key] = (left - 1 if left >= 1 else left, now)
            if len(self._buckets) > 10_000:
                self._buckets.popitem(last=False)
            return left >= 1


def seal(secret: str, text: str) -> str:
    """HMAC-SHA256 of `text`, 64 hexadecimal digits: what a page proves that it came from this server with."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Comparison that takes the same time wherever the strings differ."""
    return hmac.compare_digest(given.encode(), expected.encode())
