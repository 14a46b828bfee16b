"""A ZIP or tar archive of images, read where it lies: nothing is unpacked to disk under a name from the archive."""

from __future__ import annotations

import gzip
import lzma
import posixpath
import struct
import tarfile
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from crvae.data.accounts import Tally, printable
from crvae.data.images import Form, Unusable
from crvae.data.registry import source
from crvae.data.source import Item, Source
from crvae.data.sources.folder import Labels
from crvae.data.sources.scratch import no_room, scratch
from crvae.data.sources.tree import Tree, grow, tables_beside
from crvae.errors import UserError, brief, reason
from crvae.files import stamp

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")

_UTF_8 = 0x800
"""The flag of a ZIP's member by which its name is UTF-8."""

UNFOLDED = 4
"""Files and links of a tar together, as a multiple of its files; a small archive could else name folders within folders endlessly."""


@dataclass(frozen=True, kw_only=True)
class Archive(Source):
    """The image files of an archive. A tar is read at the offsets of its members."""

    path: Path
    tree: Tree = field(repr=False)
    places: dict[str, tuple[int, int] | str] = field(repr=False)
    """Name -> where it lies: tar: (offset, size), in bytes; ZIP: the member's own name."""
    unpacked: Path | None = None
    """Where a compressed tar lies unpacked while it is prepared."""

    @property
    def count(self) -> int:
        return len(self.tree.pictures)

    @property
    def description(self) -> dict[str, object]:
        return {"kind": "archive", "file": printable(self.path.name), "files": self.count, "listing": self.tree.listing}

    @property
    def local_files(self) -> tuple[Path, ...]:
        return (self.path,)

    def items(self) -> Iterator[Item]:
        return self.tree.items()

    def open(self, item: Item) -> bytes:
        return _read(self.unpacked or self.path, self.places[str(item.at)], self.form.byte_limit)


@source("archive", takes=lambda name: name.lower().endswith(ENDINGS) and Path(name).is_file())
def archive(where: str | Path, form: Form, *, labels: Labels = None) -> Archive:
    """Lists an archive. Raises UserError if it is damaged or holds no images."""
    path, tally, unpacked, notes = Path(where), Tally(), None, ()
    try:
        if path.name.lower().endswith(".zip"):
            places, notes = _in_zip(path, tally)
        else:
            unpacked = _unpack(path) if path.name.lower().endswith("gz") else None
            places = _in_tar(unpacked or path, tally, path)
    except PermissionError as error:
        raise UserError(
            f"SOURCE {path} cannot be read ({reason(error)}): give yourself permission to read it"
        ) from None
    except (
        OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError, ValueError
    ) as error:  # fmt: skip
        advice = "unpack it and give the folder" if isinstance(error, NotImplementedError) else "download it again"
        raise UserError(f"SOURCE {path} cannot be opened as an archive ({brief(error)}): {advice}") from None
    names, metadata = list(places), {}
    if labels is None:
        names, metadata = tables_beside(names, lambda name, limit: _read(unpacked or path, places[name], limit), tally)
    tree = grow(names, str(path), labels, tally, metadata)
    ending = next(ending for ending in ENDINGS if path.name.lower().endswith(ending))
    name = printable(path.name[: -len(ending)])
    tree = replace(tree, notes=(*tree.notes, *notes))
    return Archive(name=name, form=form, path=path, tree=tree, places=places, unpacked=unpacked, **tree.declared)


def _in_zip(path: Path, tally: Tally) -> tuple[dict[str, tuple[int, int] | str], tuple[str, ...]]:
    """The files of a ZIP, and notes. Names with backslashes, as some Windows programs write them, are read as paths."""
    places: dict[str, tuple[int, int] | str] = {}
    guessed: list[str] = []
    with zipfile.ZipFile(path) as file:
        for info in file.infolist():
            said, known = _zip_name(info)
            name = _clean(said.replace("\\", "/"))
            guessed += [] if known else [name]
            if name.endswith("/"):
                continue
            if not name:
                tally.add("no name", info.filename)
            elif name in places:
                tally.add("name that comes twice in the archive", name)
            elif (info.external_attr >> 28) == 0xA:
                tally.add("link in a ZIP", name)
            else:
                places[name] = info.filename
    if not guessed:
        return places, ()
    note = (
        f"{len(guessed):,} names in the ZIP are not UTF-8 and say no encoding: they are read as cp437, its own "
        f"({printable(guessed[0])}, …); if they look wrong, unpack it and give the folder"
    )
    return places, (note,)


def _zip_name(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """A member's name, and whether its encoding is known: many programs write UTF-8 and do not say so."""
    if info.flag_bits & _UTF_8 or info.filename.isascii():
        return info.filename, True
    try:
        return info.filename.encode("cp437").decode(), True
    except UnicodeError:
        return info.filename, info.filename != info.orig_filename  # other than in the archive: from its Unicode field


def _in_tar(path: Path, tally: Tally, what: Path) -> dict[str, tuple[int, int] | str]:
    """The files of a tar. A link means the file, or the files of the folder, that it leads to, where they are in the archive.

    `path` is the plain tar, `what` the archive that was given. Raises UserError if the tar does not end as tars do.
    """
    places: dict[str, tuple[int, int] | str] = {}
    links: dict[str, str] = {}
    with tarfile.open(path, "r:") as file:
        for member in file:
            if member.size < 0:  # a reader that goes back by it reads the same members without end
                raise tarfile.ReadError("a member says a size below 0")
            name = _clean(member.name)
            if member.isdir():
                continue
            if name in places or name in links:
                tally.add("name that comes twice in the archive", name)
            elif member.isreg() and not member.issparse():
                places[name] = member.offset_data, member.size
            elif member.islnk():
                links[name] = _clean(member.linkname)
            elif member.issym():
                links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            else:
                tally.add("pipe, device or sparse file", name)
    _check_end(path, file.offset, what, len(places) + len(links))
    found, names = dict(places), sorted(places)
    for name, target in links.items():
        for _ in range(8):
            target = links.get(target, target)
        inside = names[bisect_left(names, f"{target}/") : bisect_left(names, f"{target}0")]  # 0 is the sign after /
        if target in places:
            found[name] = places[target]
        elif len(found) + len(inside) > UNFOLDED * len(places):
            tally.add("link to a folder, where such links hold more files than the archive", name)
        elif inside:
            found |= {f"{name}/{other.removeprefix(f'{target}/')}": places[other] for other in inside}
        else:
            tally.add("link that leads nowhere in the archive", name)
    return found


def _check_end(path: Path, end: int, what: Path, files: int) -> None:
    """Raises UserError unless a tar ends at byte `end`, with zeros and nothing else: a damaged header looks like the end."""
    unpacked = " unpacked" if path != what else ""
    with path.open("rb") as file:
        file.seek(end)
        block = file.read(tarfile.BLOCKSIZE)
        if not block or any(block):
            raise UserError(
                f"SOURCE {what} is damaged at{unpacked} byte {end:,}, after {files:,} files: download it again, or unpack "
                "what is there and give the folder"
            )
        while block := file.read(1 << 20):
            if any(block):
                raise UserError(
                    f"SOURCE {what} goes on after its end at{unpacked} byte {end:,}, as several archives in one file do: "
                    "unpack it with tar --ignore-zeros, and give the folder"
                )


def _clean(name: str) -> str:
    return name.removeprefix("./")


def _read(path: Path, place: tuple[int, int] | str, limit: int) -> bytes:
    """One member's content. Raises Unusable if it is larger than `limit` bytes or damaged."""
    if not isinstance(place, str):
        offset, size = place
        if size > limit:
            raise Unusable(f"is a file of more than {limit >> 20} MiB, which no image within the pixel limit needs")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    try:
        with _zip(path, stamp(path)).open(place) as member:
            data = member.read(limit + 1)
    except (
        zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError
    ) as error:  # fmt: skip
        raise Unusable(f"cannot be unpacked ({brief(error)})") from None
    if len(data) > limit:
        raise Unusable(f"unpacks to more than {limit >> 20} MiB, which no image within the pixel limit needs")
    return data


@lru_cache(maxsize=1)
def _zip(path: Path, state: tuple[int, ...]) -> zipfile.ZipFile:
    """The archive, listed once as long as the file is in this state."""
    return zipfile.ZipFile(path)


def _unpack(path: Path) -> Path:
    """A compressed tar has no random access: its plain form lies in the temporary folder until the program ends."""
    plain = scratch() / "plain.tar"
    with gzip.open(path) as packed, plain.open("wb") as file:
        while block := packed.read(1 << 20):
            try:
                file.write(block)
            except OSError as error:
                raise no_room(error) from None
    return plain
