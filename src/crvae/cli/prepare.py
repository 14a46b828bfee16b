"""`crvae prepare`: any source to the prepared format; and what is in prepared data (`--inspect`)."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from crvae.cli.parsing import meant, parse
from crvae.cli.stopping import advise
from crvae.data.accounts import describe, unread
from crvae.data.card import Card
from crvae.data.registry import all_sources
from crvae.data.request import CORES, prepare_source
from crvae.progress import progress


@dataclass(frozen=True)
class Prepare:
    """Turn a source of images into a prepared dataset: squares of one size, split, labelled, in Parquet shards.

    Or show what is in one: crvae prepare --inspect DATA (its options: crvae prepare --inspect --help)
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """A folder, ZIP or tar of images (class folders become labels, train/ and validation/ become splits), a Parquet or
    Arrow file or folder, prepared data, hub:OWNER/NAME, or avatars, emoji, mnist, fashion-mnist, binarised-mnist, birds,
    celeba, lsun-bedroom."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """The folder to make. It must not exist. After an interruption, run the same command again to continue."""
    size: int = 64
    """Height and width of the images, in pixels (8 to 512)."""
    pair: int | None = None
    """Height and width, in pixels, of a second, larger image of each row, from the same crop, for Stage2."""
    channels: Annotated[
        Literal[1, 3] | None, tyro.conf.arg(help_behavior_hint="(default: 3; 1 for the MNIST sets)")
    ] = None
    """1 for grey, 3 for colour."""
    crop: Annotated[
        Literal["center", "box", "none"] | None,
        tyro.conf.arg(help_behavior_hint="(default: center; box for birds and celeba)"),
    ] = None
    """center: the largest centred square; box: a square around the set's bounding box; none: the whole picture, squeezed
    into a square."""
    margin: float | None = None
    """Added on every side of a bounding box, as a share of its side: 0.25 by default for birds, 0 for celeba."""
    square: Literal["longer", "shorter"] = "longer"
    """Which side of a bounding box makes the square."""
    resample: Literal["bicubic", "bilinear", "lanczos", "area"] = "bicubic"
    """Filter for scaling, always with antialiasing."""
    pixel_limit: float = 200.0
    """Images above this many megapixels are skipped undecoded."""
    workers: int = CORES
    """Processes; the output does not depend on their number."""


def command_type() -> type[Prepare]:
    """`Prepare` with the options that the registered sources declare, each helped by all sources that understand it."""
    kinds: dict[str, Any] = {}
    helps: dict[str, dict[str, list[str]]] = {}
    for name, registered in all_sources().items():
        for option, declared in registered.options.items():
            kinds.setdefault(option, declared.kind)
            helps.setdefault(option, {}).setdefault(declared.help, []).append(name)
    fields = []
    for option, kind in kinds.items():
        text = ". ".join(f"{', '.join(names)}: {words}" for words, names in helps[option].items())
        # tyro's own hint would be "(default: none)", and `none` is a value of --labels
        described = tyro.conf.arg(help=text, help_behavior_hint="(default: the source's own)")
        fields.append((option, Annotated[kind, described], field(default=None)))
    return make_dataclass("Prepare", fields, bases=(Prepare,), frozen=True, namespace={"__doc__": Prepare.__doc__})


@dataclass(frozen=True)
class Inspect:
    """Show what is in a prepared dataset, by split and class: a table, and a contact sheet."""

    inspect: str
    """The prepared dataset: a folder, or any fsspec path."""
    sheet: Path | None = None
    """PNG file for the contact sheet; by default contact-sheet.png in the dataset's folder."""
    json: bool = False
    """Print the card as JSON instead of the table, and make no sheet unless --sheet is given."""


def run(args: list[str]) -> int:
    """Prepares data, or inspects prepared data."""
    if any(meant(arg, "--inspect") for arg in args):
        asked = {"-h", "--help"} & set(args)  # also where --inspect has no DATA before it
        return inspect(parse(Inspect, sorted(asked) or args, name="prepare"))
    command = parse(command_type(), args, name="prepare")
    from rich.console import Console

    advise(f". Run the same command again to continue preparing {command.out}")
    with progress() as advance, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        card = prepare_source(progress=advance, **vars(command))
    for message in dict.fromkeys(str(warning.message) for warning in warned):
        print(f"crvae: {message}", file=sys.stderr)
    console = Console(stderr=True, highlight=False)
    console.print("\n".join(summary(card, command.out)), markup=False, soft_wrap=True)
    return 0


def summary(card: Card, out: Path) -> list[str]:
    """What was prepared and what was not, in lines."""
    counts = ", ".join(f"{split.count:,} {name}" for name, split in card.splits.items())
    ignored = unread(card.not_looked_at)
    repeated = card.files.repeated if card.files else card.duplicates.images
    lines = [f"{out}: {counts}; {len(card.skipped):,} skipped, {repeated:,} repeated, {ignored:,} not looked at"]
    lines += [f"  note: {note}" for note in card.notes]
    lines += [f"  skipped: {skipped.file} {skipped.reason}" for skipped in card.skipped[:5]]
    lines += ["  … and more, all of them in card.json"] * (len(card.skipped) > 5)
    return lines + [f"  {line}" for line in describe(card.not_looked_at)]


def inspect(command: Inspect) -> int:
    """Prints the table (or the card as JSON) on standard output, and writes the contact sheet."""
    from rich.console import Console

    from crvae.data import open_data
    from crvae.data.inspection import contact_sheet, table
    from crvae.files import PICTURES
    from crvae.outputs import check_new_file
    from crvae.pictures import save_picture

    data = open_data(command.inspect)
    local = "://" not in command.inspect and not command.json
    sheet = command.sheet or (Path(command.inspect, "contact-sheet.png") if local else None)
    if command.sheet is not None:
        check_new_file(command.sheet, "--sheet", PICTURES)
    if command.json:
        print(data.card.model_dump_json(indent=1))
    else:
        Console().print(table(data.card))
    if sheet is not None and command.sheet is None and not os.access(sheet.parent, os.W_OK):
        print(f"no contact sheet: {sheet.parent} is not open for writing. Pass --sheet FILE.png", file=sys.stderr)
    elif sheet is not None:
        save_picture(contact_sheet(data), sheet)
        print(f"contact sheet: {sheet}", file=sys.stderr)
    return 0
