"""Any source of images to one prepared format, and from there to training.

Nothing is imported before it is used: the worker processes of a preparation never need torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crvae.data.card import Card
    from crvae.data.prepared import PreparedData, Split, open_data
    from crvae.data.stream import batches

_HOME = {"Card": "card", "PreparedData": "prepared", "Split": "prepared", "open_data": "prepared", "batches": "stream"}

__all__ = ["Card", "PreparedData", "Split", "batches", "open_data"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'crvae.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crvae.data.{_HOME[name]}"), name)
