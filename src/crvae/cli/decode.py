"""`crvae decode FILE`: what `crvae encode` wrote back to images."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.counting import counted
from crvae.errors import UserError, reason
from crvae.files import check_new_folder, new_folder
from crvae.progress import progress, told, waiting
from crvae.storage.folders import check_run

if TYPE_CHECKING:
    from crvae.models.model import Model


@dataclass
class Decode:
    """Turn what `crvae encode` wrote back into images, one PNG each."""

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    """A .safetensors file of latents, a .crz file, or a folder of .crz files."""
    out: Path | None = None
    """New folder. By default the file's name without its ending. For a folder, or a file without an ending, its name with -decoded
    at its end."""
    run: str = ""
    """The model. Latents need it only if it is no longer where it was when they were made, .crz files if it is not built in."""
    steps: int | None = None
    """Use only the first blocks, as many time steps as this, from 0; by default all that are in the file."""
    fill: bool = False
    """crz: draw the blocks that are missing from the prior, given those that are there, in place of its mean."""


def run(args: list[str]) -> int:
    """Writes the images."""
    command = parse(Decode, args, name="decode")
    if not command.file.exists():
        wanted = " --format crz" if command.file.suffix.lower() == ".crz" else ""
        raise UserError(f"{command.file} does not exist: make it with `crvae encode{wanted}`")
    out = command.out or _default_out(command.file)
    check_new_folder(out)
    if command.run:
        check_run(command.run)
    if command.file.is_dir() or command.file.suffix.lower() == ".crz":
        return _crz(command, out)
    if command.fill:
        raise UserError("--fill goes with .crz files only")

    with waiting("loading"):
        import torch

        from crvae.devices import best_device
        from crvae.models.autoencoder import SAMPLE_BATCH
        from crvae.pictures import save_image, to_8_bit
        from crvae.storage.models import load
        from crvae.tasks.inputs import distinct
        from crvae.tasks.latents import load_latents
        from crvae.tasks.traversal import decode_all

    latents = load_latents(command.file)
    model = load(command.run or latents.run, best_device())
    z = latents.z(model, command.steps).to(model.device)
    with progress() as advance, new_folder(out) as folder:
        parts = told(z.split(SAMPLE_BATCH), "decoding", len(z), advance)
        images = torch.cat([decode_all(model, part) for part in parts])
        for name, image in zip(distinct(latents.names), to_8_bit(images), strict=True):
            save_image(image, folder / f"{name}.png")
    print(f"{out}: {counted(len(images), 'image')}", file=sys.stderr)
    return 0


def _default_out(file: Path) -> Path:
    """Where the images go without --out: never `file` itself. Raises UserError if it is the root of the file system."""
    folder = file.is_dir()
    if not folder and file.suffix:
        return file.with_suffix("")
    whole = file.resolve()
    if not whole.name:
        raise UserError(f"--out is missing: the folder {file} has no name to make one from")
    place = whole if file.name in ("", "..") else file
    return place.with_name(f"{whole.name if folder else file.name}-decoded")


def _crz(command: Decode, out: Path) -> int:
    """Writes the image of every .crz file, each decoded alone."""
    with waiting("loading"):
        from crvae.models.model import steps_of
        from crvae.pictures import save_image, to_8_bit
        from crvae.tasks.codec import Codec
        from crvae.tasks.inputs import distinct

    files = sorted(command.file.glob("*.crz")) if command.file.is_dir() else [command.file]
    if not files:
        raise UserError(f"{command.file} holds no .crz files: give the folder that `crvae encode --format crz` wrote")
    model = _maker(command.run, files[0])
    if command.steps is not None and not 0 <= command.steps <= steps_of(model):
        raise UserError(f"--steps must be from 0 to {steps_of(model)}, the model's time steps, got {command.steps}")
    codec = Codec(model)
    with progress() as advance, new_folder(out) as folder:
        parts = told([[file] for file in files], "decoding", len(files), advance)
        for (file,), name in zip(parts, distinct([file.stem for file in files]), strict=True):
            image = codec.image(_content(file), str(file), command.steps, command.fill)
            save_image(to_8_bit(image[None])[0], folder / f"{name}.png")
    print(f"{out}: {counted(len(files), 'image')}", file=sys.stderr)
    return 0


def _maker(run: str, file: Path) -> Model:
    """The model of `run`, or without one the built-in model that `file` names by its hash."""
    from crvae.devices import best_device
    from crvae.storage.folders import built_in
    from crvae.storage.models import load
    from crvae.tasks.crz_file import unpack
    from crvae.tasks.naming import model_name

    if run:
        return load(run, best_device())
    wanted = unpack(_content(file), str(file), 0).model
    for name in built_in():
        model = load(name, best_device())
        if model_name(model) == wanted:
            return model
    raise UserError(
        f"{file} was made by model {wanted.hex()}, which is not built in: give the run that made it with --run"
    )


def _content(file: Path) -> bytes:
    """At most LARGEST bytes: whatever is longer is refused by its first ones, or by its length."""
    from crvae.tasks.crz_file import LARGEST

    try:
        if file.stat().st_size > LARGEST:
            raise UserError(f"{file} is larger than any .crz file: make one with `crvae encode --format crz`")
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {reason(error)}") from None
