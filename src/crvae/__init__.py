"""Channel-recurrent autoencoding of images (Shang, Sohn and Tian, WACV 2018).

>>> import crvae
>>> crvae.prepare("photos", "data/photos")                                       # a folder of pictures -> a dataset
>>> model = crvae.train("fast-crvae-gan-mi", "data/photos", "runs/photos")
>>> model = crvae.load("runs/photos")      # a run, an exported folder, a built-in name, or "hub:owner/name"
>>> images = model.sample(64, seed=0)      # b c h w in [-1, 1]
>>> crvae.show(images)                     # one picture
>>> x = crvae.read("photos", model)        # your own pictures, as the model takes them
>>> crvae.evaluate(model, "data/photos")   # KID, FID, reconstruction, ...

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crvae import data, errors, models, objectives, pictures, tasks
    from crvae.data.prepared import open_data
    from crvae.data.request import prepare
    from crvae.evaluation.scores import evaluate
    from crvae.models.autoencoder import Autoencoder
    from crvae.models.upsampler import Upsampler
    from crvae.pictures import show
    from crvae.storage.models import load, load_discriminator
    from crvae.tasks.reading import read
    from crvae.training.calls import resume, train

__version__ = "0.1.0"

__all__ = [
    "Autoencoder",
    "Upsampler",
    "__version__",
    "data",
    "errors",
    "evaluate",
    "load",
    "load_discriminator",
    "models",
    "objectives",
    "open_data",
    "pictures",
    "prepare",
    "read",
    "resume",
    "show",
    "tasks",
    "train",
]

_HOME = {
    "Autoencoder": "crvae.models.autoencoder",
    "Upsampler": "crvae.models.upsampler",
    "evaluate": "crvae.evaluation.scores",
    "load": "crvae.storage.models",
    "load_discriminator": "crvae.storage.models",
    "open_data": "crvae.data.prepared",
    "prepare": "crvae.data.request",
    "read": "crvae.tasks.reading",
    "resume": "crvae.training.calls",
    "show": "crvae.pictures",
    "train": "crvae.training.calls",
}

_PARTS = ("data", "errors", "models", "objectives", "pictures", "tasks")


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _PARTS:
        return importlib.import_module(f"crvae.{name}")
    raise AttributeError(f"module 'crvae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
