"""From a run of items to the rows of its shards: what a worker process of a preparation does."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from crvae.data.card import column_of
from crvae.data.images import Form, Unusable, decode, encode, scale
from crvae.data.source import UNKNOWN, Item, Source

RUN = 2048
"""Items of one run; a run gives one shard a split."""


@dataclass
class Rows:
    """What one run gave, split by split."""

    columns: dict[str, dict[str, list[object]]] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def add(self, split: str, row: dict[str, object]) -> None:
        columns = self.columns.setdefault(split, {name: [] for name in row})
        for name, value in row.items():
            columns[name].append(value)


def collect(source: Source, items: Sequence[Item], *, alone: bool) -> Rows:
    """Opens, decodes, crops and scales `items`. `alone`: they are the whole source, so neither split may stay empty."""
    form, rows = source.form, Rows()
    opened: list[tuple[Item, str, str, list[bytes]]] = []
    for item in items:
        try:
            digest, images = _row(source.open(item), form, item)
        except Unusable as error:
            rows.skipped.append((item.key, str(error)))
        except OSError as error:
            rows.skipped.append((item.key, f"cannot be read ({error.strerror or type(error).__name__})"))
        else:
            opened.append((item, item.split or by_content(digest), digest, images))
    if alone and len(opened) > 1 and all(i.split is None for i, *_ in opened) and len({s for _, s, *_ in opened}) == 1:
        least = min(range(len(opened)), key=lambda i: opened[i][2])
        other = "validation" if opened[least][1] == "train" else "train"
        opened[least] = (opened[least][0], other, *opened[least][2:])
    for item, split, digest, images in opened:
        row: dict[str, object] = {"key": item.key, "content": bytes.fromhex(digest)[:16]}
        row |= {column_of(size, form.sizes[0]): image for size, image in zip(form.sizes, images, strict=True)}
        rows.add(split, row | {name: item.labels.get(name, UNKNOWN) for name in source.columns})
    return rows


def by_content(digest: str) -> str:
    """10% of all contents are validation: the same file is on the same side wherever it lies."""
    return "validation" if int(digest, 16) % 10 == 0 else "train"


def _row(content: bytes | Image.Image, form: Form, item: Item) -> tuple[str, list[bytes]]:
    """SHA-256 of the content, and the stored images."""
    if isinstance(content, bytes):
        digest = hashlib.sha256(content).hexdigest()
        image = decode(content, form, upright=item.box is None)
    else:
        image = content
        digest = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
    return digest, [encode(part) for part in scale(image, form, item.box)]


def schema(sizes: Sequence[int], columns: dict[str, tuple[str, ...]]) -> pa.Schema:
    """The shards' schema; `datasets.load_dataset("parquet", ...)` finds images and class names in it."""
    from datasets import ClassLabel, Features, Value
    from datasets import Image as ImageFeature

    features: dict[str, object] = {"key": Value("string"), "content": Value("binary")}
    features |= {column_of(size, sizes[0]): ImageFeature() for size in sizes}
    features |= {name: ClassLabel(names=list(classes)) for name, classes in columns.items()}
    return Features(features).arrow_schema


def shard_name(split: str, run: int) -> str:
    return f"{split}-{run:06d}.parquet"


def write_run(source: Source, run: int, items: Sequence[Item], form: pa.Schema, folder: Path, *, alone: bool) -> None:
    """Prepares one run: a shard for each split that it touches, then a receipt, which says that the run is complete."""
    rows = collect(source, items, alone=alone)
    receipt: dict[str, object] = {"items": len(items), "skipped": rows.skipped, "shards": {}}
    for split, columns in rows.columns.items():
        arrays = []
        for name in form.names:
            values = columns[name]
            if name.startswith("image"):
                values = [{"bytes": value, "path": None} for value in values]
            arrays.append(pa.array(values, form.field(name).type))
        path = folder / shard_name(split, run)
        write_whole(path, lambda file, a=arrays: pq.write_table(pa.table(a, schema=form), file, compression="none"))
        data = path.read_bytes()
        entry = {"file": path.name, "count": len(arrays[0]), "sha256": hashlib.sha256(data).hexdigest()}
        counts = {name: [0] * len(classes) for name, classes in source.columns.items()}
        for name in counts:
            for label in columns[name]:
                if isinstance(label, int) and label != UNKNOWN:
                    counts[name][label] += 1
        receipt["shards"][split] = entry | {"classes": counts}  # type: ignore[index]
    write_whole(receipt_path(folder, run), lambda file: Path(file).write_text(json.dumps(receipt)))


def receipt_path(folder: Path, run: int) -> Path:
    return folder / f"run-{run:06d}.json"


def write_whole(path: Path, write: Callable[[str], object]) -> None:
    """Lets `write` fill a temporary sibling, then renames it: the final name never holds half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(str(temporary))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
