"""What a source of images is: items in a fixed order, each of which opens to one candidate image with labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image

from crvae.data.images import Box, Form, Unusable

UNKNOWN = -1
"""The label of an image whose class is not known."""


@dataclass(frozen=True)
class Item:
    """One image that a source announces: cheap, picklable, and named in the same way on every machine."""

    key: str
    """The source's own name of the image."""
    at: object = None
    """How the source finds it."""
    split: str | None = None
    """`train`, `validation` or `test`; None lets the content decide (10% validation)."""
    labels: Mapping[str, int] = field(default_factory=dict)
    box: Box | None = None
    """Region of interest."""


class Source(Protocol):
    """Where images come from. Picklable: worker processes open the items."""

    @property
    def name(self) -> str: ...

    @property
    def form(self) -> Form: ...

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Label column -> class names."""
        ...

    @property
    def count(self) -> int:
        """Number of items."""
        ...

    @property
    def description(self) -> dict[str, object]:
        """Goes into the card: what decides the content, with no path of this machine."""
        ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def licences(self) -> dict[str, str]: ...

    def items(self) -> Iterator[Item]:
        """All items, in the same order every time."""
        ...

    def open(self, item: Item) -> bytes | Image.Image:
        """The image's file, or the image itself where there is none. Raises Unusable, OSError."""
        ...


def read_file(path: Path, form: Form) -> bytes:
    """A whole file. Raises Unusable where it is larger than any image within the pixel limit, OSError as reading does."""
    with path.open("rb") as file:
        data = file.read(form.byte_limit + 1)
    if len(data) > form.byte_limit:
        raise Unusable(
            f"is a file of more than {form.byte_limit >> 20} MiB, which no image within the pixel limit needs"
        )
    return data
