"""What a trained model is for: sampling, reconstructing, completing, walking through the time steps.

Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crvae.tasks.sampling import sample_images

_HOME = {"sample_images": "sampling"}

__all__ = ["sample_images"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'crvae.tasks' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crvae.tasks.{_HOME[name]}"), name)
