"""A folder of images."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from crvae.data.accounts import LABELS_READ, Tally, printable
from crvae.data.card import CARD, SHARD
from crvae.data.images import Form
from crvae.data.registry import source
from crvae.data.source import Item, Source, read_file
from crvae.data.sources import table_files
from crvae.data.sources.tree import Tree, grow, is_image, tables_beside
from crvae.errors import UserError, reason

Labels = Annotated[
    str | None,
    "none, or a CSV table (header file,COLUMN…) in place of class folders; for tables and hub: none, or label columns "
    "separated by commas",
]


@dataclass(frozen=True, kw_only=True)
class Folder(Source):
    """Images in a local folder, symbolic links followed."""

    root: Path
    tree: Tree = field(repr=False)

    @property
    def count(self) -> int:
        return len(self.tree.pictures)

    @property
    def description(self) -> dict[str, object]:
        return {"kind": "folder", "files": self.count, "listing": self.tree.listing}

    @property
    def local_files(self) -> Iterator[Path]:
        return (self.root / picture.name for picture in self.tree.pictures)

    def items(self) -> Iterator[Item]:
        return self.tree.items()

    def open(self, item: Item) -> bytes:
        try:
            return read_file(self.root / str(item.at), self.form.byte_limit)
        except OSError:
            if not self.root.is_dir():
                raise UserError(f"SOURCE {self.root} has vanished: bring it back and run the same command") from None
            raise


@source("folder", takes=lambda name: Path(name).is_dir())
def folder(
    root: str | Path,
    form: Form,
    *,
    labels: Labels = None,
    image_column: Annotated[str | None, "tables and hub: which column holds the images"] = None,
    take: Annotated[str | None, "tables or pictures, where a folder holds both"] = None,
) -> Source:
    """What a folder holds: prepared data (by its card), else tables, else pictures.

    Raises UserError if it is missing or holds none of them, or tables and pictures and nothing says which.
    """
    path = Path(root)
    if not path.is_dir():
        raise UserError(f"SOURCE {root} is neither a folder, a file nor a named set: check the spelling")
    if take not in (None, "tables", "pictures"):
        raise UserError(f"--take must be tables or pictures, got {take!r}")
    try:
        top = os.listdir(path)
    except OSError as error:
        raise UserError(
            f"SOURCE {root} cannot be read ({reason(error)}): give yourself permission to read the folder"
        ) from None
    if holds_prepared(top) and take is None:
        for option, value in {"--labels": labels, "--image-column": image_column}.items():
            if value is not None:
                raise UserError(f"{option} does not apply to {root}, which is prepared data: leave it out")
        from crvae.data.sources.prepared_again import prepared_again

        return prepared_again(path, form)
    tally = Tally()
    names = list(files_below(path, tally))
    tables = table_files.tables_among(names)
    pictures = [name for name in names if is_image(name)]
    if tables and pictures and take is None:
        raise UserError(
            f"SOURCE {root} holds tables ({printable(tables[0])}{', …' * (len(tables) > 1)}) and pictures "
            f"({printable(pictures[0])}{', …' * (len(pictures) > 1)}): choose with --take tables or --take pictures"
        )
    if tables and take != "pictures":
        for name in names:
            if name not in tables:
                tally.add("beside tables", name)
        return table_files.tables(path, tables, form, labels=labels, image_column=image_column, tally=tally)
    if take == "tables":
        raise UserError(f"--take tables does not apply to {root}, which holds none (.parquet, .arrow): leave it out")
    if image_column is not None:
        raise UserError(f"--image-column does not apply to {root}, which holds no tables: leave it out")
    metadata: dict[str, bytes] = {}
    if labels is None:
        names, metadata = tables_beside(names, lambda name, limit: read_file(path / name, limit), tally)
    elif labels != "none":
        names = _without_table(path, names, Path(labels).expanduser(), tally)
    tree = grow(names, str(root), labels, tally, metadata)
    return Folder(name=printable(path.resolve().name), form=form, root=path, tree=tree, **tree.declared)


def _without_table(root: Path, names: list[str], table: Path, tally: Tally) -> list[str]:
    """The names without that of the table of labels, where it lies among the pictures: it is tallied as read."""
    own = [name for name in names if name.rsplit("/", 1)[-1] == table.name and table.is_file()]
    own = [name for name in own if os.path.samefile(root / name, table)]
    for name in own:
        tally.add(LABELS_READ, name)
    return [name for name in names if name not in own]


def files_below(root: Path, tally: Tally | None = None) -> Iterator[str]:
    """Paths of all regular files below `root`, with forward slashes; what else is there is tallied.

    Links are followed; a folder that is reached twice is visited once. Prepared data below `root` are not looked at, so that
    a folder can hold what was prepared from it.
    """
    tally = Tally() if tally is None else tally
    seen: set[str] = set()

    def unreadable(error: OSError) -> Any:
        tally.add("folder that cannot be read", os.path.relpath(str(error.filename), root))

    for base, folders, files in os.walk(root, followlinks=True, onerror=unreadable):
        real = os.path.realpath(base)
        if real in seen:
            tally.add("folder that is reached a second time, by a link", os.path.relpath(base, root))
            folders.clear()
            continue
        seen.add(real)
        if base != str(root) and _is_prepared(base, files):
            tally.add("prepared data", os.path.relpath(base, root))
            folders.clear()
            continue
        folders.sort()
        below = os.path.relpath(base, root).replace(os.sep, "/")
        below = "" if below == "." else f"{below}/"
        for file in sorted(files):
            path, name = os.path.join(base, file), below + file
            try:
                regular = stat.S_ISREG(os.stat(path).st_mode)
            except PermissionError:
                tally.add("file in a folder that may not be entered", name)
            except OSError:
                tally.add("link that leads nowhere", name)
            else:
                if regular:
                    yield name
                else:
                    tally.add("pipe or device", name)


def _is_prepared(base: str, files: list[str]) -> bool:
    """Whether the folder is prepared data, or `crvae prepare` was interrupted there."""
    folder = os.path.basename(base)
    return (folder.startswith(".") and folder.endswith(".preparing")) or holds_prepared(files)


def holds_prepared(files: Collection[str]) -> bool:
    """Whether a folder of these files is prepared data: a card alone may be of a game."""
    return CARD in files and any(re.fullmatch(SHARD, name) for name in files)
