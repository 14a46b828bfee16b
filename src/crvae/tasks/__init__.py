"""What a trained model is for: sampling, reconstructing, completing, walking through the time steps.

Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crvae.tasks.completion import Completions, complete
    from crvae.tasks.occlusion import blend, masks
    from crvae.tasks.profiling import profile
    from crvae.tasks.sampling import sample_images
    from crvae.tasks.search import Search
    from crvae.tasks.traversal import interpolation, progression, replace_block, styles

_HOME = {
    "Completions": "completion",
    "complete": "completion",
    "blend": "occlusion",
    "masks": "occlusion",
    "profile": "profiling",
    "sample_images": "sampling",
    "Search": "search",
    "interpolation": "traversal",
    "progression": "traversal",
    "replace_block": "traversal",
    "styles": "traversal",
}

__all__ = [
    "Completions",
    "Search",
    "blend",
    "complete",
    "interpolation",
    "masks",
    "profile",
    "progression",
    "replace_block",
    "sample_images",
    "styles",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'crvae.tasks' has no attribute {name!r}")
    return getattr(importlib.import_module(f"crvae.tasks.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
