"""Datasets of the Hugging Face hub, and local Parquet or Arrow files, through the `datasets` library."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crvae.data.images import Form, Unusable
from crvae.data.source import UNKNOWN, Item, read_file
from crvae.data.sources.table import COLUMN
from crvae.data.sources.tree import SPLIT_FOLDERS
from crvae.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

ENDINGS = {".parquet": "parquet", ".arrow": "arrow"}


@dataclass(frozen=True)
class Hub:
    """Rows of memory-mapped tables, visited in a fixed shuffled order."""

    name: str
    form: Form
    tables: dict[str, Dataset] = field(repr=False)
    image: str
    columns: dict[str, tuple[str, ...]]
    description: dict[str, object]
    notes: tuple[str, ...] = ()
    licences: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(len(table) for table in self.tables.values())

    def items(self) -> Iterator[Item]:
        values = {column: {name: i for i, name in enumerate(names)} for column, names in self.columns.items()}
        held_out = {SPLIT_FOLDERS.get(name) for name in self.tables}
        for name, table in self.tables.items():
            split = SPLIT_FOLDERS.get(name)
            split = None if split == "train" and "validation" not in held_out else split
            labels = table.select_columns(list(self.columns)) if self.columns else None
            for part in np.array_split(
                np.random.Generator(np.random.Philox(0)).permutation(len(table)), len(table) // 4096 + 1
            ):
                rows = labels[part] if labels is not None else {}
                for i, row in enumerate(part):
                    found = {c: _label(table.features[c], rows[c][i], values[c]) for c in self.columns}
                    yield Item(f"{name}/{row}", (name, int(row)), split, found)

    def open(self, item: Item) -> bytes:
        name, row = item.at  # type: ignore[misc]
        value = self.tables[name][row][self.image]
        if isinstance(value, dict):
            content, path = value.get("bytes"), value.get("path")
            if content is None and path and _cached(path):
                return read_file(Path(path), self.form)
            value = content
        if not isinstance(value, bytes):
            raise Unusable("has no image bytes in its row")
        if len(value) > self.form.byte_limit:
            raise Unusable("is larger than any image within the pixel limit")
        return value


def hub(name: str, form: Form, labels: str | None = None) -> Hub:
    """`owner/name` or `owner/name/configuration` from the hub (or the cache). Raises UserError where it cannot be had."""
    owner, _, rest = name.partition("/")
    repository, _, configuration = rest.partition("/")
    if not owner or not repository:
        raise UserError(f"SOURCE hub:{name} must be hub:OWNER/NAME, or hub:OWNER/NAME/CONFIGURATION")
    tables = _load(f"hub:{name}", path=f"{owner}/{repository}", name=configuration or None)
    checksums = sorted(str(key) for table in tables.values() for key in (table.info.download_checksums or {}))
    return _hub(repository, f"hub:{name}", form, tables, labels, {"hub": name, "files": checksums[:100]})


def local_tables(path: Path, form: Form, labels: str | None = None) -> Hub | None:
    """Parquet or Arrow files: one, or all of a folder (or what `save_to_disk` wrote). None where `path` is no such thing."""
    if path.is_dir() and any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        from datasets import DatasetDict, load_from_disk

        try:
            loaded = load_from_disk(str(path))
        except Exception as error:
            raise UserError(f"SOURCE {path} cannot be read as a saved dataset ({_first_line(error)})") from None
        tables = dict(loaded) if isinstance(loaded, DatasetDict) else {"train": loaded}
        return _hub(path.resolve().name, str(path), form, {str(k): v for k, v in tables.items()}, labels, {})
    files = [path] if path.is_file() else sorted(file for ending in ENDINGS for file in path.rglob(f"*{ending}"))
    files = [file for file in files if file.suffix in ENDINGS]
    if not files:
        return None
    if len({file.suffix for file in files}) > 1:
        raise UserError(f"SOURCE {path} mixes Parquet and Arrow files: give one kind")
    parts: dict[str, list[str]] = {}
    for file in files:
        words = [file.name.split("-")[0].split(".")[0].lower(), file.parent.name.lower()]
        parts.setdefault(next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), "train"), []).append(
            str(file)
        )
    tables = _load(str(path), path=ENDINGS[files[0].suffix], data_files=parts)
    listing = [[file.name, file.stat().st_size] for file in files]
    return _hub(path.resolve().stem, str(path), form, tables, labels, {"files": listing[:100]})


def _load(what: str, **request: Any) -> dict[str, Dataset]:
    """All splits that have a meaning here."""
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        loaded = load_dataset(**request)
    except Exception as error:
        raise UserError(
            f"SOURCE {what} cannot be loaded ({_first_line(error)}): check the name and the network"
        ) from None
    return {str(name): table for name, table in loaded.items()}  # type: ignore[union-attr]


def _hub(
    name: str, what: str, form: Form, tables: dict[str, Dataset], labels: str | None, description: dict[str, object]
) -> Hub:
    used = {split: table for split, table in tables.items() if split.lower() in SPLIT_FOLDERS and len(table)}
    if not used and len(tables) == 1:
        used = {"train": next(iter(tables.values()))}
    if not used:
        raise UserError(f"SOURCE {what} has no train, validation or test rows, only {', '.join(tables) or 'nothing'}")
    table = next(iter(used.values()))
    image = _image_column(table)
    if image is None:
        raise UserError(f"SOURCE {what} has no column of images, only {', '.join(table.column_names)}")
    from datasets import Image, disable_caching

    disable_caching()
    if isinstance(table.features[image], Image):
        used = {split: part.cast_column(image, Image(decode=False)) for split, part in used.items()}
    columns = {column: _classes(used, column, what) for column in _label_columns(table, labels, what)}
    left_out = sorted(set(tables) - set(used))
    rows = {split: len(part) for split, part in used.items()}
    digest = hashlib.sha256(json.dumps([columns, rows], sort_keys=True).encode()).hexdigest()
    description |= {"kind": "tables", "rows": rows, "listing": digest}
    notes = (f"splits left out: {', '.join(left_out)}",) if left_out else ()
    return Hub(name, form, used, image, columns, description, notes)


def _image_column(table: Dataset) -> str | None:
    from datasets import Image

    typed = [name for name, feature in table.features.items() if isinstance(feature, Image)]
    named = [name for name in ("image", "img", "png", "jpg", "jpeg", "webp") if name in table.features]
    return next(iter(typed + named), None)


def _label_columns(table: Dataset, labels: str | None, what: str) -> list[str]:
    from datasets import ClassLabel

    if labels is None:
        typed = [name for name, feature in table.features.items() if isinstance(feature, ClassLabel)]
        return [name for name in typed if COLUMN.fullmatch(name)]
    chosen = [] if labels == "none" else [name.strip() for name in labels.split(",")]
    for name in chosen:
        if name not in table.features or not COLUMN.fullmatch(name):
            raise UserError(
                f"--labels: SOURCE {what} has no label column {name!r}, only {', '.join(table.column_names)}"
            )
    return chosen


def _classes(tables: dict[str, Dataset], column: str, what: str) -> tuple[str, ...]:
    from datasets import ClassLabel, Value

    feature = next(iter(tables.values())).features[column]
    if isinstance(feature, ClassLabel):
        return tuple(feature.names)
    if not isinstance(feature, Value) or not feature.dtype.startswith(
        ("string", "large_string", "int", "uint", "bool")
    ):
        raise UserError(f"--labels: column {column!r} of SOURCE {what} is neither text nor whole numbers")
    return tuple(
        sorted({str(value) for table in tables.values() for value in table.unique(column) if value is not None})
    )


def _label(feature: Any, value: object, index: dict[str, int]) -> int:
    if value is None:
        return UNKNOWN
    if hasattr(feature, "names"):
        return int(value) if 0 <= int(value) < len(index) else UNKNOWN  # type: ignore[call-overload]
    return index.get(str(value), UNKNOWN)


def _cached(path: str) -> bool:
    """Whether a path that a table names is one that `datasets` itself downloaded: no other is ever followed."""
    from datasets import config

    roots = [os.path.realpath(config.HF_DATASETS_CACHE), os.path.realpath(config.HF_CACHE_HOME)]
    return any(os.path.realpath(path).startswith(root + os.sep) for root in roots)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
