"""The preparation of a source: runs of items on all cores, restartable, the same bytes whatever the number of workers."""

from __future__ import annotations

import fcntl
import importlib.metadata
import itertools
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq

from crvae.config import FORMAT
from crvae.data.card import CARD, Card, Shard, Skipped, SplitCard
from crvae.data.rows import RUN, receipt_path, schema, write_run, write_whole
from crvae.data.source import Item, Source
from crvae.errors import UserError

Report = Callable[[int], None]
"""Is told how many more items are done."""

_SPLITS = ("train", "validation", "test")


def prepare(source: Source, out: Path, *, workers: int, report: Report = lambda items: None) -> Card:
    """Prepares `source` into the new folder `out` and returns its card.

    Works in the sibling `.NAME.preparing`, which is renamed when complete; the same call after an interruption goes on
    there. Raises UserError where `out` exists, where another request was interrupted there, or where no image is usable.
    """
    if out.exists():
        raise UserError(f"{out} exists already: choose another OUT, or delete it first")
    folder = out.parent / f".{out.name}.preparing"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise UserError(f"OUT {out} cannot be written ({error.strerror}): choose another place") from None
    try:
        _lock(lock, out)
        _same_request(source, folder)
        _work(source, folder, workers, report)
        card = _finish(source, folder)
        write_whole(folder / CARD, lambda file: Path(file).write_text(card.model_dump_json(indent=1)))
        for path in [*folder.glob("run-*.json"), folder / "request.json", folder / "lock"]:
            path.unlink()
        os.replace(folder, out)
        return card
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}): make room and run the same command again"
        ) from None
    finally:
        os.close(lock)


def _lock(lock: int, out: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(f"another process is preparing {out}: wait for it, or choose another OUT") from None


def versions() -> dict[str, str]:
    """Versions of everything that has a say in the stored bytes."""
    return {name: importlib.metadata.version(name) for name in ("crvae", "pillow", "pyarrow", "datasets", "resvg-py")}


def _same_request(source: Source, folder: Path) -> None:
    """Leaves a note of what is being prepared, or compares with the one that is there."""
    request = {"format": FORMAT, "name": source.name, "form": asdict(source.form), "source": source.description}
    request |= {"columns": source.columns, "count": source.count, "run": RUN, "versions": versions()}
    text = json.dumps(request, sort_keys=True)
    path = folder / "request.json"
    if not path.exists():
        write_whole(path, lambda file: Path(file).write_text(text))
    elif path.read_text() != text:
        raise UserError(
            f"{folder} holds an interrupted preparation of something else (other options, or the source has changed): "
            "delete it, or choose another OUT"
        )


def _runs(source: Source) -> Iterator[tuple[int, list[Item]]]:
    items = source.items()
    for run in itertools.count():
        part = list(itertools.islice(items, RUN))
        if not part:
            return
        yield run, part


def _work(source: Source, folder: Path, workers: int, report: Report) -> None:
    """Prepares every run that has no receipt yet, few at a time, so that memory stays flat."""
    form, alone = schema(source.form.sizes, source.columns), source.count <= RUN

    def pending() -> Iterator[tuple[int, list[Item]]]:
        for run, items in _runs(source):
            if receipt_path(folder, run).exists():
                report(len(items))
            else:
                yield run, items

    if workers == 1 or alone:
        for run, items in pending():
            write_run(source, run, items, form, folder, alone=alone)
            report(len(items))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_worker) as pool:
        running: dict[Future[None], int] = {}
        try:
            for run, items in pending():
                running[pool.submit(write_run, source, run, items, form, folder, alone=False)] = len(items)
                if len(running) >= 2 * workers:
                    _collect(running, report)
            while running:
                _collect(running, report)
        except BrokenProcessPool:
            raise UserError(
                f"a worker process died (out of memory?): run the same command again, with --workers 1, to go on in {folder}"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _worker() -> None:
    """Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collect(running: dict[Future[None], int], report: Report) -> None:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
        report(running.pop(future))


def _finish(source: Source, folder: Path) -> Card:
    """The card, from the receipts in the order of the runs."""
    shards: dict[str, list[Shard]] = {}
    classes: dict[str, dict[str, list[int]]] = {}
    skipped: list[Skipped] = []
    for path in sorted(folder.glob("run-*.json")):
        receipt = json.loads(path.read_text())
        skipped += [Skipped(file=file, reason=reason) for file, reason in receipt["skipped"]]
        for split, entry in receipt["shards"].items():
            counts = entry.pop("classes")
            shards.setdefault(split, []).append(Shard(**entry))
            total = classes.setdefault(split, {name: [0] * len(values) for name, values in counts.items()})
            for name, values in counts.items():
                total[name] = [a + b for a, b in zip(total[name], values, strict=True)]
    if not shards:
        first = f"; the first: {skipped[0].file} {skipped[0].reason}" if skipped else ""
        shutil.rmtree(folder)
        raise UserError(f"{source.name} has no usable image ({len(skipped)} skipped{first}): nothing was prepared")
    form = source.form
    return Card(
        name=source.name,
        size=form.sizes[0],
        pair=form.sizes[1] if len(form.sizes) > 1 else None,
        channels=form.channels,
        splits={
            split: SplitCard(
                count=sum(shard.count for shard in shards[split]),
                shards=tuple(shards[split]),
                classes={name: tuple(values) for name, values in classes[split].items()},
            )
            for split in sorted(shards, key=_SPLITS.index)
        },
        columns=source.columns,
        source=source.description,
        preparation={"crop": form.crop, "resample": form.resample, "pixel_limit": form.pixel_limit},
        notes=source.notes,
        duplicates=_duplicates(folder, shards),
        skipped=tuple(skipped),
        versions=versions(),
        licences=source.licences,
    )


def _duplicates(folder: Path, shards: dict[str, list[Shard]]) -> dict[str, int]:
    """How many images repeat the content of an earlier one, and how many of those stand in another split than it."""
    first: dict[bytes, str] = {}
    images, across = 0, 0
    for split, parts in shards.items():
        for shard in parts:
            for content in pq.read_table(folder / shard.file, columns=["content"])["content"].to_pylist():
                images += content in first
                across += first.setdefault(content, split) != split
    return {"images": images, "across_splits": across}
