"""Channel-recurrent autoencoding of images (Shang, Sohn and Tian, WACV 2018).

>>> import crvae
>>> model = crvae.load("runs/birds")       # a run, an exported folder, a built-in name, or "hub:owner/name"
>>> images = model.sample(16, seed=0)      # b c h w in [-1, 1]

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crvae import models, tasks
    from crvae.models.autoencoder import Autoencoder
    from crvae.models.upsampler import Upsampler
    from crvae.storage.models import load

__version__ = "0.1.0"

__all__ = ["Autoencoder", "Upsampler", "__version__", "load", "models", "tasks"]

_HOME = {
    "load": "crvae.storage.models",
    "Autoencoder": "crvae.models.autoencoder",
    "Upsampler": "crvae.models.upsampler",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in ("models", "tasks"):
        return importlib.import_module(f"crvae.{name}")
    raise AttributeError(f"module 'crvae' has no attribute {name!r}")
