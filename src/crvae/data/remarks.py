"""What is odd about images that are stored all the same: counted while they are prepared, said once in the card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from PIL import Image

from crvae.data.images import Box, Form, region

ENLARGED, BLACK = "enlarged", "black"

_DARK = 16
"""An image without a larger value, of 255, looks black: so do 12 bits in a file of 16."""


def remarks(image: Image.Image, form: Form, box: Box | None) -> list[str]:
    """What is odd about one decoded image, mode `L` or `RGB`, that is cut and scaled by `form` and `box`."""
    left, top, right, bottom = region(image.size, form, box)
    brightest = max(channel.getextrema()[1] for channel in image.split())  # type: ignore[type-var]
    found = {ENLARGED: min(right - left, bottom - top) < max(form.sizes), BLACK: brightest <= _DARK}  # type: ignore[operator]
    return [name for name, holds in found.items() if holds]


def in_words(counts: Mapping[str, int], stored: int, form: Form) -> tuple[str, ...]:
    """A sentence for each kind of remark that was made, of `stored` images."""
    counts, size = Counter(counts), max(form.sizes)
    sentences = {
        ENLARGED: f"smaller than {size}x{size} pixels where they were cut, and enlarged: they are blurred",
        BLACK: f"nearly black, without a value above {_DARK} of 255: scale 10 or 12 bits to 16 before they are saved as such",
    }
    return tuple(
        f"{counts[name]:,} of {stored:,} images are {words}" for name, words in sentences.items() if counts[name]
    )
