"""Pictures from files for a model, in one call; and a word about the files that could not be used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from crvae.data.accounts import printable
from crvae.models.given import check_count
from crvae.models.model import Model
from crvae.progress import progress, silent
from crvae.tasks.inputs import Images, read_images

SHOWN = 5
"""Skipped files that are named."""


def read(source: str | os.PathLike[str], model: Model, count: int | None = None) -> Float[Tensor, "b c h w"]:
    """The pictures of `source` as `model` takes them: `b c h w` in [-1, 1], at its size and channels, on its device.

    `source`: one image file, a folder of them, or prepared data, of which the validation images are read. Files are read as
    `--images` of the commands reads them: turned as the camera says, transparency laid on white, cut to the largest centred
    square, scaled with antialiasing; a folder's in the order of their paths. A folder's files that cannot be used are named on
    standard error and left out. `count`: the most images, the first ones; without it, all.

    Raises UserError if `source` does not exist, is not an image, or holds no usable one, or if `count` is below 1.

    >>> x = crvae.read("photo.png", model)           # 1 c h w in [-1, 1]
    >>> crvae.show(model.reconstruct(x))
    """
    if count is not None:
        check_count(count)
    path = os.path.expanduser(source)
    limit = sys.maxsize if count is None else count
    if not Path(path).is_dir():
        return read_images(path, model, option="source", limit=limit, progress=silent).x.to(model.device)
    with progress() as advance:
        images = read_images(path, model, option="source", limit=limit, progress=advance)
    tell_skipped(images)
    return images.x.to(model.device)


def tell_skipped(images: Images) -> None:
    """Names on standard error the first files of a folder that could not be used, and counts the others."""
    for sentence in images.skipped[:SHOWN]:
        print(printable(f"skipped: {sentence}"), file=sys.stderr)
    if len(images.skipped) > SHOWN:
        print(f"skipped: {len(images.skipped) - SHOWN:,} more", file=sys.stderr)
    for line in images.not_looked_at[:SHOWN]:
        print(printable(line), file=sys.stderr)
