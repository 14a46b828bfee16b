"""A folder of images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crvae.data.images import Form
from crvae.data.source import Item, read_file
from crvae.data.sources.tree import Tree, grow
from crvae.errors import UserError


@dataclass(frozen=True)
class Folder:
    """Images in a local folder, symbolic links followed."""

    root: Path
    form: Form
    tree: Tree
    notes: tuple[str, ...] = ()
    licences: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.root.resolve().name

    @property
    def count(self) -> int:
        return len(self.tree.names)

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        return self.tree.columns

    @property
    def description(self) -> dict[str, object]:
        return {"kind": "folder", "files": self.count, "listing": self.tree.listing}

    def items(self) -> Iterator[Item]:
        return self.tree.items()

    def open(self, item: Item) -> bytes:
        try:
            return read_file(self.root / item.key, self.form)
        except OSError:
            if not self.root.is_dir():
                raise UserError(f"SOURCE {self.root} has vanished: bring it back and run the same command") from None
            raise


def folder(root: Path, form: Form, labels: str | None = None) -> Folder:
    """Looks through a folder. Raises UserError where it is missing or holds no images."""
    if not root.is_dir():
        raise UserError(f"SOURCE {root} is neither a folder, a file nor a named set: check the spelling")
    return Folder(root, form, grow(files_below(root), str(root), labels))


def files_below(root: Path) -> Iterator[str]:
    """Paths of all regular files below `root`, with forward slashes. A folder that is reached twice is visited once."""
    seen: set[str] = set()
    for base, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for file in sorted(files):
            path = os.path.join(base, file)
            if os.path.isfile(path):
                yield os.path.relpath(path, root).replace(os.sep, "/")
