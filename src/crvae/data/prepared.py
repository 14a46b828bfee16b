"""Prepared data as it is read: the card, the splits, images and labels by index."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from shlex import quote
from typing import Any, SupportsIndex

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from crvae.data.card import CARD, CARD_BYTES, Card, Shard, SplitCard, column_of, parse_card
from crvae.data.indices import values_of, whole_number
from crvae.data.stored import pixels
from crvae.errors import UserError
from crvae.pictures import from_8_bit

RESIDENT_BYTES = 1 << 30
"""A split of at most this many decoded bytes is decoded once and kept in memory; a larger one is read shard by shard.

It decides the order of the images too, so it is a constant, not an option: the same data train the same everywhere.
"""

_SHARDS_KEPT = 4
"""Encoded shards kept in memory while a larger split is read."""


class PreparedData:
    """An opened prepared dataset. It can be given wherever its path can."""

    def __init__(self, path: str, files: Any, root: str, card: Card) -> None:
        self.path = path
        self.card = card
        self._files = files
        self._root = root
        self._checked: set[str] = set()

    def __fspath__(self) -> str:
        return self.path

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the content."""
        return self.card.fingerprint

    def open(self, shard: Shard) -> Any:
        """A shard to read. When it is opened first, its hash is compared with the card's; raises UserError if they differ.

        Damage must not reach the images, and not the labels.
        """
        file = self._files.open(f"{self._root}/{shard.file}", "rb")
        if shard.file in self._checked:
            return file
        with file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != shard.sha256:
            raise UserError(
                f"{self.path}/{shard.file} is damaged, or not the file that {CARD} describes: copy it or prepare the data again"
            )
        self._checked.add(shard.file)
        return pa.BufferReader(content)

    def table(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        """A shard, or some of its columns. Raises UserError if it is missing, damaged or not what the card describes."""
        try:
            with self.open(shard) as file:
                table = pq.read_table(file, columns=columns).combine_chunks()
        except (OSError, pa.ArrowInvalid, pa.ArrowException) as error:
            what = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
            raise UserError(f"{self.path}/{shard.file} {what}: copy or prepare the data again") from None
        if table.num_rows != shard.count:
            raise UserError(f"{self.path}/{shard.file} is not the file that the card describes: prepare the data again")
        return table

    def split(self, name: str) -> Split:
        """One split by name. Raises UserError if there is none of that name."""
        if name not in self.card.splits:
            cure = "choose one of these" if len(self.card.splits) > 1 else "prepare more images that differ"
            raise UserError(f"{self.path} has no {name!r} split, only {', '.join(self.card.splits)}: {cure}")
        return Split(self, name)


class Split:
    """One split of a prepared dataset: images with labels. `split[:8]` are images as models take them, `images` as stored."""

    def __init__(self, data: PreparedData, name: str) -> None:
        self.data = data
        self.name = name
        self.card: SplitCard = data.card.splits[name]
        self.first = np.cumsum([0] + [shard.count for shard in self.card.shards])
        """Index of the first image of each shard, and the number of images."""
        if self.first[-1] != self.card.count:
            raise UserError(
                f"{data.path}/{CARD} is damaged (the shards of {name} do not add up): prepare the data again"
            )
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()
        self._labels: dict[tuple[int, str], np.ndarray] = {}
        self._resident: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return self.card.count

    def __getitem__(
        self, index: SupportsIndex | slice | Sequence[int] | Tensor | np.ndarray
    ) -> Float[Tensor, "*b c h w"]:
        """Images in [-1, 1], at the data's own size: one (`c h w`) for a number, else `b c h w`.

        Raises IndexError if there are no such images, TypeError for an index of another kind, as `images` does.
        """
        if isinstance(index, slice):
            return from_8_bit(self.images(range(len(self))[index]))
        number = whole_number(index)
        if number is None:
            return from_8_bit(self.images(index))  # type: ignore[arg-type]
        if not -len(self) <= number < len(self):  # what ends a loop over the split
            raise IndexError(f"the split has {len(self)} images, got index {number}")
        return from_8_bit(self.images([number % len(self)]))[0]

    @property
    def resident(self) -> bool:
        """Whether the split is small enough to be kept in memory, decoded."""
        card = self.data.card
        return len(self) * card.channels * max(card.sizes) ** 2 <= RESIDENT_BYTES

    def images(
        self, indices: Sequence[int] | Tensor | np.ndarray, *, size: int | None = None
    ) -> UInt8[Tensor, "b c h w"]:
        """The images at `indices`, at the data's own size or the paired one.

        `indices`: whole numbers from 0 on, or a mask of a bool for each image of the split, here and wherever there are
        indices. Raises IndexError for indices outside the split and a mask of another length, TypeError for other kinds
        of values, and UserError for a size that is not stored.
        """
        size = self._size(size)
        rows = self._rows(indices)
        if size in self._resident:
            return self._resident[size][torch.from_numpy(rows)]
        card = self.data.card
        images = torch.empty(len(rows), card.channels, size, size, dtype=torch.uint8)
        for shard, places in self._by_shard(rows):
            column = self._table(shard)[column_of(size, card.size)].chunk(0).field("bytes")
            for place in places:
                images[place] = self._decode(column[int(rows[place] - self.first[shard])].as_py(), size)
        return images

    def everything(self, *, size: int | None = None) -> UInt8[Tensor, "b c h w"]:
        """All images, decoded once and kept. For splits that are `resident`."""
        size = self._size(size)
        if size not in self._resident:
            self._resident[size] = self.images(range(len(self)), size=size)
        return self._resident[size]

    def labels(self, indices: Sequence[int] | Tensor | np.ndarray, column: str = "label") -> Int64[Tensor, " b"]:
        """The labels at `indices`: positions in `classes(column)`, -1 where unknown. Raises UserError for an unknown column."""
        self.classes(column)
        rows = self._rows(indices)
        labels = np.empty(len(rows), dtype=np.int64)
        for shard, places in self._by_shard(rows):
            labels[places] = self._values(shard, column)[rows[places] - self.first[shard]]
        return torch.from_numpy(labels)

    @property
    def attributes(self) -> dict[str, tuple[str, ...]]:
        """Attribute -> the names of its values: the label columns, besides `label`, of 2 to 255 values that occur.

        What an image is known to lack (no glasses) is the value `none`.
        """
        card = self.data.card
        return {name: card.columns[name] for name in card.attributes}

    def attribute_values(
        self, indices: Sequence[int] | Tensor | np.ndarray, names: Sequence[str] | None = None
    ) -> Int64[Tensor, "b a"]:
        """A column for each of `names` (all attributes by default): positions in `attributes[name]`, -1 where unknown.

        Raises UserError if a name is not an attribute.
        """
        known = self.attributes
        names = list(known) if names is None else list(names)
        for name in names:
            if name not in known:
                only = f"only {', '.join(known)}" if known else "none at all"
                raise UserError(f"{self.data.path} has no attribute {name!r}, {only}")
        if not names:
            return torch.empty(len(self._rows(indices)), 0, dtype=torch.int64)
        return torch.stack([self.labels(indices, name) for name in names], 1)

    def keys(self, indices: Sequence[int] | Tensor | np.ndarray) -> list[str]:
        """The source's own names of the images at `indices`."""
        rows = self._rows(indices)
        keys = [""] * len(rows)
        for shard, places in self._by_shard(rows):
            column = self._table(shard)["key"]
            for place in places:
                keys[place] = column[int(rows[place] - self.first[shard])].as_py()
        return keys

    def classes(self, column: str = "label") -> tuple[str, ...]:
        """The class names of a label column. Raises UserError if the data have no such column."""
        columns = self.data.card.columns
        if column not in columns:
            known = f"only {', '.join(columns)}" if columns else "no labels at all"
            raise UserError(f"{self.data.path} has no label column {column!r}, {known}")
        return columns[column]

    def _size(self, size: int | None) -> int:
        card = self.data.card
        if size is not None and size not in card.sizes:
            stored = " and ".join(map(str, card.sizes))
            raise UserError(
                f"{self.data.path} holds images of {stored} pixels, not {size}: prepare it with --pair {size}"
            )
        return size or card.size

    def _rows(self, indices: Sequence[int] | Tensor | np.ndarray) -> np.ndarray:
        """`indices` as whole numbers. Raises IndexError and TypeError as `images` says."""
        rows = values_of(indices)
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                shape = tuple(rows.shape)
                raise IndexError(f"a mask of bools must have the shape ({len(self)},), one for each image, got {shape}")
            rows = np.flatnonzero(rows)
        rows = rows.astype(np.int64, copy=False).reshape(-1)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"indices must lie in 0..{len(self) - 1}")
        return rows

    def _by_shard(self, rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """The shards that `rows` touch, each with the positions in `rows` that fall into it."""
        shards = np.searchsorted(self.first, rows, side="right") - 1
        return [(int(shard), np.flatnonzero(shards == shard)) for shard in np.unique(shards)]

    def _table(self, shard: int) -> pa.Table:
        """A whole shard, encoded; the last few are kept."""
        if shard not in self._tables:
            table = self._read(shard)
            while len(self._tables) >= _SHARDS_KEPT:
                self._tables.popitem(last=False)
            self._tables[shard] = table
        self._tables.move_to_end(shard)
        return self._tables[shard]

    def _values(self, shard: int, column: str) -> np.ndarray:
        """The labels of a shard, without reading its images; all are kept."""
        if (shard, column) not in self._labels:
            columns = [column] if column == "label" else list(self.data.card.columns)
            table = self._tables.get(shard) or self._read(shard, columns)
            for name in columns:
                self._labels[shard, name] = table[name].to_numpy().astype(np.int32)
        return self._labels[shard, column]

    def _read(self, shard: int, columns: list[str] | None = None) -> pa.Table:
        return self.data.table(self.card.shards[shard], columns)

    def _decode(self, png: bytes | None, size: int) -> UInt8[Tensor, "c h w"]:
        """One stored image; its header is checked before it is decoded."""
        with contextlib.suppress(ValueError):
            return pixels(png or b"", self.data.card.channels, (size, size))
        raise UserError(f"{self.data.path} is damaged (an image is not a PNG of {size} pixels): prepare the data again")


def open_data(path: str | os.PathLike[str]) -> PreparedData:
    """Opens what `crvae prepare` made, from a folder or any fsspec path (`s3://bucket/birds`).

    Raises UserError if it is missing, not prepared, damaged, or of a newer format.
    """
    name = os.fspath(path)
    if not name:
        raise UserError("the data (--data) are an empty name: give the folder that `crvae prepare` made")
    try:
        here = os.path.exists(name)  # a folder of this name comes before what fsspec reads into it: `a::b` is a chain
        files, root = (fsspec.filesystem("file"), os.path.abspath(name)) if here else fsspec.core.url_to_fs(name)
        if not files.exists(f"{root}/{CARD}"):
            if not files.exists(root):
                raise UserError(f"the data {name} do not exist: make them with `crvae prepare SOURCE {quote(name)}`")
            raise UserError(f"{name} is not prepared data (no {CARD}): make it with `crvae prepare {quote(name)} OUT`")
        if files.size(f"{root}/{CARD}") > CARD_BYTES:
            raise UserError(f"{name}/{CARD} is larger than any card: prepare the data again")
        text = files.cat_file(f"{root}/{CARD}")
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"the data {name} cannot be opened ({error})") from None
    return PreparedData(name, files, root, parse_card(text, name))
