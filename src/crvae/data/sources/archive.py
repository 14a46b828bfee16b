"""A ZIP or tar archive of images, read where it lies: nothing is unpacked to disk under a name from the archive."""

from __future__ import annotations

import atexit
import gzip
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from crvae.data.images import Form, Unusable
from crvae.data.source import Item
from crvae.data.sources.tree import Tree, grow, is_image
from crvae.errors import UserError

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Archive:
    """The image files of an archive. A tar is read at the offsets of its members."""

    path: Path
    form: Form
    tree: Tree
    places: dict[str, tuple[int, int]] = field(repr=False)
    """tar: name -> (offset, size), in bytes; empty for a ZIP."""
    name: str
    unpacked: Path | None = None
    """Where a compressed tar lies unpacked while it is prepared."""
    notes: tuple[str, ...] = ()
    licences: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.tree.names)

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        return self.tree.columns

    @property
    def description(self) -> dict[str, object]:
        return {"kind": "archive", "file": self.path.name, "files": self.count, "listing": self.tree.listing}

    def items(self) -> Iterator[Item]:
        return self.tree.items()

    def open(self, item: Item) -> bytes:
        limit = self.form.byte_limit
        if self.places:
            offset, size = self.places[item.key]
            if size > limit:
                raise Unusable(f"is a file of more than {limit >> 20} MiB, which no image within the pixel limit needs")
            with open(self.unpacked or self.path, "rb") as file:
                file.seek(offset)
                return file.read(size)
        try:
            with _zip(self.path).open(item.key) as member:
                data = member.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise Unusable(f"cannot be unpacked ({error})") from None
        if len(data) > limit:
            raise Unusable(f"unpacks to more than {limit >> 20} MiB, which no image within the pixel limit needs")
        return data


@lru_cache(maxsize=1)
def _zip(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def archive(path: Path, form: Form, labels: str | None = None) -> Archive:
    """Lists an archive. Raises UserError where it is damaged or holds no images."""
    places: dict[str, tuple[int, int]] = {}
    unpacked = None
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as file:
                names = [info.filename for info in file.infolist() if not info.is_dir()]
        else:
            unpacked = _unpack(path) if path.name.lower().endswith("gz") else None
            with tarfile.open(unpacked or path, "r:") as file:
                for member in file:
                    if member.isreg() and not member.issparse() and is_image(member.name.removeprefix("./")):
                        places[member.name.removeprefix("./")] = (member.offset_data, member.size)
            names = list(places)
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"SOURCE {path} cannot be opened as an archive ({error}): fetch it again") from None
    name = path.name[: -len(next(ending for ending in ENDINGS if path.name.lower().endswith(ending)))]
    return Archive(path, form, grow(dict.fromkeys(names), str(path), labels), places, name, unpacked)


def _unpack(path: Path) -> Path:
    """A compressed tar has no random access: its plain form lies in the temporary folder until the program ends."""
    folder = tempfile.mkdtemp(prefix="crvae-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with gzip.open(path) as packed, open(Path(folder, "plain.tar"), "wb") as plain:
        shutil.copyfileobj(packed, plain, 1 << 20)
    return Path(folder, "plain.tar")
