"""Local Parquet or Arrow files, and what `save_to_disk` wrote, through the `datasets` library."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from crvae.data.accounts import Tally, printable
from crvae.data.images import Form
from crvae.data.registry import source
from crvae.data.sources.rows_of_tables import Rows, load, rows
from crvae.data.sources.splits import split_in
from crvae.data.sources.tree import is_hidden
from crvae.errors import UserError, brief

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
        return rows(printable(root.resolve().name), str(root), form, found, labels, image_column, {}, tally)
    if len({Path(name).suffix.lower() for name in files}) > 1:
        raise UserError(f"SOURCE {root} mixes Parquet and Arrow files: give one kind")
    parts: dict[str, list[str]] = {}
    words: dict[str, set[str]] = {}
    for name in sorted(files):
        part = next((part for part in reversed(name.split("/")) if split_in(Path(part).stem)), "")
        said = split_in(Path(part).stem) or "train"
        parts.setdefault(said, []).append(glob.escape(str(root / name)))
        words.setdefault(said, set()).add(printable(part) or "the rest")
    shown = [f"{split} ({', '.join(sorted(places)[:3])})" for split, places in words.items()]
    notes = () if words == {"train": {"the rest"}} else (f"splits found in names: {', '.join(shown)}",)
    loaded = load(str(what), path=KINDS[Path(files[0]).suffix.lower()], data_files=parts)
    listing = [[printable(Path(name).name), (root / name).stat().st_size] for name in sorted(files)]
    name = printable(what.resolve().stem if what != root else what.resolve().name)
    return rows(name, str(what), form, loaded, labels, image_column, {"files": listing[:100]}, tally, notes)
