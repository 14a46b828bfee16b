"""A new folder that is whole or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crvae.errors import UserError


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
