"""The index files of published datasets: lines of fields, checked one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crvae.errors import UserError


def lines(
    path: Path, fields: int, *, option: str, header: int = 0, separator: str | None = None
) -> Iterator[list[str]]:
    """The fields of every line after `header` lines; the last field takes what is left of its line.

    Raises UserError naming the file, and the line if one has too few fields. `option` is what told where to look.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if number > header and line.strip():
                    parts = line.rstrip("\r\n").split(separator, fields - 1)
                    if len(parts) < fields:
                        raise UserError(
                            f"{path} line {number} has {len(parts)} fields, not {fields}: download it again"
                        )
                    yield parts
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {option} must be the folder that holds it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}): download it again") from None


def number(text: str, path: Path, what: str) -> float:
    """A number of a line. Raises UserError naming file and line's entry."""
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{path} has {text!r} where {what} needs a number: download it again") from None
