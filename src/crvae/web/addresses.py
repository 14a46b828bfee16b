"""Addresses that come in the headers of requests, malformed ones too."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def parts(address: str) -> SplitResult:
    """Its parts; all empty if it is not an address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
