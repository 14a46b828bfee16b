"""The endless stream of training batches: a function of the seed and of how many images were seen, and nothing else."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import overload

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from crvae.counting import counted
from crvae.data.prepared import Split
from crvae.errors import UserError

_AHEAD = 4
"""Batches that are prepared ahead of training."""

_SHARDS, _ROWS, _FLIPS = range(3)
"""What a draw is for; together with the seed and the epoch it seeds the draw."""


@overload
def batches(
    split: Split, *, batch: int, seed: int, start: int, flip: bool, rank: int = 0, world: int = 1
) -> Iterator[UInt8[Tensor, "b c h w"]]: ...
@overload
def batches(
    split: Split,
    *,
    batch: int,
    seed: int,
    start: int,
    flip: bool,
    rank: int = 0,
    world: int = 1,
    sizes: tuple[int, ...],
) -> Iterator[tuple[Tensor, ...]]: ...
def batches(
    split: Split,
    *,
    batch: int,
    seed: int,
    start: int,
    flip: bool,
    rank: int = 0,
    world: int = 1,
    sizes: tuple[int, ...] | None = None,
) -> Iterator[Tensor] | Iterator[tuple[Tensor, ...]]:
    """Endless batches (uint8, `batch/world c h w`) from the moment when `start` images have been seen.

    Position p belongs to epoch p // n; the order within an epoch is a permutation that depends on (seed, epoch) alone,
    so a resumed stream continues bit for bit, at any position. A global batch is the positions start..start + batch,
    across the end of an epoch where need be; rank r of `world` gets its r-th contiguous part. Whether an image is
    mirrored depends on (seed, epoch, index). With `sizes` every batch is a tuple: the same rows, mirrored alike, at each
    of the stored sizes. Batches are made on a thread of their own. Raises UserError for a batch that is larger than the
    split or not divisible by `world`.
    """
    if batch > len(split):
        raise UserError(
            f"--train.batch {batch} is larger than the {split.name} split of {split.data.path} "
            f"({counted(len(split), 'image')}): use --train.batch {len(split) // world * world} or less"
        )
    if batch < 1 or batch % world:
        raise UserError(f"--train.batch {batch} must be a positive multiple of the number of devices ({world})")
    for size in sizes or ():
        split.images([], size=size)
    own = slice(rank * batch // world, (rank + 1) * batch // world)
    made = _make(split, batch, seed, start, flip, own, sizes or (split.data.card.size,))
    stream = _ahead(made)
    return stream if sizes else (images for (images,) in stream)


def order(split: Split, seed: int, start: int) -> Iterator[tuple[int, np.ndarray]]:
    """(epoch, indices) from position `start` on, in runs of any length.

    A resident split is one permutation. A larger one is its shards in a permuted order, each permuted inside, so that
    every shard is read once an epoch.
    """
    n = len(split)
    epoch, skip = divmod(start, n)
    while True:
        if split.resident:
            yield epoch, _draw(seed, epoch, _ROWS).permutation(n)[skip:]
            skip = 0
        else:
            for shard in _draw(seed, epoch, _SHARDS).permutation(len(split.card.shards)):
                first, last = split.first[shard], split.first[shard + 1]
                if skip < last - first:
                    yield epoch, first + _draw(seed, epoch, _ROWS, int(shard)).permutation(last - first)[skip:]
                skip = max(0, skip - (last - first))
        epoch += 1


def _draw(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def _make(
    split: Split, batch: int, seed: int, start: int, flip: bool, own: slice, sizes: tuple[int, ...]
) -> Iterator[tuple[Tensor, ...]]:
    """The batches themselves, one after the other."""
    if split.resident:
        for size in sizes:
            split.everything(size=size)
    runs = order(split, seed, start)
    epochs, rows = np.empty(0, np.int64), np.empty(0, np.int64)
    mirrored: dict[int, np.ndarray] = {}
    while True:
        while len(rows) < batch:
            epoch, run = next(runs)
            epochs, rows = np.concatenate([epochs, np.full(len(run), epoch)]), np.concatenate([rows, run])
        mine, when = rows[:batch][own], epochs[:batch][own]
        epochs, rows = epochs[batch:], rows[batch:]
        images = tuple(split.images(mine, size=size) for size in sizes)
        if flip:
            for epoch in np.unique(when):
                if int(epoch) not in mirrored:
                    mirrored = {int(e): mirrored[int(e)] for e in np.unique(when) if int(e) in mirrored}
                    mirrored[int(epoch)] = _draw(seed, int(epoch), _FLIPS).random(len(split), dtype=np.float32) < 0.5
            chosen = torch.from_numpy(
                np.array([mirrored[int(e)][i] for e, i in zip(when, mine, strict=True)], dtype=bool)
            )
            images = tuple(torch.where(chosen[:, None, None, None], x.flip(-1), x) for x in images)
        yield images


def _ahead(made: Iterator[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, ...]]:
    """The same items, made on a background thread; pinned for the copy where there is a GPU. Its errors are raised here."""
    ready: queue.Queue[tuple[Tensor, ...] | BaseException] = queue.Queue(_AHEAD)
    closed = threading.Event()

    def put(item: tuple[Tensor, ...] | BaseException) -> None:
        while not closed.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                break

    def work() -> None:
        try:
            for images in made:
                put(tuple(x.pin_memory() for x in images) if torch.cuda.is_available() else images)
                if closed.is_set():
                    break
        except BaseException as error:
            put(error)

    def close() -> None:
        closed.set()
        thread.join()

    thread = threading.Thread(target=work, name="crvae-batches", daemon=True)
    atexit.register(close)  # Python must not end while the thread is inside torch
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        close()
        atexit.unregister(close)
