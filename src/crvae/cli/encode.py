"""`crvae encode RUN --images PATH OUT`: images to latents, as one file, or as a small .crz file for each image."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from crvae.cli.parsing import parse
from crvae.cli.reading import images_of
from crvae.counting import counted
from crvae.errors import UserError
from crvae.files import check_new_file, check_new_folder, new_folder, write_bytes
from crvae.progress import progress, told, waiting
from crvae.storage.folders import check_run

if TYPE_CHECKING:
    from crvae.models.gaussian import DiagonalGaussian
    from crvae.tasks.codec import Codec
    from crvae.tasks.traversal import Model

CHOSEN_ON = 256
"""Images that are enough to choose steps on."""


@dataclass
class Encode:
    """Write the latents of images, the means of their posteriors, to files that `crvae decode` turns back."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, or the name of a built-in model."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """The file, .safetensors; with --format crz a new folder, or for one image a file, .crz."""
    images: str
    """Prepared data (their validation images), a folder of images, or one image."""
    format: Literal["safetensors", "crz"] = "safetensors"
    """safetensors: all latents as they are, in one file; crz: a compressed file for each image, which any prefix of blocks opens."""
    bytes: int | None = None
    """crz: the most bytes of a file on average; by default as many as the finest steps take."""
    data: str | None = None
    """crz: images that --bytes chooses the steps on: prepared data (their validation images), or a folder of images; by default those
    of --images."""
    limit: int | None = None
    """crz: the most bytes of each file; where it would take more, its steps are coarser."""
    steps: int | None = None
    """Keep only the first blocks, as many time steps as this; by default all."""
    count: int = 10_000
    """The most images."""
    pixel_limit: float = 200.0
    """Image files above this many megapixels are skipped undecoded."""


def run(args: list[str]) -> int:
    """Writes the file."""
    command = parse(Encode, args, name="encode")
    if not 1 <= command.count <= 1_000_000:
        raise UserError(f"--count must be from 1 to 1 million, got {command.count}")
    for option in ("bytes", "data", "limit"):
        if getattr(command, option) is not None and command.format != "crz":
            raise UserError(f"--{option} goes with --format crz only")
    if command.data is not None and command.bytes is None:
        raise UserError("--data is what --bytes chooses the quantisation steps on: give --bytes")
    if command.format == "safetensors" or command.out.suffix.lower() == ".crz":
        check_new_file(command.out, "OUT", (f".{command.format}",))
    else:
        check_new_folder(command.out, "OUT")
    check_run(command.run)

    with waiting("loading"):
        import torch

        from crvae.devices import best_device
        from crvae.models.autoencoder import SAMPLE_BATCH
        from crvae.models.gaussian import DiagonalGaussian, blocks
        from crvae.storage.models import load
        from crvae.tasks.latents import Latents, save_latents
        from crvae.tasks.profiling import posterior_of
        from crvae.tasks.traversal import steps_of

    model = load(command.run, best_device())
    total = steps_of(model)
    if command.steps is not None and not 1 <= command.steps <= total:
        raise UserError(f"--steps must be from 1 to {total}, the model's time steps, got {command.steps}")
    with progress() as advance:
        images = images_of(
            command.images,
            model,
            option="--images",
            limit=command.count,
            pixel_limit=command.pixel_limit,
            progress=advance,
        )
        parts = told(images.x.split(SAMPLE_BATCH), "encoding", len(images.x), advance)
        posteriors = [posterior_of(model, part) for part in parts]
    mean, log_variance = (torch.cat([getattr(p, name).cpu() for p in posteriors]) for name in ("mean", "log_variance"))
    if command.format == "crz":
        _crz(command, model, DiagonalGaussian(mean, log_variance, total), images.names)
        return 0
    kept = blocks(mean, total)[:, : command.steps]
    save_latents(Latents(kept, images.names, command.run), command.out)
    print(f"{command.out}: {counted(len(kept), 'image')}, {kept.shape[1]} of {total} blocks", file=sys.stderr)
    return 0


def _crz(command: Encode, model: Model, posterior: DiagonalGaussian, names: list[str]) -> None:
    """Writes a file for each image: into a new folder, or where OUT is one file, that one."""
    from crvae.tasks.codec import Codec
    from crvae.tasks.crz_file import HEADER

    single = command.out.suffix.lower() == ".crz"
    if single and len(names) != 1:
        raise UserError(
            f"OUT {command.out} is one file for {len(names):,} images: name a new folder, or give one image"
        )
    codec = Codec(model)
    files = codec.compress(posterior, command.limit, command.steps, _coarser(command, codec, posterior))
    if single:
        write_bytes(command.out, files[0])
    else:
        with new_folder(command.out, "OUT") as folder:
            for name, data in zip(names, files, strict=True):
                write_bytes(folder / f"{name}.crz", data)
    if empty := sum(len(data) == HEADER for data in files):
        print(
            f"crvae: --limit {command.limit} is less than the first block takes in {empty:,} of"
            f" {counted(len(files), 'file')}: they show the average image",
            file=sys.stderr,
        )
    average = sum(map(len, files)) / len(files)
    size = (
        f"{len(files[0])} bytes" if single else f"{counted(len(files), 'image')}, {average:.1f} bytes each on average"
    )
    print(f"{command.out}: {size}", file=sys.stderr)


def _coarser(command: Encode, codec: Codec, posterior: DiagonalGaussian) -> int:
    """The steps for --bytes, chosen on images of --data, or on those that are encoded."""
    import torch

    from crvae.models.gaussian import DiagonalGaussian
    from crvae.tasks.profiling import posterior_of

    if command.bytes is None:
        return 0
    if command.data is not None:
        with progress() as advance:
            images = images_of(
                command.data,
                codec.model,
                option="--data",
                limit=CHOSEN_ON,
                pixel_limit=command.pixel_limit,
                progress=advance,
            )
        posterior = posterior_of(codec.model, images.x)
    count = len(posterior.mean)
    rows = torch.linspace(0, count - 1, min(count, CHOSEN_ON)).long()
    some = DiagonalGaussian(posterior.mean[rows], posterior.log_variance[rows], posterior.steps)
    with waiting("choosing steps"):
        return codec.steps_for(some, command.bytes)
