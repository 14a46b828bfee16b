"""One call from the name of a source to prepared data: what `crvae prepare` does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from crvae.data.card import Card
from crvae.data.images import Crop, Form, Resample, Square
from crvae.data.preparation import must_not_exist, prepare
from crvae.data.registry import named
from crvae.data.source import Source
from crvae.errors import UserError

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

LIMITS: dict[str, tuple[float, float]] = {
    "size": (8, 512),
    "pair": (9, 1024),
    "workers": (1, 256),
    "margin": (0, 2),
    "pixel_limit": (0.001, 1000),
}
"""Option -> least and most."""


def prepare_source(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    size: int = 64,
    pair: int | None = None,
    channels: Literal[1, 3] | None = None,
    crop: Crop | None = None,
    margin: float | None = None,
    square: Square = "longer",
    resample: Resample = "bicubic",
    pixel_limit: float = 200.0,
    workers: int = CORES,
    watch: Callable[[Source], Callable[[int], None]] = lambda source: lambda items: None,
    **options: Any,
) -> Card:
    """Prepares `source` (a path or a name) into the new folder `out`, and returns its card.

    `options` are the source's own, by name; all are documented by `crvae prepare --help`. `watch` is given the source
    and returns what is told how many more of its items are done. Raises UserError for whatever is wrong with them.
    """
    given = {"size": size, "pair": pair, "workers": workers, "margin": margin, "pixel_limit": pixel_limit}
    for name, (least, most) in LIMITS.items():
        least = size + 1 if name == "pair" else least
        value = given[name]
        if value is not None and not least <= value <= most:
            raise UserError(f"--{name.replace('_', '-')} must lie between {least} and {most}, got {value}")
    target = Path(out).expanduser()
    must_not_exist(target)
    sizes = (size,) if pair is None else (size, pair)
    form = Form(sizes=sizes, square=square, resample=resample, pixel_limit=round(pixel_limit * 1e6))
    options = {name: value.expanduser() if isinstance(value, Path) else value for name, value in options.items()}
    found = named(os.path.expanduser(source), form, options, channels=channels, crop=crop, margin=margin)
    return prepare(found, target, workers=workers, report=watch(found))
