"""The preparation of a source: chunks of items on all cores, restartable, the same bytes for any number of workers."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import itertools
import json
import multiprocessing
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from crvae.config.base import FORMAT
from crvae.data.card import CARD, Card, Duplicates, Files, NotLookedAt, Shard, Skipped, SplitCard
from crvae.data.duplicates import find_duplicates
from crvae.data.remarks import in_words
from crvae.data.rows import chunk_items, receipt_path, schema, write_chunk
from crvae.data.source import Item, Source
from crvae.errors import UserError, reason
from crvae.files import put, write_text
from crvae.workplace import lock, workplace

Report = Callable[[int], None]
"""Is told how many more items are done."""

_SPLITS = ("train", "validation", "test")


def write_prepared(source: Source, out: Path, *, workers: int, report: Report = lambda items: None) -> Card:
    """Prepares `source` into the new folder `out` and returns its card.

    Works in a hidden sibling, `.NAME.preparing`, which is renamed when complete; the same call after an interruption goes
    on there. Raises UserError if `out` exists, another request was interrupted there, or no image is usable.
    """
    must_not_exist(out)
    folder = workplace(out, "preparing")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise UserError(f"OUT {out} cannot be written ({reason(error)}): choose another place") from None
    try:
        busy = f"another process is preparing {out}: wait for it, or choose another OUT"
        lock(handle, out, busy, "do not prepare it twice at once")
        _same_request(source, folder)
        _work(source, folder, workers, report)
        card = _finish(source, folder)
        write_text(folder / CARD, card.model_dump_json(indent=1))
        shards = {shard.file for split in card.splits.values() for shard in split.shards}
        _tidy(folder, shards | {CARD})
        put(folder, out)
        return card
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({reason(error)}): make room and run the same command again"
        ) from None
    finally:
        os.close(handle)


def must_not_exist(out: Path) -> None:
    """Raises UserError if there is something under the name `out`."""
    if out.exists() or out.is_symlink() or not out.name:
        raise UserError(f"{out} already exists. Choose another OUT, or remove it first")


_FILE = r"(?:card\.json|request\.json|chunk-\d+\.json|(?:train|validation|test)-\d+\.parquet)"
_OURS = re.compile(rf"lock|{_FILE}|\.{_FILE}\.[0-9a-f]+(?:\.tmp)?")
"""Names that a preparation gives: receipts, shards, and what a killed process left half-written."""


def _tidy(folder: Path, kept: set[str]) -> None:
    """Deletes what a preparation made there, but `kept`, and nothing else."""
    for path in folder.iterdir():
        if path.name not in kept and _OURS.fullmatch(path.name):
            path.unlink()


def versions() -> dict[str, str]:
    """Versions of everything that has a say in the stored bytes."""
    return {name: importlib.metadata.version(name) for name in ("crvae", "pillow", "pyarrow", "resvg-py")}


def _same_request(source: Source, folder: Path) -> None:
    """Leaves a note of what is being prepared, or compares with the one that is there."""
    request = {"format": FORMAT, "name": source.name, "form": asdict(source.form), "source": source.description}
    request |= {
        "columns": dict(source.columns),
        "count": source.count,
        "chunk": chunk_items(source.form),
        "versions": versions(),
    }
    request |= {"items": _hash_of_items(source), "files": _hash_of_files(source)}
    text = json.dumps(request, sort_keys=True)
    path = folder / "request.json"
    if not path.exists():
        write_text(path, text)
    elif path.read_text() != text:
        raise UserError(
            f"{folder} holds an interrupted preparation of something else (other options, or the source has changed): "
            "delete it, or choose another OUT"
        )


def _hash_of_items(source: Source) -> str:
    """SHA-256 of what the source says of its items before they are opened: a label that was corrected changes it."""
    digest = hashlib.sha256()
    for item in source.items():
        said = (item.key, item.split, item.box, sorted(item.labels.items()))
        digest.update(repr(said).encode(errors="surrogatepass"))
    return digest.hexdigest()


def _hash_of_files(source: Source) -> str:
    """SHA-256 of the sizes and times of the source's files: a picture that was replaced changes it."""
    digest = hashlib.sha256()
    for path in source.local_files:
        try:
            state = path.stat()
            digest.update(f"{state.st_size} {state.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(b"gone\n")
    return digest.hexdigest()


def _chunks(source: Source) -> Iterator[tuple[int, list[Item]]]:
    items, most = source.items(), chunk_items(source.form)
    for chunk in itertools.count():
        part = list(itertools.islice(items, most))
        if not part:
            return
        yield chunk, part


def _work(source: Source, folder: Path, workers: int, report: Report) -> None:
    """Prepares every chunk that has no receipt yet, few at a time, so that memory stays flat."""
    form, alone = schema(source.form.sizes, source.columns), source.count <= chunk_items(source.form)

    def pending() -> Iterator[tuple[int, list[Item]]]:
        for chunk, items in _chunks(source):
            if receipt_path(folder, chunk).exists():
                report(len(items))
            else:
                yield chunk, items

    if workers == 1 or alone:
        for chunk, items in pending():
            write_chunk(source, chunk, items, form, folder, alone=alone)
            report(len(items))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(source, form, folder)) as pool:
        running: dict[Future[None], int] = {}
        try:
            for chunk, items in pending():
                running[pool.submit(_chunk, chunk, items)] = len(items)
                if len(running) >= 2 * workers:
                    _collect(running, report)
            while running:
                _collect(running, report)
        except BrokenProcessPool:
            raise UserError(
                f"a worker process died (out of memory?). Run the same command with --workers 1 to continue in {folder}"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_work_of_process: tuple[Source, pa.Schema, Path]
"""What this worker process prepares."""


def _start(source: Source, form: pa.Schema, folder: Path) -> None:
    """Sets up a worker process. Ctrl-C is the parent's business; a broken pool ends its workers by SIGTERM."""
    global _work_of_process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work_of_process = source, form, folder


def _chunk(chunk: int, items: list[Item]) -> None:
    source, form, folder = _work_of_process
    write_chunk(source, chunk, items, form, folder, alone=False)


def _collect(running: dict[Future[None], int], report: Report) -> None:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
        report(running.pop(future))


def _finish(source: Source, folder: Path) -> Card:
    """The card, from the receipts in the order of the chunks."""
    shards: dict[str, list[Shard]] = {}
    classes: dict[str, dict[str, list[int]]] = {}
    skipped: list[Skipped] = []
    odd: Counter[str] = Counter()
    for path in sorted(folder.glob(f"chunk-{6 * '[0-9]'}.json")):
        receipt = json.loads(path.read_text())
        skipped += [Skipped(file=file, reason=reason) for file, reason in receipt["skipped"]]
        odd.update(receipt["remarks"])
        for split, entry in receipt["shards"].items():
            counts = entry.pop("classes")
            shards.setdefault(split, []).append(Shard(**entry))
            total = classes.setdefault(split, {name: [0] * len(values) for name, values in counts.items()})
            for name, values in counts.items():
                total[name] = [a + b for a, b in zip(total[name], values, strict=True)]
    if not shards:
        first = f"; the first: {skipped[0].file} {skipped[0].reason}" if skipped else ""
        _tidy(folder, set())
        with contextlib.suppress(OSError):  # what others put there stays
            folder.rmdir()
        raise UserError(f"{source.name} has no usable image ({len(skipped)} skipped{first}): nothing was prepared")
    form, duplicates = source.form, find_duplicates(folder, shards)
    ignored = tuple(NotLookedAt(**asdict(kind)) for kind in source.not_looked_at)
    stored = sum(shard.count for parts in shards.values() for shard in parts)
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
        columns=dict(source.columns),
        boxes=dict(source.boxes),
        source=source.description,
        preparation={name: value for name, value in asdict(form).items() if name not in ("sizes", "channels")},
        notes=(*source.notes, *_single(shards, stored, duplicates), *in_words(odd, stored, form)),
        duplicates=duplicates,
        skipped=tuple(skipped),
        not_looked_at=ignored,
        files=_accounts(source, stored, duplicates, len(skipped)),
        versions=versions(),
        licences=dict(source.licences),
    )


def _single(shards: dict[str, list[Shard]], stored: int, duplicates: Duplicates) -> tuple[str, ...]:
    """A note where all images are alike, so that none is held out."""
    if len(shards) > 1 or stored - duplicates.images > 1:
        return ()
    return (f"all images are the same file, so there is one split, {', '.join(shards)}: nothing is held out",)


def _accounts(source: Source, stored: int, duplicates: Duplicates, skipped: int) -> Files:
    """Every file of the source is one of these."""
    ignored = sum(kind.count for kind in source.not_looked_at)
    repeated = duplicates.images + source.left_out
    found = source.count + source.left_out + ignored
    files = Files(
        found=found, used=stored - duplicates.images, repeated=repeated, skipped=skipped, not_looked_at=ignored
    )
    if files.used + files.repeated + files.skipped + files.not_looked_at != found:
        raise UserError(
            f"{source.name} changed while it was prepared ({found:,} files at first): run the same command again"
        )
    return files
