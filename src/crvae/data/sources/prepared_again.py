"""Prepared data as a source: the same images, splits and labels in another size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from crvae.data.card import Card, column_of
from crvae.data.images import Form
from crvae.data.rows import read_columns
from crvae.data.source import Item, Source


@dataclass(frozen=True, kw_only=True)
class PreparedAgain(Source):
    """The largest images of a prepared set, whole: they have been cropped already."""

    root: Path
    card: Card = field(repr=False)

    @property
    def count(self) -> int:
        return sum(split.count for split in self.card.splits.values())

    @property
    def description(self) -> dict[str, object]:
        return {"kind": "prepared", "fingerprint": self.card.fingerprint, "source": self.card.source}

    def items(self) -> Iterator[Item]:
        for name, split in self.card.splits.items():
            for shard in split.shards:
                columns = _read(self.root / shard.file, ("key", *self.card.columns))
                for row, key in enumerate(columns["key"]):
                    labels = {column: int(columns[column][row]) for column in self.card.columns}
                    yield Item(key, (shard.file, row), name, labels)

    def open(self, item: Item) -> bytes:
        file, row = item.at  # type: ignore[misc]
        column = column_of(self.card.sizes[-1], self.card.size)
        return _read(self.root / file, (column,))[column][row]["bytes"]


def prepared_again(root: Path, form: Form) -> PreparedAgain:
    """Raises UserError if the card is damaged, or a shard is missing."""
    from crvae.data.prepared import open_data

    card = open_data(root).card
    sizes = " and ".join(map(str, card.sizes))
    return PreparedAgain(
        name=card.name,
        form=replace(form, channels=min(form.channels, card.channels)),
        columns=card.columns,
        notes=(*card.notes, f"made from prepared data of {sizes} pixels"),
        licences=card.licences,
        boxes=card.boxes,
        root=root,
        card=card,
    )


@lru_cache(maxsize=2)
def _read(path: Path, columns: tuple[str, ...]) -> dict[str, list]:
    return read_columns(path, columns).to_pydict()
