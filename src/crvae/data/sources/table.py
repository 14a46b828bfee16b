"""Labels of files: from a CSV table that the user names, and from `metadata.csv` or `metadata.jsonl` beside the pictures."""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crvae.data.accounts import printable
from crvae.data.card import MOST_VALUES
from crvae.data.source import UNKNOWN
from crvae.data.sources.csv_lines import csv_lines, separators, text_of
from crvae.errors import UserError, brief, near, reason

COLUMN = re.compile(r"(?!key$|content$|image)[^\W_][\w.-]{0,63}")
"""What a label column may be called: the other names are the prepared format's own."""

_RESERVED = re.compile(r"key|content|image.*")

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


def not_a_column(name: str) -> str:
    """Why no label column may have this name, after "column NAME"; empty where one may."""
    if COLUMN.fullmatch(name):
        return ""
    if _RESERVED.fullmatch(name):
        return "has a name of the prepared format's own (key, content, image…): call it otherwise"
    return "has no name for a label: letters, digits, _ . - only, at most 64, a letter or a digit first"


def read_table(path: Path, paths: Mapping[str, str], root: str | None = None) -> Table:
    """Reads a CSV table whose first column is the file's path from the source's root and whose others are labels.

    `paths`: path from the root -> key, both as `plain` spells them; a file may be named by either. `root`: the source's
    folder, by whose name or place a path may begin. Raises UserError naming the file and line of anything that is wrong:
    a file that SOURCE lacks, or that comes twice.
    """
    try:
        lines = list(csv_lines(text_of(path.read_bytes()), broken=False))
    except OSError as error:
        raise UserError(f"--labels {path} cannot be read: {reason(error)}") from None
    except ValueError as error:
        raise UserError(f"--labels {path} cannot be read as a CSV table in UTF-8 ({error})") from None
    number, first = lines[0] if lines else (1, [])
    names = _Names(paths, root)
    columns = [name.strip() for name in first[1:]]
    if (wrong := _header(first, columns, names)) is not None:
        raise UserError(f"--labels {path} line {number} {wrong}")
    cells: dict[str, list[str]] = {}
    line_of: dict[str, int] = {}
    for number, line in lines[1:]:
        if len(line) != len(first):
            raise UserError(f"--labels {path} line {number} has {len(line)} cells, its header {len(first)}")
        name = names.find(line[0])
        if name is None:
            hint = names.hint(line[0])
            raise UserError(f"--labels {path} line {number} names {line[0]!r}, which is not an image of SOURCE{hint}")
        if name in cells:
            raise UserError(f"--labels {path} names {line[0]!r} in line {line_of[name]} and in line {number}: keep one")
        cells[name] = [unicodedata.normalize("NFC", cell.strip()) for cell in line[1:]]
        line_of[name] = number
    for i, column in enumerate(columns):
        if not any(row[i] for row in cells.values()):
            raise UserError(f"--labels {path} has no value in column {column!r}: fill it, or remove it")
    without = len(names.keys) - len(cells)
    notes = [f"{without:,} images have no line in {printable(path.name)}"] if without else []
    return table_of(cells, columns, notes + about_splits(columns))


class _Names:
    """The images of SOURCE, by what a table may call them."""

    def __init__(self, paths: Mapping[str, str], root: str | None) -> None:
        self.paths, self.keys = paths, set(paths.values())
        places = [] if root is None else [root, os.path.abspath(root), os.path.realpath(root)]
        places += [os.path.basename(place) for place in places[1:]]
        self.roots = sorted({plain(place).rstrip("/") + "/" for place in places}, key=len, reverse=True)

    def find(self, name: str) -> str | None:
        """The key of the image that is called so."""
        name = plain(name)
        below = [name.strip().removeprefix(root) for root in self.roots if name.strip().startswith(root)]
        for spelling in (name, name.strip(), *below):
            key = self.paths.get(spelling, spelling)
            if key in self.keys:
                return key
        return None

    def hint(self, name: str) -> str:
        """` (did you mean '000.png'?)`: an image of the same name in another place, case or kind, else one of a like name."""
        alike = [key for key in self.keys if _stem(key) == _stem(plain(name.strip()))]
        return near(name, alike) or (
            f" (did you mean {min(alike)!r}?)" if alike else near(name, sorted(self.keys)[:5000])
        )


def _stem(name: str) -> str:
    return Path(name).stem.casefold()


def _header(first: list[str], columns: list[str], names: _Names) -> str | None:
    """What is wrong with the first line of a table, after its number."""
    from crvae.data.sources.tree import is_image

    must = "must be a header, file,COLUMN…"
    if first and (names.find(first[0]) is not None or is_image(first[0].strip())):
        return f"names a picture ({first[0]!r}): the table needs a header, file,COLUMN…"
    if other := separators(first):
        return f"{must}, and has its cells between {other}: save the table with commas"
    if columns and not columns[-1]:
        return f"{must}, and ends with a comma, which begins a column without a name: remove it from all lines"
    for column in columns:
        if wrong := not_a_column(column):
            return f"{must}: column {column!r} {wrong}"
    twice = next((column for i, column in enumerate(columns) if column in columns[:i]), None)
    if twice is not None:
        return f"{must}, and has two columns {twice!r}: keep one"
    return None if columns else must


def about_splits(columns: Collection[str]) -> list[str]:
    """A note where a column has the name of what it does not decide."""
    return [
        f"column {column} is an attribute and decides no split: the folders train, validation and test would"
        for column in columns
        if column.lower() == "split"
    ]


@dataclass
class _Found:
    """What metadata tables say of one image."""

    cells: dict[str, str] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    """Column -> the table and line that gave its value."""
    unlike: dict[str, str] = field(default_factory=dict)
    """Column -> in words, the two lines that give it different values."""

    def add(self, row: Mapping[str, str], line: str) -> None:
        for column, value in row.items():
            before = self.cells.get(column, "")
            if value and before and value != before:
                self.unlike.setdefault(column, f"{self.lines[column]} ({before}) and {line} ({value})")
            if value or not before:
                self.cells[column], self.lines[column] = value, line


def read_metadata(files: Mapping[str, bytes], paths: Mapping[str, str]) -> Table | None:
    """Label columns of the metadata tables in `files` (path -> content): text, whole numbers, 2 to MOST_VALUES values.

    `paths` as for `read_table`. None where there are no tables. The notes name what cannot be read and what is not used.
    Raises UserError if two lines give an image different values of a column that is used.
    """
    found: dict[str, _Found] = {}
    notes, columns, missing = [], {}, 0
    for path, content in files.items():
        folder = plain(path).rpartition("/")[0]
        try:
            rows = _rows(path, content)
        except (ValueError, RecursionError) as error:
            notes.append(f"{printable(path)} cannot be read ({brief(error)[:100]}): its labels are not used")
            continue
        for number, row in rows:
            name = plain(f"{folder}/{row.pop('file_name')}" if folder else row.pop("file_name"))
            if name in paths:
                found.setdefault(paths[name], _Found()).add(row, f"{printable(path)} line {number}")
            else:
                missing += 1
            columns |= dict.fromkeys(row)
    if missing:
        notes.append(f"{missing:,} lines of metadata name no image of SOURCE")
    if not found:
        return Table({}, {}, tuple(notes)) if notes else None
    taken = [column for column in columns if not _unused(column, found, notes)]
    for column in taken:
        for name, one in found.items():
            if column in one.unlike:
                raise UserError(
                    f"{one.unlike[column]} give {printable(name)} different values of {column}: keep one, "
                    "or leave metadata out by --labels none"
                )
    cells = {  # a half of a surrogate pair, which JSON can spell, cannot be stored
        name: [one.cells.get(column, "").encode(errors="replace").decode() for column in taken]
        for name, one in found.items()
    }
    return table_of(cells, taken, notes + about_splits(taken))


def _unused(column: str, found: Mapping[str, _Found], notes: list[str]) -> bool:
    """Whether a metadata column is none of labels; then a note says why."""
    values = {one.cells.get(column, "") for one in found.values()} - {""}
    if wrong := not_a_column(column):
        notes.append(f"metadata column {column[:64]!r} is not used: it {wrong}")
    elif not 2 <= len(values) <= MOST_VALUES and not (column == "label" and values):
        notes.append(f"metadata column {column} is not used: {values_in_words(len(values))}")
    else:
        return False
    return True


def values_in_words(count: int) -> str:
    """Why a column of `count` values is not an attribute."""
    return f"it has {count:,} value{'s' * (count != 1)}, and an attribute has 2 to {MOST_VALUES}"


def _rows(path: str, content: bytes) -> list[tuple[int, dict[str, str]]]:
    """The rows of a metadata table, as text, each with the number of its line. Raises ValueError."""
    rows = list(_of_csv(text_of(content)) if path.lower().endswith(".csv") else _of_json_lines(text_of(content)))
    for number, row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise ValueError(f"line {number} has no file_name, and every line needs one")
    fractions = {name for _, row in rows for name, value in row.items() if isinstance(value, float) and value % 1 > 0}
    return [
        (number, {str(name): "" if name in fractions else _text(value) for name, value in row.items()})
        for number, row in rows
    ]


def _of_csv(text: str) -> Iterator[tuple[int, dict]]:
    lines = csv_lines(text)
    _, head = next(lines, (1, []))
    if other := separators(head):
        raise ValueError(f"its cells are between {other}: save it with commas")
    if "file_name" not in head:
        raise ValueError("its header has no file_name")
    for number, line in lines:
        yield number, dict(zip(head, line + [""] * (len(head) - len(line)), strict=False))


def _of_json_lines(text: str) -> Iterator[tuple[int, dict]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError:
                raise ValueError(f"line {number} is not JSON") from None


def _text(value: object) -> str:
    """A cell as text; the empty one where it is nothing, or nothing that names a class."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):  # as pandas writes whole numbers
        value = int(value) if math.isfinite(value) else ""
    if not isinstance(value, str | int):
        return ""
    return unicodedata.normalize("NFC", str(value).strip())
