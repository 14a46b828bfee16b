"""Any source of images to one prepared format, and from there to training.

Nothing is imported before it is used: the worker processes of a preparation never need torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crvae.data.card import Card
    from crvae.data.prepared import PreparedData, Split, open_data
    from crvae.data.registry import SOURCES
    from crvae.data.request import prepare_source
    from crvae.data.source import Item, Source
    from crvae.data.stream import batches

_HOME = {
    "SOURCES": "registry",
    "Card": "card",
    "Item": "source",
    "PreparedData": "prepared",
    "Source": "source",
    "Split": "prepared",
    "batches": "stream",
    "open_data": "prepared",
    "prepare_source": "request",
}

__all__ = ["SOURCES", "Card", "Item", "PreparedData", "Source", "Split", "batches", "open_data", "prepare_source"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'crvae.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crvae.data.{_HOME[name]}"), name)
