"""Labels of files: from a CSV table that the user names, and from `metadata.csv` or `metadata.jsonl` beside the pictures."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crvae.data.card import MOST_VALUES
from crvae.data.source import UNKNOWN
from crvae.errors import UserError

COLUMN = re.compile(r"(?!key$|content$|image)[^\W_][\w.-]{0,63}")
"""What a label column may be called: the other names are the prepared format's own."""

METADATA = ("metadata.csv", "metadata.jsonl")
"""Tables of labels that image folders carry by convention: a column `file_name`, relative to where the table lies."""

METADATA_BYTES = 1 << 28
"""A larger table is not read."""


@dataclass(frozen=True)
class Table:
    """Labels of files, one or more columns."""

    columns: dict[str, tuple[str, ...]]
    rows: dict[str, tuple[int, ...]]
    """File, as `plain` spells it -> a label for each column."""
    notes: tuple[str, ...] = ()

    def labels(self, name: str) -> dict[str, int]:
        values = self.rows.get(plain(name), (UNKNOWN,) * len(self.columns))
        return dict(zip(self.columns, values, strict=True))


def plain(name: str) -> str:
    """One spelling of a file's name for every system: composed characters (NFC), forward slashes, no leading `./`."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


def table_of(cells: Mapping[str, Sequence[str]], names: Sequence[str], notes: Iterable[str] = ()) -> Table:
    """Text cells to labels; an empty cell is unknown."""
    columns = {name: tuple(sorted({row[i] for row in cells.values()} - {""})) for i, name in enumerate(names)}
    index = [{value: i for i, value in enumerate(values)} for values in columns.values()]
    rows = {name: tuple(index[i].get(cell, UNKNOWN) for i, cell in enumerate(row)) for name, row in cells.items()}
    return Table(columns, rows, tuple(notes))


def read_table(path: Path, paths: Mapping[str, str]) -> Table:
    """Reads a CSV table whose first column is the file's path from the source's root and whose others are labels.

    `paths`: path from the root -> key, both as `plain` spells them; a file may be named by either.
    Raises UserError naming the file and line of anything that is wrong: a file that SOURCE lacks, or that comes twice.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"--labels {path} cannot be read as a CSV table in UTF-8 ({error})") from None
    head = [name.strip() for name in rows[0][1:]] if rows else []
    if not head or len(set(head)) != len(head) or not all(COLUMN.fullmatch(name) for name in head):
        raise UserError(f"--labels {path} line 1 must be a header: file,COLUMN… (columns of letters, digits, _ . -)")
    known, cells, line_of = set(paths.values()), {}, {}
    for number, line in enumerate(rows[1:], 2):
        if not line:
            continue
        if len(line) != len(head) + 1:
            raise UserError(f"--labels {path} line {number} has {len(line)} cells, its header {len(head) + 1}")
        name = paths.get(plain(line[0]), plain(line[0]))
        if name not in known:
            raise UserError(f"--labels {path} line {number} names {line[0]!r}, which is not an image of SOURCE")
        if name in cells:
            raise UserError(f"--labels {path} names {line[0]!r} in line {line_of[name]} and in line {number}: keep one")
        cells[name] = [unicodedata.normalize("NFC", cell.strip()) for cell in line[1:]]
        line_of[name] = number
    without = len(known) - len(cells)
    return table_of(cells, head, [f"{without:,} images have no line in {path.name}"] if without else [])


def read_metadata(files: Mapping[str, bytes], paths: Mapping[str, str]) -> Table | None:
    """Label columns of the metadata tables in `files` (path -> content): text, whole numbers, 2 to MOST_VALUES values.

    `paths` as for `read_table`. None where there are no tables. The notes name what cannot be read and what is not used.
    """
    found: dict[str, dict[str, str]] = {}
    notes, columns, missing = [], [], 0
    for path, content in files.items():
        folder = plain(path).rpartition("/")[0]
        try:
            rows = _rows(path, content)
        except (ValueError, csv.Error) as error:
            notes.append(f"{path} cannot be read ({str(error)[:100]}): its labels are not used")
            continue
        for row in rows:
            name = plain(f"{folder}/{row.pop('file_name')}" if folder else row.pop("file_name"))
            if name in paths:
                found.setdefault(paths[name], {}).update(row)
            else:
                missing += 1
            columns += [column for column in row if column not in columns]
    if missing:
        notes.append(f"{missing:,} lines of metadata name no image of SOURCE")
    if not found:
        return Table({}, {}, tuple(notes)) if notes else None
    taken = []
    for column in columns:
        values = {row.get(column, "") for row in found.values()} - {""}
        if not COLUMN.fullmatch(column):
            notes.append(
                f"metadata column {printable_column(column)} is not used: its name may have letters, digits, _ . - only"
            )
        elif not 2 <= len(values) <= MOST_VALUES and column != "label":
            notes.append(f"metadata column {column} is not used: {values_in_words(len(values))}")
        else:
            taken.append(column)
    cells = {name: [row.get(column, "") for column in taken] for name, row in found.items()}
    return table_of(cells, taken, notes)


def printable_column(name: str) -> str:
    return repr(name[:64])


def values_in_words(count: int) -> str:
    """Why a column of `count` values is not an attribute."""
    return f"it has {count:,} value{'s' * (count != 1)}, and an attribute has 2 to {MOST_VALUES}"


def _rows(path: str, content: bytes) -> list[dict[str, str]]:
    """The rows of a metadata table, as text. Raises ValueError."""
    text = content.decode("utf-8-sig")
    if path.lower().endswith(".csv"):
        rows: list[dict] = list(csv.DictReader(io.StringIO(text, newline="")))
    else:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(row, dict) and isinstance(row.get("file_name"), str) for row in rows):
        raise ValueError("every line needs a file_name")
    return [{str(name): _text(value) for name, value in row.items() if name is not None} for row in rows]


def _text(value: object) -> str:
    """A cell as text; the empty one where it is nothing, or nothing that names a class."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return unicodedata.normalize("NFC", str(value).strip()) if isinstance(value, str | int) else ""
