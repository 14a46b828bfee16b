"""What the names of image files in a tree say: class folders become labels, train/ and validation/ become splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crvae.data.source import UNKNOWN, Item
from crvae.data.sources.table import Table, read_table
from crvae.errors import UserError

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of first-level folders that are splits, whatever their case."""

EXTENSIONS = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff")
"""Endings of the files that are taken for images; what is inside decides what they are."""


@dataclass(frozen=True)
class Tree:
    """The image files of a tree, in an order that looks shuffled and is always the same.

    Training reads whole shards, so neighbours must not be of one class.
    """

    names: tuple[str, ...]
    """Paths from the root, with forward slashes."""
    columns: dict[str, tuple[str, ...]]
    splits: frozenset[str]
    """The splits that first-level folders name; empty where they name none."""
    table: Table | None

    def items(self) -> Iterator[Item]:
        index = {name: i for i, name in enumerate(self.columns.get("label", ()))}
        for name in self.names:
            split, label = _place(name, self.splits)
            if split == "train" and "validation" not in self.splits:
                split = None
            labels = {"label": index.get(label, UNKNOWN)} if self.table is None else self.table.labels(name)
            yield Item(name, None, split, labels)

    @property
    def listing(self) -> str:
        """Hash of all names."""
        return hashlib.sha256("\0".join(self.names).encode(errors="surrogatepass")).hexdigest()


def grow(names: Iterable[str], what: str, labels: str | None) -> Tree:
    """Makes sense of the file names that `what` holds. Raises UserError where none of them is an image.

    `labels`: None for class folders, `none`, or the path of a CSV table.
    """
    chosen = [name for name in names if is_image(name)]
    if not chosen:
        raise UserError(f"SOURCE {what} has no image files ({', '.join(EXTENSIONS)}): give a folder of images")
    chosen.sort(key=lambda name: hashlib.sha256(name.encode(errors="surrogatepass")).digest())
    tops = {name.split("/")[0].lower() if "/" in name else "" for name in chosen}
    splits = frozenset(SPLIT_FOLDERS[top] for top in tops) if tops <= set(SPLIT_FOLDERS) else frozenset()
    splits = splits if "train" in splits else frozenset()
    if labels not in (None, "none"):
        table = read_table(Path(labels), chosen)
        return Tree(tuple(chosen), table.columns, splits, table)
    classes = sorted({label for name in chosen if (label := _place(name, splits)[1])})
    return Tree(tuple(chosen), {"label": tuple(classes)} if classes and not labels else {}, splits, None)


def is_image(name: str) -> bool:
    """Whether a file name is one of an image that nobody hides."""
    hidden = any(part.startswith((".", "__")) for part in name.split("/"))
    return name.lower().endswith(EXTENSIONS) and not hidden


def _place(name: str, splits: frozenset[str]) -> tuple[str | None, str]:
    """The split (None: by content) and the class ("": none) of an image, from the folders that it lies in."""
    folders = name.split("/")[:-1]
    split = SPLIT_FOLDERS[folders.pop(0).lower()] if splits else None
    return split, "/".join(folders)
