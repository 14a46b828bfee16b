"""What a source of images is: items in a fixed order, each of which opens to one candidate image with labels."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from crvae.data.accounts import Ignored
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


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where images come from. Picklable: worker processes open the items."""

    name: str
    form: Form
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Label column -> class names."""
    notes: tuple[str, ...] = ()
    licences: Mapping[str, str] = field(default_factory=dict)
    not_looked_at: tuple[Ignored, ...] = ()
    """Files that are not candidates, by kind."""
    left_out: int = 0
    """Candidates that repeat another and are not items."""
    boxes: Mapping[str, tuple[float, float, float, float]] = field(default_factory=dict)
    """Part of an aligned face -> where it lies: top, left, bottom, right, as fractions of the image."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of items."""

    @property
    @abstractmethod
    def description(self) -> dict[str, object]:
        """Goes into the card: what decides the content, with no path of this machine."""

    @property
    def local_files(self) -> Iterable[Path]:
        """The files of this machine that its images lie in, where it can name them."""
        return ()

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """All items, in the same order every time."""

    @abstractmethod
    def open(self, item: Item) -> bytes | Image.Image:
        """The image's file, or the image itself where there is none. Raises Unusable, OSError."""


def read_file(path: Path, limit: int) -> bytes:
    """A whole file. Raises Unusable if it has more than `limit` bytes, in words about an image; OSError as reading does."""
    with open(path, "rb", buffering=0) as file:
        small = os.fstat(file.fileno()).st_size <= limit
        data = file.read() if small else b""
    if not small or len(data) > limit:
        raise Unusable(f"is a file of more than {limit >> 20} MiB, which no image within the pixel limit needs")
    return data
