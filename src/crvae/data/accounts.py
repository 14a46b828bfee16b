"""What becomes of every file of a source: used, repeated, skipped with a reason, read, or not looked at, counted by kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol
from unicodedata import category

FIRST = 5
"""How many names are given with a count."""

LABELS_READ = "table of labels, read"
"""The reason of a file that gives no image, but whose labels are used."""


@dataclass(frozen=True)
class Ignored:
    """Files of one kind that are not looked at, or are tables of labels."""

    reason: str
    """Completes "N files: ..."."""
    count: int
    first: tuple[str, ...]
    """The first of their names."""


class Kind(Protocol):
    """What `describe` needs of an `Ignored`, or of its like in a card."""

    @property
    def reason(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def first(self) -> tuple[str, ...]: ...


@dataclass
class Tally:
    """Counts what gives no image, while a source lists its files."""

    _kinds: dict[str, list[str]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, name: str, count: int = 1) -> None:
        self._counts[reason] = self._counts.get(reason, 0) + count
        if len(names := self._kinds.setdefault(reason, [])) < FIRST:
            names.append(printable(name))

    def __iter__(self) -> Iterator[Ignored]:
        """The commonest kind first."""
        for reason in sorted(self._counts, key=lambda reason: (-self._counts[reason], reason)):
            yield Ignored(reason, self._counts[reason], tuple(self._kinds[reason]))


def printable(name: str) -> str:
    """A name as it can be stored and shown, different for every name.

    `\\xe9` is a byte that is not UTF-8; `\\x1b` and `\\u202e` are characters that steer a terminal, end a line or turn what
    stands around them. All others stay: spaces and joiners of any language, pictures made of several characters.
    """
    return name if name.isprintable() else "".join(map(_escaped, name))


_ESCAPED = ("Cc", "Cs", "Zl", "Zp")
"""Categories of characters that are stored escaped: controls, halves of a pair, ends of lines and paragraphs."""

_TURNING = range(0x202A, 0x202F), range(0x2066, 0x206A)
"""The characters that turn the direction of what stands around them."""


def _escaped(character: str) -> str:
    code = ord(character)
    if category(character) not in _ESCAPED and not any(code in codes for codes in _TURNING):
        return character
    if 0xDC80 <= code <= 0xDCFF:  # a byte that Python could not decode in a file's name
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def ending(name: str) -> str:
    """`.heic` of `IMG_1.HEIC`; empty where a name has none."""
    base = name.rsplit("/", 1)[-1]
    stem, dot, last = base.rpartition(".")
    return f".{last.lower()}" if dot and stem and last and len(last) <= 16 else ""


def describe(ignored: Iterable[Kind]) -> list[str]:
    """One line for each kind: `16 not looked at: ending .heic (IMG_0004.HEIC, IMG_0005.HEIC, …)`.

    Tables of labels that were read have their own words: `1 read: table of labels (metadata.csv)`.
    """
    lines = []
    for kind in ignored:
        names = ", ".join(kind.first) + ", …" * (kind.count > len(kind.first))
        what = "read: table of labels" if kind.reason == LABELS_READ else f"not looked at: {kind.reason}"
        lines.append(f"{kind.count:,} {what} ({names})")
    return lines


def unread(ignored: Iterable[Kind]) -> int:
    """How many files were not looked at: all of `ignored` but the tables of labels that were read."""
    return sum(kind.count for kind in ignored if kind.reason != LABELS_READ)
