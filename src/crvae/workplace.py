"""The hidden folder in which something long is made, and the lock that keeps other processes out of it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import warnings
from pathlib import Path

from crvae.errors import UserError


def workplace(out: Path, ending: str) -> Path:
    """`.OUT.ending`, a sibling of `out`; its name is short where the long one would be longer than 255 bytes."""
    name = f".{out.name}.{ending}"
    if len(os.fsencode(name)) > 255:
        name = f".{hashlib.sha256(os.fsencode(out.name)).hexdigest()[:32]}.{ending}"
    return out.with_name(name)


def lock(handle: int, out: Path, busy: str, caution: str) -> None:
    """Locks the open file or folder until it is closed. Raises UserError, saying `busy`, if another process holds it.

    Where the file system has no locks it warns, with `caution`.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(busy) from None
    except OSError as error:
        warnings.warn(f"the file system of {out} has no locks ({error.strerror}): {caution}", stacklevel=3)
