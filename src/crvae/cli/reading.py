"""The images that a command is given, and a word about those that it could not use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crvae.progress import Progress

if TYPE_CHECKING:
    from crvae.models.model import Model
    from crvae.tasks.inputs import Images


def images_of(source: str, model: Model, *, option: str, limit: int, pixel_limit: float, progress: Progress) -> Images:
    """The first `limit` images of `source`, none above `pixel_limit` megapixels.

    Raises UserError, naming `option`, if there are none.
    """
    from crvae.data.images import pixels
    from crvae.tasks.inputs import read_images
    from crvae.tasks.reading import tell_skipped

    images = read_images(source, model, option=option, limit=limit, pixels=pixels(pixel_limit), progress=progress)
    tell_skipped(images)
    return images
