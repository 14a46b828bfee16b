"""Prepared data as a source: the same images, splits and labels in another size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from crvae.data.card import column_of
from crvae.data.images import Form
from crvae.data.prepared import PreparedData, open_data
from crvae.data.source import Item, Source


@dataclass(frozen=True, kw_only=True)
class PreparedAgain(Source):
    """The largest images of a prepared set, whole: they have been cropped already."""

    data: PreparedData = field(repr=False)

    @property
    def count(self) -> int:
        return sum(split.count for split in self.data.card.splits.values())

    @property
    def description(self) -> dict[str, object]:
        return {"kind": "prepared", "fingerprint": self.data.fingerprint, "source": self.data.card.source}

    def items(self) -> Iterator[Item]:
        names = self.data.card.columns
        for name, split in self.data.card.splits.items():
            for shard in range(len(split.shards)):
                columns = _read(self.data, name, shard, ("key", *names))
                for row, key in enumerate(columns["key"]):
                    labels = {column: int(columns[column][row]) for column in names}
                    yield Item(key, (shard, row), name, labels)

    def open(self, item: Item) -> bytes:
        shard, row = item.at  # type: ignore[misc]
        column = column_of(self.data.card.sizes[-1], self.data.card.size)
        return _read(self.data, str(item.split), shard, (column,))[column][row]["bytes"]


def prepared_again(root: Path, form: Form) -> PreparedAgain:
    """Raises UserError if the card is damaged; so do the images if a shard is."""
    data = open_data(root)
    card = data.card
    sizes = " and ".join(map(str, card.sizes))
    return PreparedAgain(
        name=card.name,
        form=replace(form, channels=min(form.channels, card.channels)),
        columns=card.columns,
        notes=(*card.notes, f"made from prepared data of {sizes} pixels"),
        licences=card.licences,
        boxes=card.boxes,
        data=data,
    )


@lru_cache(maxsize=2)
def _read(data: PreparedData, split: str, shard: int, columns: tuple[str, ...]) -> dict[str, list]:
    return data.table(data.card.splits[split].shards[shard], list(columns)).to_pydict()
