"""A folder of images: class sub-folders become labels, train/ and validation/ sub-folders become splits."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crvae.data.images import Form, Unusable
from crvae.data.source import UNKNOWN, Item
from crvae.errors import UserError

SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
SPLIT_FOLDERS |= {"validation": "validation", "test": "test", "testing": "test"}
"""Names of first-level folders that are splits, whatever their case."""

EXTENSIONS = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff")
"""Endings of the files that are taken for images; what is inside decides what they are."""


@dataclass(frozen=True)
class Folder:
    """Images in a local folder."""

    root: Path
    form: Form
    columns: dict[str, tuple[str, ...]]
    description: dict[str, object]
    name: str
    count: int
    splits: bool
    notes: tuple[str, ...] = ()
    licences: dict[str, str] = field(default_factory=dict)

    def items(self) -> Iterator[Item]:
        classes = self.columns.get("label", ())
        index = {name: i for i, name in enumerate(classes)}
        for path in _listing(self.root):
            split, label = _place(path, self.splits)
            yield Item(path, path, split, {"label": index.get(label, UNKNOWN)} if classes else {})

    def open(self, item: Item) -> bytes:
        path = self.root / item.key
        if path.stat().st_size > self.form.byte_limit:
            raise Unusable("is a larger file than any image within the pixel limit")
        return path.read_bytes()


def folder(root: Path, form: Form, *, labels: bool = True) -> Folder:
    """Looks through a folder. Raises UserError where it is missing, empty of images, or has no training images."""
    if not root.is_dir():
        raise UserError(f"SOURCE {root} is neither a folder nor a named set: check the spelling")
    paths = _listing(root)
    if not paths:
        raise UserError(f"SOURCE {root} has no image files ({', '.join(EXTENSIONS)}): give a folder of images")
    tops = {path.split("/")[0].lower() for path in paths if "/" in path}
    named = {SPLIT_FOLDERS.get(top) for top in tops}
    splits = "train" in named and tops <= set(SPLIT_FOLDERS) and all("/" in path for path in paths)
    names = sorted({label for path in paths if (label := _place(path, splits)[1])})
    columns = {"label": tuple(names)} if labels and names else {}
    listing = hashlib.sha256()
    for path in paths:
        state = (root / path).stat()
        listing.update(f"{path}\0{state.st_size}\0".encode(errors="surrogateescape"))
    description = {"kind": "folder", "folder": root.resolve().name, "files": len(paths), "listing": listing.hexdigest()}
    return Folder(root, form, columns, description, root.resolve().name, len(paths), splits)


def _listing(root: Path) -> list[str]:
    """Paths of all image files below `root`, with forward slashes, in an order that looks shuffled and is always the same.

    Whole shards are read in training, so neighbours in the listing must not be of one class.
    """
    found: list[str] = []
    seen: set[str] = set()
    for base, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for file in sorted(files):
            path = os.path.join(base, file)
            if file.lower().endswith(EXTENSIONS) and not file.startswith("._") and os.path.isfile(path):
                found.append(os.path.relpath(path, root).replace(os.sep, "/"))
    return sorted(found, key=lambda path: hashlib.sha256(path.encode(errors="surrogateescape")).digest())


def _place(path: str, splits: bool) -> tuple[str | None, str]:
    """The split (None: by content) and the class ("": none) of an image, from the folders that it lies in."""
    parts = path.split("/")[:-1]
    split = SPLIT_FOLDERS[parts.pop(0).lower()] if splits else None
    return split, re.sub(r"\s+", " ", "/".join(parts))
