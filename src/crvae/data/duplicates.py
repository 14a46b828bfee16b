"""Equal contents among prepared images, over all shards and splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crvae.data.card import Duplicates, Shard
from crvae.data.rows import CONTENT_BYTES, read_columns

PAIRS = 1000
"""How many duplicates the card names."""


def find_duplicates(folder: Path, shards: dict[str, list[Shard]]) -> Duplicates:
    """Compares the stored content hashes, 16 bytes an image, over all splits."""
    files = [(split, shard) for split, parts in shards.items() for shard in parts]
    halves = np.concatenate([_contents(folder / shard.file) for _, shard in files])
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: equal contents stay in their order
    repeats = np.flatnonzero((halves[order[1:]] == halves[order[:-1]]).all(1)) + 1
    first = np.arange(len(order))
    first[repeats] = 0
    first = order[np.maximum.accumulate(first)][repeats]
    pairs = sorted(zip(order[repeats].tolist(), first.tolist(), strict=True))
    ends = np.cumsum([shard.count for _, shard in files])
    file_of = {row: int(np.searchsorted(ends, row, side="right")) for pair in pairs for row in pair}
    keys: dict[int, str] = {}
    shown = {row for pair in pairs[:PAIRS] for row in pair}
    for file in sorted({file_of[row] for row in shown}):
        column = read_columns(folder / files[file][1].file, ["key"])["key"]
        start = ends[file] - files[file][1].count
        keys |= {row: column[int(row - start)].as_py() for row in shown if file_of[row] == file}
    return Duplicates(
        images=len(pairs),
        across_splits=sum(files[file_of[a]][0] != files[file_of[b]][0] for a, b in pairs),
        pairs=tuple((keys[a], keys[b]) for a, b in pairs[:PAIRS]),
    )


def _contents(path: Path) -> np.ndarray:
    """`n 2`: the content hashes of one shard."""
    column = read_columns(path, ["content"])["content"]
    return np.frombuffer(b"".join(column.to_pylist()), dtype="<u8").reshape(-1, CONTENT_BYTES // 8)
