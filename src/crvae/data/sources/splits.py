"""Splits in names, by the hub's rule: a word for a split, between characters that are not letters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from crvae.data.accounts import printable

WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Word -> split, whatever its case."""

_WORD = re.compile(rf"(?<![^\W\d_])({'|'.join(sorted(WORDS, key=len, reverse=True))})(?![^\W\d_])", re.IGNORECASE)


def split_in(name: str) -> str | None:
    """The split that a folder's or file's name says: `seg_train`, `val2017`, `animals-test`; None for `protest`."""
    found = {WORDS[word.lower()] for word in _WORD.findall(name)}
    return found.pop() if len(found) == 1 else None


Says = Callable[[str], str | None]
"""Which split a folder's name says."""

Folders = tuple[str, ...]


def whole(name: str) -> str | None:
    """The split that a folder is called by, and nothing else: `test`, but neither `test_tube` nor `flu_test`."""
    return WORDS.get(name.lower())


@dataclass(frozen=True)
class Layout:
    """What the folders of a tree say."""

    depth: int
    """How many top folders hold everything else, and so say nothing."""
    splits: dict[Folders, str]
    """Folder below those -> its split; empty where the names are classes."""
    says: Says
    notes: tuple[str, ...] = ()

    def split(self, folders: Folders) -> str | None:
        return self.splits.get(folders[self.depth :])

    def label(self, folders: Folders) -> str:
        """The class that folders name: all of them, without the one that names the split (and its like right below it)."""
        parts = list(folders[self.depth :])
        first = next((i for i, part in enumerate(parts) if self.says(part)), None) if self.splits else None
        if first is not None:
            split = self.says(parts[first])
            while first < len(parts) and self.says(parts[first]) == split:
                del parts[first]
        return "/".join(parts)

    def places(self) -> dict[str, set[str]]:
        """Split -> the names of the folders that say it."""
        found: dict[str, set[str]] = {}
        for folders, split in self.splits.items():
            found.setdefault(split, set()).add(next(filter(self.says, folders)))
        return found


def layout(folders: Iterable[Folders]) -> Layout:
    """Which folders are splits and which are classes. They are all classes where no image would be left to train."""
    paths = set(folders)
    depth = wrapper(paths)
    below = {path[depth:] for path in paths}
    says, splits = in_folders(below)
    if splits and (set(splits) != below or "train" in splits.values()):
        return Layout(depth, splits, says)
    held_out = sorted({part for path in paths for part in path if split_in(part) in ("validation", "test")})
    if not held_out:
        return Layout(depth, {}, says)
    shown = ", ".join(map(printable, held_out[:3])) + ", …" * (len(held_out) > 3)
    note = f"folder names with a word for validation or test ({shown}) are not taken for splits: no folder says train"
    return Layout(depth, {}, says, (note,))


def wrapper(folders: Iterable[Folders]) -> int:
    """How many top folders hold everything else, and so say nothing."""
    paths = list(folders)
    depth = 0
    while paths and all(len(path) > depth for path in paths) and len({path[depth] for path in paths}) == 1:
        depth += 1
    return depth


def in_folders(folders: Iterable[Folders]) -> tuple[Says, dict[Folders, str]]:
    """How names are read here; and folder -> its split, for those that lie in one which names it, none where all are classes.

    Where no folder says `train`, the others say a split by their whole name only: a test tube is a class. `train` alone among
    folders that name no split is a class as well (the vehicle): nothing held out is in its way.
    """
    paths = set(folders)
    says = split_in if any(split_in(part) == "train" for path in paths for part in path) else whole
    words = {path: next((word for part in path if (word := says(part))), None) for path in paths}
    found = {path: word for path, word in words.items() if word is not None}
    others = paths - set(found) - {()}
    return says, {} if set(found.values()) == {"train"} and others else found
