"""LSUN bedroom (section 4) from its LMDB, in a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from crvae.data.images import Form, Unusable
from crvae.data.registry import source
from crvae.data.source import Item, Source
from crvae.errors import UserError

FOLDERS = {"validation": "bedroom_val_lmdb", "train": "bedroom_train_lmdb"}


@dataclass(frozen=True, kw_only=True)
class Lsun(Source):
    """Bedrooms: keys are hashes, so the order of the file is already a shuffled one."""

    root: Path
    counts: dict[str, int]

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    @property
    def description(self) -> dict[str, object]:
        return {"kind": "lsun", "entries": self.counts}

    def items(self) -> Iterator[Item]:
        for split, folder in FOLDERS.items():
            with _database(self.root / folder).begin() as view:
                for key in view.cursor().iternext(keys=True, values=False):
                    yield Item(f"{split}/{key.decode('ascii', 'backslashreplace')}", bytes(key), split)

    def open(self, item: Item) -> bytes:
        with _database(self.root / FOLDERS[str(item.split)]).begin() as view:
            value = view.get(item.at)
        if value is None or len(value) > self.form.byte_limit:
            raise Unusable("is missing from the database, or larger than any image within the pixel limit")
        return value


@lru_cache(maxsize=2)
def _database(folder: Path) -> Any:
    """One read-only handle a process. Raises UserError if there is no database."""
    import lmdb

    try:
        return lmdb.open(str(folder), readonly=True, lock=False, readahead=False, create=False, max_readers=1)
    except lmdb.Error as error:
        raise UserError(
            f"{folder / 'data.mdb'} cannot be opened as LMDB ({error}): download and unzip it again"
        ) from None


@source("lsun-bedroom")
def lsun(
    form: Form, *, root: Annotated[Path | None, "the folder with bedroom_train_lmdb and bedroom_val_lmdb"] = None
) -> Lsun:
    """Opens both databases. Raises UserError naming the one that is missing or damaged."""
    if root is None:
        raise UserError(f"lsun-bedroom needs --root, the folder with {' and '.join(FOLDERS.values())}")
    counts = {}
    for split, folder in FOLDERS.items():
        if not (root / folder / "data.mdb").is_file():
            raise UserError(f"{root / folder / 'data.mdb'} is missing: --root must be the folder that holds {folder}")
        counts[split] = _database(root / folder).stat()["entries"]
    return Lsun(
        name="lsun-bedroom",
        form=form,
        notes=("the paper counts 3,033,042 training and 300 validation images",),
        licences={"lsun-bedroom": "non-commercial research; see the set's terms"},
        root=root,
        counts=counts,
    )
