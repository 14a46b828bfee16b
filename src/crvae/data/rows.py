"""From a chunk of items to the rows of its shards: what a worker process of a preparation does."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from crvae.data.card import column_of
from crvae.data.images import Form, Unusable, decode, encode, scale
from crvae.data.remarks import remarks
from crvae.data.source import UNKNOWN, Item, Source
from crvae.files import whole, write_text

CHUNK = 2048
"""The most items that are prepared together; a chunk gives one shard a split."""
COLUMN_BYTES = 9 * 2**31 // 10
"""Less than the 2 GiB that a column of a shard can hold."""

CONTENT_BYTES = 16
"""How much of a content's SHA-256 is stored, to find duplicates."""


@dataclass
class Rows:
    """What one chunk gave, split by split."""

    columns: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    """Split -> Parquet column -> values."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)
    """What is odd about stored images -> of how many."""

    def add(self, split: str, row: dict[str, object]) -> None:
        columns = self.columns.setdefault(split, {name: [] for name in row})
        for name, value in row.items():
            columns[name].append(value)


def chunk_items(form: Form) -> int:
    """Items of a chunk: of large images fewer, so that even noise fits into a column."""
    return min(CHUNK, COLUMN_BYTES // (form.channels * max(form.sizes) ** 2))


def collect(source: Source, items: Sequence[Item], *, alone: bool) -> Rows:
    """Opens, decodes, crops and scales `items`. `alone`: they are all that the source has.

    Then training and validation both get an image at least, if the source leaves the split to the content; a single
    content trains.
    """
    form, rows = source.form, Rows()
    opened: list[_Opened] = []
    for item in items:
        try:
            digest, images, odd = _row(source.open(item), form, item)
        except Unusable as error:
            rows.skipped.append((item.key, str(error)))
        except OSError as error:
            rows.skipped.append((item.key, f"cannot be read ({error.strerror or type(error).__name__})"))
        else:
            opened.append(_Opened(item, item.split or by_content(digest), digest, images))
            rows.remarks.update(odd)
    free = [row for row in opened if row.item.split is None]
    for needed, other in (("validation", "train"), ("train", "validation")):
        digests = sorted({row.digest for row in free if row.split == other})
        if alone and len(digests) > (needed == "validation") and not any(row.split == needed for row in opened):
            for row in free:  # copies move together
                row.split = needed if row.digest == digests[0] else row.split
    for row in opened:
        columns: dict[str, object] = {"key": row.item.key, "content": bytes.fromhex(row.digest)[:CONTENT_BYTES]}
        columns |= {column_of(size, form.sizes[0]): png for size, png in zip(form.sizes, row.images, strict=True)}
        rows.add(row.split, columns | {name: row.item.labels.get(name, UNKNOWN) for name in source.columns})
    return rows


@dataclass
class _Opened:
    item: Item
    split: str
    digest: str
    images: list[bytes]


def by_content(digest: str) -> str:
    """10% of all contents are validation: the same file is on the same side wherever it lies."""
    return "validation" if int(digest, 16) % 10 == 0 else "train"


def _row(content: bytes | Image.Image, form: Form, item: Item) -> tuple[str, list[bytes], list[str]]:
    """SHA-256 of the content, the stored images, and what is odd about them."""
    if isinstance(content, bytes):
        digest = hashlib.sha256(content).hexdigest()
        free = item.box is None  # a box refers to the file's own pixels
        image = decode(content, form, upright=free, shrink=free)
    else:
        image = content
        digest = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
    return digest, [encode(part) for part in scale(image, form, item.box)], remarks(image, form, item.box)


def schema(sizes: Sequence[int], columns: Mapping[str, tuple[str, ...]]) -> pa.Schema:
    """The shards' schema, with the note by which `datasets.load_dataset("parquet", ...)` knows images and classes.

    The note is written by hand: importing `datasets` for it takes longer than preparing a small set.
    """
    fields = [pa.field("key", pa.string()), pa.field("content", pa.binary())]
    features: dict[str, object] = {
        "key": {"dtype": "string", "_type": "Value"},
        "content": {"dtype": "binary", "_type": "Value"},
    }
    for name in (column_of(size, sizes[0]) for size in sizes):
        fields.append(pa.field(name, pa.struct({"bytes": pa.binary(), "path": pa.string()})))
        features[name] = {"_type": "Image"}
    for name, classes in columns.items():
        fields.append(pa.field(name, pa.int64()))
        features[name] = {"names": list(classes), "_type": "ClassLabel"}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def shard_name(split: str, chunk: int) -> str:
    return f"{split}-{chunk:06d}.parquet"


def write_chunk(
    source: Source, chunk: int, items: Sequence[Item], form: pa.Schema, folder: Path, *, alone: bool
) -> None:
    """Prepares one chunk: a shard for each split that it touches, then a receipt, which says that the chunk is complete."""
    rows = collect(source, items, alone=alone)
    shards = {
        split: _write_shard(source, split, chunk, columns, form, folder) for split, columns in rows.columns.items()
    }
    receipt = json.dumps({"items": len(items), "skipped": rows.skipped, "remarks": rows.remarks, "shards": shards})
    write_text(receipt_path(folder, chunk), receipt)


def _write_shard(
    source: Source, split: str, chunk: int, columns: dict[str, list[Any]], form: pa.Schema, folder: Path
) -> dict[str, object]:
    """Writes one Parquet file; returns what the card says about it, and the images of each class."""
    path = folder / shard_name(split, chunk)
    table = pa.table([_column(columns[name], form.field(name).type) for name in form.names], schema=form)
    with whole(path) as temporary, temporary.open("wb") as file:  # Arrow itself takes no path that is not UTF-8
        pq.write_table(table, file, compression="none", use_dictionary=False)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    classes = {
        name: np.bincount([label for label in columns[name] if label != UNKNOWN], minlength=len(names)).tolist()
        for name, names in source.columns.items()
    }
    return {"file": path.name, "count": len(table), "sha256": digest, "classes": classes}


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.StructType):  # an image
        return pa.StructArray.from_arrays(
            [pa.array(values, pa.binary()), pa.nulls(len(values), pa.string())], fields=list(kind)
        )
    return pa.array(values, kind)


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a shard."""
    with path.open("rb") as file:
        return pq.read_table(file, columns=list(columns))


def receipt_path(folder: Path, chunk: int) -> Path:
    return folder / f"chunk-{chunk:06d}.json"
