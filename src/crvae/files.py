"""Files and folders that are either whole or not there: written beside their place, synced, renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crvae.errors import UserError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; when the block ends, syncs it and renames it to `path`.

    On any error the temporary file is removed and `path` stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path`, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Forces a file (or a folder's list of names) to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def new_folder(path: Path, option: str = "--out") -> Iterator[Path]:
    """Yields a temporary folder beside `path`, which becomes `path` when the block ends, and is removed on any error.

    Raises UserError where `path` cannot be made, or exists and is not an empty folder.
    """
    check_new_folder(path, option)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{option} {path} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_new_folder(path: Path, option: str = "--out") -> None:
    """Raises UserError where `path` exists and is not an empty folder: call it before long work."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{option} {path} exists already: choose another name, or remove it first")


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
