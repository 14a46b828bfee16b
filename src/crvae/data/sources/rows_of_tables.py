"""Tables with a column of images and columns of labels, wherever they come from."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crvae.data.accounts import Tally
from crvae.data.card import MOST_VALUES
from crvae.data.images import Form, Unusable
from crvae.data.source import UNKNOWN, Item, Source, read_file
from crvae.data.sources.splits import WORDS
from crvae.data.sources.table import not_a_column, values_in_words
from crvae.errors import UserError, brief

if TYPE_CHECKING:
    from datasets import Dataset

NAMES = ("image", "img", "png", "jpg", "jpeg", "webp")
"""Columns that are taken for images where the table does not say what its columns are."""


@dataclass(frozen=True, kw_only=True)
class Rows(Source):
    """Rows of memory-mapped tables, visited in a fixed shuffled order."""

    tables: dict[str, Dataset] = field(repr=False)
    image: str
    about: dict[str, object]
    paths: tuple[Path, ...] = ()
    """Where the tables lie, if they are files of this machine."""

    @property
    def local_files(self) -> tuple[Path, ...]:
        return self.paths

    @property
    def description(self) -> dict[str, object]:
        return self.about

    @property
    def count(self) -> int:
        return sum(len(table) for table in self.tables.values())

    def items(self) -> Iterator[Item]:
        values = {column: {name: i for i, name in enumerate(names)} for column, names in self.columns.items()}
        held_out = {WORDS.get(name.lower()) for name in self.tables}
        for name, table in self.tables.items():
            split = WORDS.get(name.lower())
            split = None if split == "train" and "validation" not in held_out else split
            named = [column for column in self.columns if column in table.features]
            labels = table.select_columns(named) if named else None
            for part in np.array_split(
                np.random.Generator(np.random.Philox(0)).permutation(len(table)), len(table) // 4096 + 1
            ):
                rows = labels[part] if labels is not None else {}
                for i, row in enumerate(part):
                    found = {c: _label(table.features[c], rows[c][i], values[c]) for c in named}
                    yield Item(f"{name}/{row}", (name, int(row)), split, found)

    def open(self, item: Item) -> bytes:
        name, row = item.at  # type: ignore[misc]
        value = self.tables[name][row][self.image]
        if isinstance(value, dict):
            content, path = value.get("bytes"), value.get("path")
            if content is None and path and _cached(path):
                return read_file(Path(path), self.form.byte_limit)
            value = content
        if not isinstance(value, bytes):
            raise Unusable("has no image bytes in its row")
        if len(value) > self.form.byte_limit:
            raise Unusable("is larger than any image within the pixel limit")
        return value


def load(what: str, **request: Any) -> dict[str, Dataset]:
    """All splits of a dataset. Raises UserError if they cannot be loaded."""
    from datasets import load_dataset
    from datasets.utils.logging import CRITICAL, disable_progress_bar, get_verbosity, set_verbosity

    disable_progress_bar()
    before = get_verbosity()
    if not what.startswith("hub:"):
        set_verbosity(CRITICAL)  # what is wrong with a file is said below, once
    try:
        loaded = load_dataset(**request)
    except Exception as error:
        if empty := re.fullmatch(r'Instruction "(\w+)" corresponds to no data!', str(error)):
            raise UserError(
                f"SOURCE {what} has no rows in its {empty[1]} split: leave out files without rows"
            ) from None
        raise UserError(f"SOURCE {what} cannot be loaded ({brief(error)}): {_cure(error, what)}") from None
    finally:
        set_verbosity(before)
    return {str(name): table for name, table in loaded.items()}  # type: ignore[union-attr]


def _cure(error: BaseException, what: str) -> str:
    """What to do about a failed load: errors of the disk, of a local file and of the network have different cures."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            return "make room, or set HF_HOME to a folder that can be written"
        found = found.__cause__ or found.__context__
    return "check the name and the network" if what.startswith("hub:") else "the file is damaged, or of another kind"


def rows(
    name: str,
    what: str,
    form: Form,
    tables: dict[str, Dataset],
    labels: str | None,
    image_column: str | None,
    description: dict[str, object],
    tally: Tally,
    notes: tuple[str, ...] = (),
) -> Rows:
    """Finds splits, the column of images and the columns of labels. Raises UserError if one is missing or in doubt."""
    used = {split: table for split, table in tables.items() if split.lower() in WORDS and len(table)}
    if not used and len(tables) == 1:
        used = {"train": next(iter(tables.values()))}
    if not used:
        raise UserError(f"SOURCE {what} has no train, validation or test rows, only {', '.join(tables) or 'nothing'}")
    for split in sorted(set(tables) - set(used)):
        tally.add("row of a split that is neither train, validation nor test", split, len(tables[split]))
    table = next(iter(used.values()))
    image = _image_column(table, image_column, what)
    from datasets import Image, disable_caching

    disable_caching()
    for split, part in used.items():
        if image not in part.features:
            raise UserError(f"SOURCE {what} has no column {image!r} in its {split} rows, only in others")
        if isinstance(part.features[image], Image):
            used[split] = part.cast_column(image, Image(decode=False))
    columns, others = _columns(used, labels, image, what)
    counts = {split: len(part) for split, part in used.items()}
    digest = hashlib.sha256(json.dumps([columns, counts], sort_keys=True).encode()).hexdigest()
    description |= {"kind": "tables", "rows": counts, "image_column": image, "listing": digest}
    return Rows(
        name=name,
        form=form,
        columns=columns,
        notes=(*notes, *others),
        not_looked_at=tuple(tally),
        tables=used,
        image=image,
        about=description,
    )


def _image_column(table: Dataset, given: str | None, what: str) -> str:
    """`given`, else `image`, else the only column of images."""
    from datasets import Image, Value

    def may_be(name: str) -> bool:
        feature = table.features[name]
        return isinstance(feature, Image | dict) or (isinstance(feature, Value) and "binary" in feature.dtype)

    if given is not None:
        if given not in table.features or not may_be(given):
            raise UserError(
                f"--image-column: SOURCE {what} has no column of images {given!r}, only {', '.join(table.column_names)}"
            )
        return given
    typed = [name for name, feature in table.features.items() if isinstance(feature, Image)]
    named = [name for name in NAMES if name in table.features and may_be(name)]
    if "image" in typed or (not typed and "image" in named):
        return "image"
    found = typed or named or [name for name in table.features if may_be(name)]
    if not found:
        raise UserError(f"SOURCE {what} has no column of images, only {', '.join(table.column_names)}")
    if len(found) > 1:
        raise UserError(
            f"SOURCE {what} has several columns of images ({', '.join(found)}): choose one with --image-column"
        )
    return found[0]


def _columns(
    tables: dict[str, Dataset], labels: str | None, image: str, what: str
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The label columns with their classes: those named, else all classes, and all text and whole numbers of few values."""
    from datasets import ClassLabel

    table = next(iter(tables.values()))
    notes, columns = [], {}
    if labels is not None:
        for name in [] if labels == "none" else [name.strip() for name in labels.split(",")]:
            if name not in table.features:
                raise UserError(
                    f"--labels: SOURCE {what} has no label column {name!r}, only {', '.join(table.column_names)}"
                )
            if wrong := not_a_column(name):
                raise UserError(f"--labels: column {name!r} of SOURCE {what} {wrong}")
            classes = _classes(tables, name)
            if classes is None:
                raise UserError(f"--labels: column {name!r} of SOURCE {what} is neither text nor whole numbers")
            columns[name] = classes
        return columns, notes
    for name, feature in table.features.items():
        if name == image:
            continue
        classes = _classes(tables, name)
        if wrong := not_a_column(name):
            notes.append(f"column {name[:64]!r} is not used: it {wrong}")
        elif classes is None:
            notes.append(f"column {name} is not used: it is neither text nor whole numbers")
        elif isinstance(feature, ClassLabel) or 2 <= len(classes) <= MOST_VALUES or (name == "label" and classes):
            columns[name] = classes
        else:
            notes.append(f"column {name} is not used: {values_in_words(len(classes))}")
    return columns, notes


def _classes(tables: dict[str, Dataset], column: str) -> tuple[str, ...] | None:
    """The names of a column's classes over all tables; None where the first holds neither text nor whole numbers.

    Tables may each have a list of names of their own: those of the first list come first, in its order.
    """
    from datasets import ClassLabel, Value

    feature = next(iter(tables.values())).features[column]
    text = isinstance(feature, Value) and feature.dtype.startswith(("string", "large_string", "int", "uint", "bool"))
    if not text and not isinstance(feature, ClassLabel):
        return None
    listed: dict[str, None] = {}
    seen: set[str] = set()
    for table in tables.values():
        feature = table.features.get(column)
        if isinstance(feature, ClassLabel):
            listed |= dict.fromkeys(feature.names)
        elif feature is not None:
            seen |= {_text(value) for value in table.unique(column) if value is not None}
    return (*listed, *sorted(seen - set(listed)))


def _text(value: object) -> str:
    return unicodedata.normalize("NFC", str(value))


def _label(feature: Any, value: object, index: dict[str, int]) -> int:
    if value is None:
        return UNKNOWN
    if hasattr(feature, "names"):
        number = int(value)  # type: ignore[call-overload]
        return index[feature.names[number]] if 0 <= number < len(feature.names) else UNKNOWN
    return index.get(_text(value), UNKNOWN)


def _cached(path: str) -> bool:
    """Whether a path that a table names is one that `datasets` itself downloaded: no other is ever followed."""
    from datasets import config

    roots = [os.path.realpath(config.HF_DATASETS_CACHE), os.path.realpath(config.HF_CACHE_HOME)]
    return any(os.path.realpath(path).startswith(root + os.sep) for root in roots)
