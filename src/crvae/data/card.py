"""The data card: what is in a prepared dataset, where it came from and how it was made."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator

from crvae.config.base import FORMAT, check_format
from crvae.errors import UserError

CARD = "card.json"
"""The card's file name; a folder without one is not prepared data."""

SHARD = r"[a-z0-9]+-[0-9]{6}\.parquet"
"""Names of the files of images."""

MOST_VALUES = 255
"""A label column of more values is not an attribute: an identity, a caption."""

CARD_BYTES = 1 << 28
"""A larger card is refused unread."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shard(_Part):
    """One Parquet file."""

    file: Annotated[str, Field(pattern=f"^{SHARD}$")]
    count: Annotated[int, Field(ge=1, le=1 << 20)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SplitCard(_Part):
    """One split: its number of images, its shards in order, and the images of every class of every label column."""

    count: Annotated[int, Field(ge=1)]
    shards: tuple[Shard, ...]
    classes: dict[str, tuple[int, ...]] = {}


class Skipped(_Part):
    """One file of the source that gave no image, and why."""

    file: str
    reason: str


class NotLookedAt(_Part):
    """Files of one kind in the source that are not candidates for images."""

    reason: str
    count: Annotated[int, Field(ge=1)]
    first: tuple[str, ...] = ()


class Files(_Part):
    """What became of every file (or row) of the source: `found = used + repeated + skipped + not_looked_at`."""

    found: int
    used: int
    """Images whose content no earlier one has."""
    repeated: int
    """Those whose content an earlier one has; they are kept on its side of the split, unless the source says otherwise."""
    skipped: int
    not_looked_at: int


class Attribute(_Part):
    """A categorical property of the images that takes 2 to MOST_VALUES values."""

    values: dict[str, int]
    """Value -> how many images have it, over all splits."""
    rarest: str
    unknown: int
    """Images without a value; what an image is known to lack is the value `none`."""


class Duplicates(_Part):
    """Images whose content (the source's file, byte for byte, or the rendered pixels) was seen before."""

    images: int = 0
    """How many repeat an earlier one."""
    across_splits: int = 0
    """How many of those are in another split than the earlier one."""
    pairs: tuple[tuple[str, str], ...] = ()
    """The first of them, each with the earlier one that it repeats."""


class Card(_Part):
    """What `card.json` holds."""

    format: Literal[1] = FORMAT
    name: str
    size: Annotated[int, Field(ge=1, le=4096)]
    """Height and width of the images, in pixels."""
    pair: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Height and width of the larger image of each row, in pixels, where there is one."""
    channels: Literal[1, 3]
    splits: dict[str, SplitCard]
    columns: dict[str, tuple[str, ...]] = {}
    """Label column -> the names of its classes; a label is an index into them, or -1 where unknown."""
    boxes: dict[str, tuple[float, float, float, float]] = {}
    """Where parts of an aligned face lie (`eyes`, `mouth`): top, left, bottom, right, as fractions of the image."""
    source: dict[str, object] = {}
    preparation: dict[str, object] = {}
    """How images were cropped and scaled."""
    notes: tuple[str, ...] = ()
    duplicates: Duplicates = Duplicates()
    skipped: tuple[Skipped, ...] = ()
    not_looked_at: tuple[NotLookedAt, ...] = ()
    files: Files | None = None
    versions: dict[str, str] = {}
    licences: dict[str, str] = {}
    copy_of: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """The fingerprint of data of which these are a copy, image for image and label for label, in files of other bytes."""

    @model_validator(mode="after")
    def _columns_are_counted(self) -> Card:
        for name, split in self.splits.items():
            for column, values in self.columns.items():
                if len(split.classes.get(column, ())) != len(values):
                    raise ValueError(f"the classes of {column} in {name} are not counted")
        return self

    @computed_field
    @property
    def attributes(self) -> dict[str, Attribute]:
        """The label columns besides `label` that have 2 to MOST_VALUES values with images."""
        found = {}
        for name, values in self.columns.items():
            counts = [sum(split.classes[name][i] for split in self.splits.values()) for i in range(len(values))]
            present = {value: count for value, count in zip(values, counts, strict=True) if count}
            if name != "label" and 2 <= len(present) <= MOST_VALUES:
                unknown = sum(split.count for split in self.splits.values()) - sum(counts)
                found[name] = Attribute(
                    values=present, rarest=min(present, key=lambda v: (present[v], v)), unknown=unknown
                )
        return found

    @property
    def sizes(self) -> tuple[int, ...]:
        """The resolutions that every row holds, in pixels, smallest first."""
        return (self.size,) if self.pair is None else (self.size, self.pair)

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the content: the names, counts and hashes of all shards, and what the pixels mean."""
        if self.copy_of is not None:
            return self.copy_of
        content = [self.size, self.pair, self.channels, sorted(self.columns.items())]
        shards = [[name, [s.model_dump() for s in split.shards]] for name, split in sorted(self.splits.items())]
        return hashlib.sha256(json.dumps([content, shards]).encode()).hexdigest()


def column_of(size: int, card_size: int) -> str:
    """Name of the Parquet column that holds the images of `size` pixels."""
    return "image" if size == card_size else f"image_{size}"


def parse_card(text: bytes, path: str) -> Card:
    """Reads a card. Raises UserError if it is not a card, damaged, or of a newer format."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{path}/{CARD} is damaged (not JSON): prepare the data again") from None
    if isinstance(raw, dict) and type(raw.get("format")) is int:
        check_format(raw, path, "prepared data")
    if isinstance(raw, dict):
        raw.pop("attributes", None)  # worked out from the columns
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "its content"
        raise UserError(f"{path}/{CARD} is damaged ({where}: {first['msg']}): prepare the data again") from None
