"""A place for what is needed while a source is prepared, and no longer."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from crvae.errors import UserError


def scratch() -> Path:
    """A new folder that goes when the program ends. Raises UserError if there is no room for it."""
    try:
        folder = tempfile.mkdtemp(prefix="crvae-")
    except OSError as error:
        raise no_room(error) from None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def no_room(error: OSError) -> UserError:
    """What to say when something could not be written there."""
    return UserError(
        f"the temporary folder cannot be written ({error.strerror}): make room, or set TMPDIR to a folder with room"
    )
