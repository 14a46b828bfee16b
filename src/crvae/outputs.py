"""Whether the file that a command is to write may be written: asked before its work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from crvae.errors import UserError, reason
from crvae.files import check_writable, sweep


def check_new_file(
    path: Path, option: str = "--out", endings: tuple[str, ...] = (), reads: Iterable[str | Path | None] = ()
) -> None:
    """Raises UserError if `path` has none of the `endings`, cannot become a file, or is one that the command reads.

    `reads`: what it reads: files, folders with all that they hold, and names of models, which are no paths. Another file is replaced.
    """
    if endings and path.suffix.lower() not in endings:
        raise UserError(f"{option} must end in {' or '.join(endings)}, got {path}")
    try:
        if not path.parent.is_dir():
            raise UserError(f"{option} {path}: the folder {path.parent} does not exist. Create it first")
        if path.is_dir():
            raise UserError(f"{option} {path} is a folder: give the name of a file")
        check_writable(path.parent, path)
        if path.exists():
            _check_not_read(path, option, reads)
    except OSError as error:
        raise UserError(f"{option} {path} cannot be written: {reason(error)}") from None
    sweep(path)


def _check_not_read(path: Path, option: str, reads: Iterable[str | Path | None]) -> None:
    there = path.resolve()
    for read in reads:
        if read is not None and there.is_relative_to(Path(read).resolve()):
            raise UserError(f"{option} {path} is a file of {read}, which the command reads. Choose another name")
