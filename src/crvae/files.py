"""The one place that writes: files and folders that are whole, synced and under their final name, or not there at all."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import os
import secrets
import shutil
import signal
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from crvae.errors import UserError, reason

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of names under which a picture can be written: PNG and WebP without loss, JPEG of quality 95."""

LONGEST = 200
"""Bytes of a name that its temporary name repeats; longer ones are hashed, so that every allowed name can be written."""

_unfinished: set[Path] = set()
"""Temporary files and folders that this process has open."""

_placed: list[tuple[Path, int]] = []
"""New folders of this command that are about to take their final names, or have: with their inodes, which a rename leaves."""


class Unwritten(UserError, OSError):
    """A file that could not be written. What was under its name before is untouched."""

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: {self.strerror}"


def write_bytes(path: Path, content: bytes | memoryview, *, private: bool = False) -> None:
    """Writes `content` to `path`, whole or not at all; `private`: for its owner's eyes only. Raises Unwritten."""
    with whole(path, private=private) as temporary, temporary.open("wb") as file:
        file.write(content)


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Writes `text` to `path` in UTF-8, whole or not at all. Raises Unwritten."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"), private=private)


def append_line(path: Path, text: str) -> None:
    """Adds one line to a log whose readers pass over a torn one. Raises Unwritten."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise _unwritten(path, error) from None


@contextmanager
def whole(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yields an empty temporary file beside `path`; when the block ends, syncs it and renames it to `path`.

    On any error it is removed and `path` stays as it was. Raises Unwritten if the disk refuses.
    """
    temporary = _temporary(path)
    try:
        with _claimed(temporary, private=private) as handle:
            yield temporary
            _flush(handle)
            os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        if isinstance(error, UserError):
            raise
        raise _unwritten(path, error) from None


@contextmanager
def new_folder(path: Path, option: str = "--out", *, begun: bool = False) -> Iterator[Path]:
    """Yields a temporary folder beside `path`, which becomes `path` when the block ends, and is removed on any error.

    `begun`: what comes under that name is where work goes on, and `complete` does not count it.
    Raises UserError if `path` cannot be made, or exists and is not an empty folder.
    """
    check_new_folder(path, option)
    temporary, made = _temporary(path), list[Path]()
    try:
        _make(path.parent, made)
        sweep(path)
        with _claimed(temporary, folder=True) as handle:
            yield temporary
            _flush(handle)
            os.replace(temporary, path) if begun else put(temporary, path)
        made.clear()
        sync(path.parent)
    except OSError as error:
        if error.filename is not None and not _concerns(error.filename, temporary):
            raise  # about a file that the block has read
        raise UserError(f"{option} {path} cannot be written: {reason(error)}") from None
    finally:
        _unmake(made)


def write_files(folder: Path, contents: dict[str, bytes], option: str = "--out") -> None:
    """Writes several files into `folder`, all or none: a new one takes its name when it is whole, and in an old one all of
    them are on the disk before the first takes its name, and no signal comes between.

    Raises UserError if the disk refuses.
    """
    if not folder.exists():
        with new_folder(folder, option) as temporary:
            for name, content in contents.items():
                write_bytes(temporary / name, content)
        return
    try:
        with ExitStack() as stack:
            stack.enter_context(_undisturbed())
            for name, content in contents.items():
                stack.enter_context(whole(folder / name)).write_bytes(content)
    except OSError as error:
        raise UserError(f"{option} {folder} cannot be written: {reason(error)}") from None


def stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file is written anew or replaced."""
    state = path.stat()
    return state.st_mtime_ns, state.st_size, state.st_ino


def check_new_folder(path: Path, option: str = "--out") -> None:
    """Raises UserError if `path` cannot become a new folder: call it before long work."""
    if path.name in ("", ".."):
        raise UserError(f"{option} {path} already exists: it is a folder above, or this one. Name a new one")
    if path.is_symlink() or (os.path.lexists(path) and not path.is_dir()):
        raise UserError(f"{option} {path} already exists. Choose another name, or remove it first")
    try:
        if path.is_dir() and any(path.iterdir()):
            raise UserError(f"{option} {path} already exists. Choose another name, or remove it first")
        parent = next(parent for parent in (path.parent, *path.parent.absolute().parents) if parent.is_dir())
        check_writable(parent, path)
    except OSError as error:
        raise UserError(f"{option} {path} cannot be written: {reason(error)}") from None


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`; when the block ends, it takes `folder`'s place as a whole.

    On any error `folder` stays as it was. Only a kill between two renames can leave it aside; the next call, and
    `Run.open`, put it back. One process at a time.
    """
    temporary, old = _beside(folder, "tmp"), _beside(folder, "old")
    put_back(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with _claimed(temporary, folder=True) as handle:
            yield temporary
            _flush(handle)
            if folder.exists():
                os.rename(folder, old)
            os.rename(temporary, folder)
        sync(folder.parent)
    except BaseException:
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


def sync(path: Path) -> None:
    """Forces a file (or a folder's list of names) to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        _flush(handle)
    finally:
        os.close(handle)


def _flush(handle: int) -> None:
    """Syncs an open file or folder. Some file systems (of clusters, of containers) cannot: they are warned of, and used."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        warnings.warn("this file system cannot sync: what is written just before a power cut may be lost", stacklevel=2)


def put(folder: Path, path: Path) -> None:
    """Gives a finished folder its final name."""
    _placed.append((path, folder.stat().st_ino))  # before: a signal can come with the rename
    os.replace(folder, path)


def forget() -> None:
    """A command begins: what was put under final names before is not its work."""
    _placed.clear()


def complete() -> list[Path]:
    """The command's new folders that are whole under their final names, at whatever moment this is asked."""
    return [path for path, inode in _placed if path.is_dir() and path.stat().st_ino == inode]


def abandon() -> None:
    """Removes everything that is unfinished: for a process that ends at once."""
    for temporary in list(_unfinished):
        _remove(temporary)


@contextmanager
def _claimed(temporary: Path, *, folder: bool = False, private: bool = False) -> Iterator[int]:
    """Makes a temporary file or folder that is locked while it is ours, and gone afterwards unless it was renamed."""
    handle = None
    _unfinished.add(temporary)
    try:
        if folder:
            temporary.mkdir()
            handle = os.open(temporary, os.O_RDONLY)
        else:
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with suppress(OSError):  # a file system without locks: leftovers of killed processes stay
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield handle
    finally:
        if handle is not None:
            os.close(handle)
        _remove(temporary)
        _unfinished.discard(temporary)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Within it, the signals that stop a command wait."""
    came: list[int] = []
    before = {}
    with suppress(ValueError):  # not the main thread: no signal is handled here
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for number in came:
            signal.raise_signal(number)


def sweep(path: Path) -> None:
    """Removes what killed processes left of `path`: temporary names that nobody holds a lock on."""
    for name in glob.glob(f".{glob.escape(_short(path.name))}.*.tmp", root_dir=path.parent):
        with suppress(OSError):
            handle = os.open(path.parent / name, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path.parent / name)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    with suppress(OSError):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _make(folder: Path, made: list[Path]) -> None:
    """Makes a folder and those above it, and adds the new ones to `made`, outermost first."""
    for place in reversed([folder, *folder.parents]):
        if not place.is_dir():
            place.mkdir()
            made.append(place)


def _unmake(made: list[Path]) -> None:
    for folder in reversed(made):
        with suppress(OSError):
            folder.rmdir()


def _concerns(name: str | bytes | int, temporary: Path) -> bool:
    """Whether an error about the file `name` is about a temporary folder, what is in it, or what it is in."""
    place, temporary = Path(os.fsdecode(name)) if not isinstance(name, int) else temporary, temporary.absolute()
    return place.absolute().is_relative_to(temporary) or place.absolute() in temporary.parents


def check_writable(parent: Path, path: Path) -> None:
    """Raises OSError if nothing can be written into `parent`, or not under the name of `path`."""
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, f"the folder {parent} is not open for writing")
    if len(os.fsencode(path.name)) > os.pathconf(parent, "PC_NAME_MAX"):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _unwritten(path: Path, error: OSError) -> Unwritten:
    return Unwritten(error.errno or errno.EIO, reason(error), str(path))


def _temporary(path: Path) -> Path:
    return _beside(path, f"{secrets.token_hex(4)}.tmp")


def _beside(path: Path, end: str) -> Path:
    return path.with_name(f".{_short(path.name)}.{end}")


def _short(name: str) -> str:
    raw = os.fsencode(name)
    return name if len(raw) <= LONGEST else hashlib.sha256(raw).hexdigest()
