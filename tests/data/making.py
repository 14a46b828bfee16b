"""Datasets made in one call, and what is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from crvae.data import open_data, prepare_source


def made(source: object, out: Path, **options: object):
    """The prepared data, whose card accounts for every file."""
    card = prepare_source(str(source), out, size=8, workers=1, **options)
    files = card.files
    assert files is not None
    assert files.found == files.used + files.repeated + files.skipped + files.not_looked_at
    assert files.skipped == len(card.skipped)
    assert files.not_looked_at == sum(kind.count for kind in card.not_looked_at)
    return open_data(out)


def contents(data) -> dict[str, list[tuple[str, str | None]]]:
    """Split -> (key, class) of its images."""
    found = {}
    for name in data.card.splits:
        split = data.split(name)
        every = range(len(split))
        classes = data.card.columns.get("label", ())
        labels = split.labels(every).tolist() if classes else [-1] * len(split)
        found[name] = sorted(
            (key, classes[label] if label >= 0 else None) for key, label in zip(split.keys(every), labels, strict=True)
        )
    return found


def picture(seed: int, width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    """A picture that no other seed gives."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).convert(mode)
