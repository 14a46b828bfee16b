"""Labels from a CSV table: a header, then a line for each file."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crvae.data.source import UNKNOWN
from crvae.errors import UserError

COLUMN = re.compile(r"(?!key$|content$|image)[A-Za-z0-9][\w.-]{0,63}")
"""What a label column may be called: the other names are the prepared format's own."""


@dataclass(frozen=True)
class Table:
    """Labels of files, one or more columns."""

    columns: dict[str, tuple[str, ...]]
    rows: dict[str, tuple[int, ...]]

    def labels(self, name: str) -> dict[str, int]:
        values = self.rows.get(name, (UNKNOWN,) * len(self.columns))
        return dict(zip(self.columns, values, strict=True))


def read_table(path: Path, names: Sequence[str]) -> Table:
    """Reads a CSV table whose first column is the file's path from the source's root and whose others are labels.

    An empty cell is an unknown label. Raises UserError naming the file and line of anything else that is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"--labels {path} cannot be read as a CSV table ({error})") from None
    head = lines[0][1:] if lines else []
    if not head or len(set(head)) != len(head) or not all(COLUMN.fullmatch(name) for name in head):
        raise UserError(f"--labels {path} line 1 must be a header: file,COLUMN… (columns of letters, digits, _ . -)")
    known, cells = set(names), {}
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        if len(line) != len(head) + 1:
            raise UserError(f"--labels {path} line {number} has {len(line)} cells, its header {len(head) + 1}")
        if line[0] not in known:
            raise UserError(f"--labels {path} line {number} names {line[0]!r}, which is no image of SOURCE")
        cells[line[0]] = line[1:]
    columns = {name: tuple(sorted({row[i] for row in cells.values()} - {""})) for i, name in enumerate(head)}
    index = [{value: i for i, value in enumerate(values)} for values in columns.values()]
    rows = {name: tuple(index[i].get(cell, UNKNOWN) for i, cell in enumerate(row)) for name, row in cells.items()}
    return Table(columns, rows)
