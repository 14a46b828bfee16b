"""`crvae export RUN OUT`: a folder, or a hub model, that `crvae.load` and others open."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.files import check_new_folder
from crvae.progress import progress, waiting
from crvae.storage.folders import check_run


@dataclass
class Export:
    """Write a model as a folder with its card, and share it."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, a built-in model's name, or hub:OWNER/NAME."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """New folder."""
    format: str = "safetensors"
    """safetensors, onnx, or both separated by a comma."""
    discriminator: bool = False
    """Include the discriminator of a Stage1 model: image completion uses it."""
    data: str = ""
    """Where the run's dataset is now, if not where it was: its card goes into the model's."""
    scores: tuple[Path, ...] = ()
    """Files of what `crvae evaluate --json` printed, for the card."""
    licence: str = ""
    """Licence of the weights, as the hub abbreviates it, such as mit or apache-2.0."""
    half: bool = False
    """Store weights as 16-bit floats: files of half the size, and images that differ by a rounding."""
    push: str = ""
    """Upload the folder to the hub, as OWNER/NAME."""


def run(args: list[str]) -> int:
    """Exports, and uploads where asked."""
    command = parse(Export, args, name="export")
    check_new_folder(command.out, "OUT")
    check_run(command.run)

    with waiting("loading"):
        from crvae.export.export import Request, export
        from crvae.export.publishing import opening, push
        from crvae.storage.hub import check_repository

    if command.push:
        check_repository(command.push, "--push")
    formats = tuple(name.strip() for name in command.format.split(",") if name.strip())
    request = Request(formats, command.discriminator, command.data, command.scores, command.licence, command.half)
    with progress() as advance:
        export(command.run, command.out, request, advance)
    print(f"{command.out}: {', '.join(sorted(file.name for file in command.out.iterdir()))}", file=sys.stderr)
    if not command.push:
        return 0
    try:
        with waiting(f"uploading {command.push}"):
            address = push(command.out, command.push)
    except KeyboardInterrupt as stop:
        print(f"crvae: the upload was interrupted; {command.out} is whole: upload that folder", file=sys.stderr)
        return getattr(stop, "code", 130)
    print(f"{address}: {opening(command.out, command.push)}", file=sys.stderr)
    return 0
