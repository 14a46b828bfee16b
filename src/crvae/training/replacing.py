"""A folder that is replaced as a whole: readers find the old one or the new one, never a mixture."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crvae.atomic import sync


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`; when the block ends, it takes `folder`'s place as a whole.

    On any error `folder` stays as it was. Only a kill between two renames can leave it aside; the next call, and
    `Run.open`, put it back.
    """
    temporary, old = _beside(folder, "tmp"), _beside(folder, "old")
    put_back(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        yield temporary
        sync(temporary)
        if folder.exists():
            os.rename(folder, old)
        os.rename(temporary, folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        put_back(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def put_back(folder: Path) -> None:
    """Undoes the first half of a replacement that a kill cut in two."""
    old = _beside(folder, "old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        os.rename(old, folder)


def _beside(folder: Path, end: str) -> Path:
    return folder.with_name(f".{folder.name}.{end}")
