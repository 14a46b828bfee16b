"""Local Parquet or Arrow files, and what `save_to_disk` wrote, through the `datasets` library."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pyarrow as pa
import pyarrow.parquet as pq

from crvae.data.accounts import Tally, printable
from crvae.data.images import Form
from crvae.data.registry import source
from crvae.data.sources.rows_of_tables import Rows, load, rows
from crvae.data.sources.splits import split_in
from crvae.data.sources.tree import is_hidden
from crvae.errors import UserError, brief

if TYPE_CHECKING:
    from datasets import Dataset

KINDS = {".parquet": "parquet", ".arrow": "arrow"}

_SAVED = ("dataset_dict.json", "state.json")
"""What `save_to_disk` leaves at the top of its folder."""


def tables_among(names: Sequence[str]) -> list[str]:
    """Those of the files that are tables of images. `metadata.parquet` is not: it belongs to the pictures beside it."""
    tables = [name for name in names if Path(name).suffix.lower() in KINDS and not is_hidden(name)]
    return [name for name in tables if name.rsplit("/", 1)[-1].lower() != "metadata.parquet"]


@source("table", takes=lambda name: Path(name).suffix.lower() in KINDS and Path(name).is_file())
def table_file(
    where: str | Path,
    form: Form,
    *,
    labels: Annotated[str | None, "none, or label columns separated by commas"] = None,
    image_column: Annotated[str | None, "which column holds the images"] = None,
) -> Rows:
    """One Parquet or Arrow file. Raises UserError if it cannot be read or holds no images."""
    path = Path(where)
    return tables(path.parent, [path.name], form, labels=labels, image_column=image_column, what=path)


def tables(
    root: Path,
    files: Sequence[str],
    form: Form,
    *,
    labels: str | None,
    image_column: str | None,
    tally: Tally | None = None,
    what: Path | None = None,
) -> Rows:
    """All of a folder's tables as one set. A split is what a file's name or its folders say; else they train."""
    what = what or root
    tally = Tally() if tally is None else tally
    if any((root / name).is_file() for name in _SAVED) and what == root:
        from datasets import DatasetDict, load_from_disk

        try:
            loaded = load_from_disk(str(root))
        except Exception as error:
            raise UserError(f"SOURCE {root} cannot be read as a saved dataset ({brief(error)})") from None
        found = (
            {str(name): part for name, part in loaded.items()} if isinstance(loaded, DatasetDict) else {"train": loaded}
        )
        made = rows(printable(root.resolve().name), str(root), form, found, labels, image_column, {}, tally)
        return replace(made, paths=tuple(root / name for name in sorted(files)))
    if len({Path(name).suffix.lower() for name in files}) > 1:
        raise UserError(f"SOURCE {root} mixes Parquet and Arrow files: give one kind")
    parts: dict[str, list[str]] = {}
    words: dict[str, set[str]] = {}
    for name in sorted(files):
        part = next((part for part in reversed(name.split("/")) if split_in(Path(part).stem)), "")
        said = split_in(Path(part).stem) or "train"
        parts.setdefault(said, []).append(name)
        words.setdefault(said, set()).add(printable(part) or "the rest")
    shown = [f"{split} ({', '.join(sorted(places)[:3])})" for split, places in words.items()]
    notes = () if words == {"train": {"the rest"}} else (f"splits found in names: {', '.join(shown)}",)
    loaded = _loaded(root, parts, labels, what)
    listing = [[printable(Path(name).name), (root / name).stat().st_size] for name in sorted(files)]
    name = printable(what.resolve().stem if what != root else what.resolve().name)
    made = rows(name, str(what), form, loaded, labels, image_column, {"files": listing[:100]}, tally, notes)
    return replace(made, paths=tuple(root / name for name in sorted(files)))


def _loaded(root: Path, parts: Mapping[str, Sequence[str]], labels: str | None, what: Path) -> dict[str, Dataset]:
    """Split -> its rows. `datasets` gives all files of a load the first one's classes: splits that differ are loaded apart.

    Raises UserError if the files of one split differ in their classes.
    """
    meanings = {name: _meanings(root / name, labels) for part in parts.values() for name in part}
    for part in parts.values():
        if (unlike := _unlike({name: meanings[name] for name in part})) is not None:
            column, one, other = unlike
            raise UserError(
                f"SOURCE {what}: {printable(one)} and {printable(other)} name the classes of column {column!r} differently: "
                "write both with the same list of names, or leave the column out by --labels"
            )
    apart = _unlike(meanings) is not None
    files = {split: [glob.escape(str(root / name)) for name in part] for split, part in parts.items()}
    found: dict[str, Dataset] = {}
    for some in [{split: part} for split, part in files.items()] if apart else [files]:
        found |= load(str(what), path=KINDS[Path(next(iter(meanings))).suffix.lower()], data_files=some)
    return found


Meaning = tuple[str, ...] | None
"""What the values of a column mean: numbers by a list of names, or None for text."""


def _meanings(path: Path, labels: str | None) -> dict[str, Meaning]:
    """Those of the columns that can be labels of a file, whole numbers without names left out; empty if it is damaged."""
    from datasets import ClassLabel, Features, Value

    try:
        features = Features.from_arrow_schema(_schema(path))
    except Exception:  # what is wrong with it, its load will say
        return {}
    asked = None if labels is None else {name.strip() for name in labels.split(",")}
    found: dict[str, Meaning] = {}
    for name, feature in features.items():
        if isinstance(feature, ClassLabel):
            found[name] = tuple(feature.names)
        elif isinstance(feature, Value) and feature.dtype.startswith(("string", "large_string")):
            found[name] = None
    return {name: meaning for name, meaning in found.items() if asked is None or name in asked}


def _schema(path: Path) -> pa.Schema:
    """Raises OSError or ValueError if the file is not a table."""
    if KINDS[path.suffix.lower()] == "parquet":
        with path.open("rb") as file:
            return pq.read_schema(file)
    with path.open("rb") as file:
        try:
            return pa.ipc.open_stream(file).schema
        except ValueError:
            file.seek(0)
            return pa.ipc.open_file(file).schema


def _unlike(meanings: Mapping[str, Mapping[str, Meaning]]) -> tuple[str, str, str] | None:
    """A column and two files that give it different lists of names, or text and then names; None if there are none."""
    first: dict[str, tuple[str, Meaning]] = {}
    for name, columns in meanings.items():
        for column, meaning in columns.items():
            other, before = first.setdefault(column, (name, meaning))
            if meaning is not None and meaning != before:
                return column, other, name
    return None
