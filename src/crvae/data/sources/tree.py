"""What the names of image files in a tree say: folders become classes and splits, tables beside them labels."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crvae.data.accounts import LABELS_READ, Ignored, Tally, ending, printable
from crvae.data.source import UNKNOWN, Item
from crvae.data.sources.splits import layout, split_in
from crvae.data.sources.table import METADATA, METADATA_BYTES, Table, plain, read_metadata, read_table
from crvae.data.unusable import Unusable
from crvae.errors import UserError

EXTENSIONS = (
    ".png",
    ".apng",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".mpo",
    ".gif",
    ".bmp",
    ".dib",
    ".webp",
    ".tif",
    ".tiff",
)
"""Endings of the files that are taken for images; what is inside decides what they are."""

_BESIDE = (".cls", ".txt", ".json", ".xml", ".caption")
"""Endings of files that carry labels or captions beside a picture of the same name: no convention says which."""


@dataclass(frozen=True)
class Picture:
    """One image file of a tree."""

    key: str
    """Its path below the folders that hold everything, with forward slashes."""
    name: str
    """Its path as the source finds it."""
    split: str | None
    label: str


@dataclass(frozen=True)
class Tree:
    """The image files of a tree, in an order that looks shuffled and is always the same.

    Training reads whole shards, so neighbours must not be of one class.
    """

    pictures: tuple[Picture, ...] = field(repr=False)
    columns: dict[str, tuple[str, ...]]
    table: Table | None
    notes: tuple[str, ...]
    not_looked_at: tuple[Ignored, ...]

    @property
    def declared(self) -> dict[str, Any]:
        """What a source of these files says of itself."""
        return {"columns": self.columns, "notes": self.notes, "not_looked_at": self.not_looked_at}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(picture.key for picture in self.pictures)

    def items(self) -> Iterator[Item]:
        index = {name: i for i, name in enumerate(self.columns.get("label", ()))}
        own = self.table is None or "label" not in self.table.columns
        for picture in self.pictures:
            labels = {"label": index.get(picture.label, UNKNOWN)} if own and index else {}
            if self.table is not None:
                labels |= self.table.labels(picture.key)
            yield Item(printable(picture.key), picture.name, picture.split, labels)

    @property
    def listing(self) -> str:
        """Hash of all names."""
        return hashlib.sha256("\0".join(self.names).encode(errors="surrogatepass")).hexdigest()


def grow(
    names: Iterable[str],
    what: str,
    labels: str | None,
    tally: Tally | None = None,
    tables: Mapping[str, bytes] | None = None,
) -> Tree:
    """Makes sense of the file names that `what` holds. Raises UserError if none of them is an image.

    `labels`: None for class folders and metadata, `none`, or the path of a CSV table. `tables`: path and content of the
    metadata tables. Files that are not images are counted in `tally`.
    """
    tally = Tally() if tally is None else tally
    tables = tables or {}
    chosen, beside = _images((name for name in names if name not in tables), tally)
    if not chosen:
        raise UserError(
            f"SOURCE {what} has no image files ({', '.join(EXTENSIONS)}): give a folder of images{_seen(tally)}"
        )
    folders = [tuple(name.split("/")[:-1]) for name in chosen]
    found = layout(folders)
    notes, pictures = list(found.notes), []
    trains, held_out = "train" in found.splits.values(), {"validation", "test"} & set(found.splits.values())
    by_name = {} if found.splits else _in_files(chosen, notes)
    labels_of = {path: unicodedata.normalize("NFC", printable(found.label(path))) for path in set(folders)}
    for name, path in zip(chosen, folders, strict=True):
        split = by_name.get(name) or found.split(path)
        if split is None and found.splits and trains:
            tally.add("outside of the split folders", name)
            continue
        pictures.append(Picture(name.split("/", found.depth)[-1], name, split, labels_of[path]))
    if found.splits or by_name:
        notes.insert(0, _in_words(found.places() or {split: {"file names"} for split in by_name.values()}, pictures))
    if "validation" not in (held_out or by_name.values()):
        pictures = [Picture(p.key, p.name, None if p.split == "train" else p.split, p.label) for p in pictures]
    pictures.sort(key=lambda picture: hashlib.sha256(picture.key.encode(errors="surrogatepass")).digest())
    table, columns = None, {}
    paths = {plain(picture.name): plain(picture.key) for picture in pictures}
    if labels not in (None, "none"):
        table = read_table(Path(labels).expanduser(), paths, what)
    elif labels is None:
        table = read_metadata(tables, paths)
    for name, content in tables.items():
        alone = read_metadata({name: content}, paths)
        tally.add(LABELS_READ if alone is not None and alone.rows else "table of labels that cannot be used", name)
    if labels is None and any(picture.label for picture in pictures):
        columns["label"] = tuple(sorted({picture.label for picture in pictures} - {""}))
    if table is not None:
        if "label" in columns and "label" in table.columns:
            notes.append("metadata names a label, so class folders are not used")
        columns |= table.columns
        notes += table.notes
    if beside:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in beside.most_common())
        notes.append(f"files beside pictures of the same name are not read as labels: {kinds} (use --labels TABLE.csv)")
    return Tree(tuple(pictures), columns, table, tuple(notes), tuple(tally))


def is_image(name: str) -> bool:
    """Whether a file name is one of an image that nobody hides."""
    return name.lower().endswith(EXTENSIONS) and not is_hidden(name)


MODEL_FILES = ("config.yaml", "config.json", "model", "card.json")
"""A folder with one of these is a run, an exported model or prepared data."""


def is_picture_folder(folder: Path) -> bool:
    """Whether it is a folder of images alone, as far as its files tell."""
    return folder.is_dir() and not any((folder / name).exists() for name in MODEL_FILES)


def no_image(name: str) -> str:
    """Why a file is not looked at whose name does not say that it is an image."""
    kind = ending(name)
    return "hidden" if is_hidden(name) else f"ending {kind}" if kind else "no ending"


def is_hidden(name: str) -> bool:
    rooted = f"/{name}"
    return "/." in rooted or "/__" in rooted


def tables_beside(
    names: Iterable[str], read: Callable[[str, int], bytes], tally: Tally
) -> tuple[list[str], dict[str, bytes]]:
    """The names without those of metadata tables that cannot be read, which are tallied, and name -> content of the others.

    `read` takes a name and the most bytes it may have; it raises Unusable or OSError.
    """
    kept, content = [], {}
    for name in names:
        if is_metadata(name):
            try:
                content[name] = read(name, METADATA_BYTES)
            except (Unusable, OSError):
                tally.add("table of labels that cannot be read", name)
                continue
        kept.append(name)
    return kept, content


def is_metadata(name: str) -> bool:
    return name.rsplit("/", 1)[-1].lower() in METADATA and not is_hidden(name)


def _images(names: Iterable[str], tally: Tally) -> tuple[list[str], Counter[str]]:
    """The image files, all others tallied; and how many files of each ending lie beside a picture of the same name."""
    chosen, others = [], []
    for name in names:
        if is_image(name):
            chosen.append(name)
        else:
            kind = ending(name)
            tally.add(no_image(name), name)
            others += [(name, kind)] * (kind in _BESIDE)
    stems = {name.rpartition(".")[0] for name in chosen} if others else set()
    return chosen, Counter(kind for name, kind in others if name.rpartition(".")[0] in stems)


def _in_files(names: list[str], notes: list[str]) -> dict[str, str]:
    """File -> the split that its name says, where every name says one, and some say train."""
    found = {name: split for name in names if (split := split_in(name.rsplit("/", 1)[-1].rpartition(".")[0]))}
    held_out = [name for name, split in found.items() if split != "train"]
    if held_out and len(held_out) < len(found) == len(names):
        return found
    if held_out:
        others = "others name no split" if len(found) < len(names) else "none says train"
        first = printable(held_out[0])
        notes.append(
            f"{len(held_out):,} file names say validation or test ({first}, …), {others}: none is held out for it"
        )
    return {}


def _in_words(places: Mapping[str, set[str]], pictures: list[Picture]) -> str:
    """`splits found in names: train 24 (training_set), validation 8 (val)`."""
    counts = Counter(picture.split or "train" for picture in pictures)
    found = [
        f"{split} {counts[split]:,} ({', '.join(sorted(map(printable, places.get(split, {'the rest'})))[:3])})"
        for split in ("train", "validation", "test")
        if counts[split]
    ]
    return f"splits found in names: {', '.join(found)}"


def _seen(tally: Tally) -> str:
    kinds = [f"{kind.count:,} {kind.reason}" for kind in tally][:3]
    return f" (it holds {', '.join(kinds)})" if kinds else ""
