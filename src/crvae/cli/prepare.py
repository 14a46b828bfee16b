"""`crvae prepare`: any source to the prepared format."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError

if TYPE_CHECKING:
    from crvae.data.source import Source


@dataclass(frozen=True)
class Prepare:
    """Turn a source of images into a prepared dataset: squares of one size, split, labelled, in Parquet shards."""

    source: tyro.conf.Positional[str]
    """An image folder (class sub-folders become labels), or emoji, mnist, fashion-mnist."""
    out: tyro.conf.Positional[Path]
    """The folder to make. It must not exist; the same command after an interruption goes on."""
    size: int = 64
    """Height and width of the images, in pixels."""
    pair: int | None = None
    """Height and width, in pixels, of a second, larger image of each row, for Stage2."""
    root: Path | None = None
    """Folder that holds a named set's files, in place of fetching them."""
    vendors: str = "noto,twemoji,fluent-emoji-flat"
    """emoji: whose drawings, separated by commas."""
    channels: Literal[1, 3] | None = None
    """1 for grey, 3 for colour; by default grey for mnist and fashion-mnist."""
    crop: Literal["center", "none"] = "center"
    """center: the largest centred square; none: the whole picture, squeezed into a square."""
    resample: Literal["bicubic", "bilinear", "lanczos", "area"] = "bicubic"
    """Filter for scaling, always with antialiasing."""
    pixel_limit: float = 16.0
    """Images above this many megapixels are skipped undecoded."""
    workers: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    """Processes; the output does not depend on it."""


class Interrupted(BaseException):
    """A signal asked to stop."""


def run(args: list[str]) -> int:
    """Prepares data and prints what came of it on standard error."""
    command = parse(Prepare, args, name="prepare")
    _check(command)

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from crvae.data.preparation import prepare

    console = Console(stderr=True)
    source = _source(command)

    def stop(number: int, frame: object) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    try:
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            task = progress.add_task(f"preparing {source.name}", total=source.count, rate="")

            def report(items: int) -> None:
                progress.advance(task, items)
                speed = progress.tasks[task].speed
                progress.update(task, rate=f"{speed:,.0f} images/s" if speed else "")

            card = prepare(source, command.out, workers=command.workers, report=report)
    except Interrupted as interrupted:
        print(f"crvae: interrupted; the same command goes on preparing {command.out}", file=sys.stderr)
        return 128 + interrupted.args[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    counts = ", ".join(f"{split.count:,} {name}" for name, split in card.splits.items())
    console.print(f"{command.out}: {counts}; {len(card.skipped):,} skipped")
    for skipped in card.skipped[:5]:
        console.print(f"  skipped: {skipped.file} {skipped.reason}", markup=False)
    if len(card.skipped) > 5:
        console.print("  (all of them are in card.json)")
    return 0


def _check(command: Prepare) -> None:
    for option, value, least, most in (
        ("--size", command.size, 8, 1024),
        ("--pair", command.pair, command.size + 1, 1024),
        ("--workers", command.workers, 1, 1024),
    ):
        if value is not None and not least <= value <= most:
            raise UserError(f"{option} must lie between {least} and {most}, got {value}")
    if not 0 < command.pixel_limit <= 1000:
        raise UserError(f"--pixel-limit must lie between 0 and 1000 megapixels, got {command.pixel_limit:g}")


def _source(command: Prepare) -> Source:
    from crvae.data.images import Form
    from crvae.data.sources import digits, emoji, folder

    grey = command.source in ("mnist", "fashion-mnist")
    form = Form(
        sizes=(command.size,) if command.pair is None else (command.size, command.pair),
        channels=command.channels or (1 if grey else 3),
        crop=command.crop,
        resample=command.resample,
        pixel_limit=round(command.pixel_limit * 1e6),
    )
    if command.source == "emoji":
        vendors = tuple(name.strip() for name in command.vendors.split(",") if name.strip())
        return emoji.emoji(form, root=command.root, vendors=vendors)
    if command.source == "mnist":
        return digits.mnist(form, command.root)
    if command.source == "fashion-mnist":
        return digits.fashion_mnist(form, command.root)
    return folder.folder(Path(command.source), form)
