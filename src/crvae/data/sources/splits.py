"""Splits in names, by the hub's rule: a word for a split, between characters that are not letters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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


def wrapper(folders: Iterable[Sequence[str]]) -> int:
    """How many top folders hold everything else, and so say nothing. One that names a held-out split says something."""
    paths = list(folders)
    depth = 0
    while paths and all(len(path) > depth for path in paths):
        tops = {path[depth] for path in paths}
        if len(tops) > 1 or split_in(next(iter(tops))) in ("validation", "test"):
            break
        depth += 1
    return depth


def in_folders(folders: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Folder path -> its split, for those that lie in a folder which names one; empty where the names are classes.

    `train` alone among folders that name no split is a class (the vehicle): nothing held out is in its way.
    """
    paths = set(folders)
    words = {path: next((word for part in path if (word := split_in(part))), None) for path in paths}
    found = {path: word for path, word in words.items() if word is not None}
    others = paths - set(found) - {()}
    return {} if set(found.values()) == {"train"} and others else found


def class_of(folders: Sequence[str], *, splits: bool) -> str:
    """The class that folders name: all of them, without the one that names the split (and its like right below it)."""
    parts = list(folders)
    first = next((i for i, part in enumerate(parts) if split_in(part)), None) if splits else None
    if first is not None:
        split = split_in(parts[first])
        while first < len(parts) and split_in(parts[first]) == split:
            del parts[first]
    return "/".join(parts)
