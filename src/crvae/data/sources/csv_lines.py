"""The lines of a CSV table that a person made: read strictly, so that a slip of the pen is named and swallows nothing."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator

_SEPARATORS = {";": "semicolons", "\t": "tabs"}


def text_of(content: bytes) -> str:
    """UTF-8, with or without its mark. Raises ValueError, in words that complete "cannot be read (…)"."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is UTF-16: save it as CSV UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8: save it as CSV UTF-8") from None


def csv_lines(text: str, *, broken: bool = True) -> Iterator[tuple[int, list[str]]]:
    """The lines that hold anything, each with the number of its first line in the file.

    `broken`: whether a cell in quotes may go on in the next line. Raises ValueError naming the line of what is no CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            why = 'a quote (") is not closed' if "unexpected end" in str(error) else str(error)
            raise ValueError(f"line {number}: {why}") from None
        if cells is None:
            return
        if not broken and any("\n" in cell or "\r" in cell for cell in cells):
            raise ValueError(f'line {number}: a cell goes on in line {reader.line_num}: a quote (") is not closed')
        if any(cell.strip() for cell in cells):
            yield number, cells
        number = reader.line_num + 1


def separators(head: list[str]) -> str:
    """`semicolons` or `tabs` where a header of one cell is separated by these, else nothing."""
    if len(head) != 1:
        return ""
    return next((word for sign, word in _SEPARATORS.items() if sign in head[0]), "")
