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
from crvae.files import check_new_folder, new_folder, write_bytes
from crvae.outputs import check_new_file
from crvae.progress import Progress, progress, told, waiting
from crvae.storage.folders import check_run
from crvae.tasks.crz_file import HEADER

if TYPE_CHECKING:
    import torch

    from crvae.models.gaussian import DiagonalGaussian
    from crvae.models.model import Model
    from crvae.tasks.codec import Codec

CHOSEN_ON = 256
"""Images that are enough to choose steps on."""


@dataclass
class Encode:
    """Write the latents of images, the means of their posteriors, to files that `crvae decode` turns back."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, a built-in model or hub:OWNER/NAME."""
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
    """crz: the most bytes of each file; if it would take more, it has fewer blocks or coarser steps."""
    steps: int | None = None
    """Keep only the first blocks, as many time steps as this; by default all."""
    count: int = 10_000
    """The most images."""
    pixel_limit: float = 200.0
    """Image files above this many megapixels are skipped undecoded."""

    @property
    def single(self) -> bool:
        """Whether OUT is one .crz file."""
        return self.format == "crz" and self.out.suffix.lower() == ".crz"


def run(args: list[str]) -> int:
    """Writes the file."""
    command = parse(Encode, args, name="encode")
    _check(command)

    with waiting("loading"):
        import torch

        from crvae.devices import best_device
        from crvae.models.autoencoder import SAMPLE_BATCH
        from crvae.models.gaussian import DiagonalGaussian, blocks
        from crvae.models.model import steps_of
        from crvae.storage.models import load
        from crvae.tasks.latents import Latents, save_latents
        from crvae.tasks.naming import weights_name
        from crvae.tasks.profiling import posterior_of

    model = load(command.run, best_device())
    total = steps_of(model)
    if command.steps is not None and not 1 <= command.steps <= total:
        raise UserError(f"--steps must be from 1 to {total}, the model's time steps, got {command.steps}")
    with progress() as advance:
        images = images_of(
            command.images,
            model,
            option="--images",
            limit=min(command.count, 2) if command.single else command.count,
            pixel_limit=command.pixel_limit,
            progress=advance,
        )
        if command.single and len(images.names) != 1:
            raise UserError(
                f"OUT {command.out} is one file, and --images {command.images} has several images: "
                "name a new folder, or give one image"
            )
        others = _others(command, model, advance)
        parts = told(images.x.split(SAMPLE_BATCH), "encoding", len(images.x), advance)
        posteriors = [posterior_of(model, part) for part in parts]
    mean, log_variance = (torch.cat([getattr(p, name).cpu() for p in posteriors]) for name in ("mean", "log_variance"))
    if command.format == "crz":
        _crz(command, model, DiagonalGaussian(mean, log_variance, total), images.names, others)
        return 0
    kept = blocks(mean, total)[:, : command.steps]
    save_latents(Latents(kept, images.names, command.run, weights_name(model)), command.out)
    print(f"{command.out}: {counted(len(kept), 'image')}, {kept.shape[1]} of {total} blocks", file=sys.stderr)
    return 0


def _check(command: Encode) -> None:
    """Raises UserError if the options do not fit together, OUT cannot be written or RUN is not there."""
    if not 1 <= command.count <= 1_000_000:
        raise UserError(f"--count must be from 1 to 1 million, got {command.count}")
    for option in ("bytes", "data", "limit"):
        if getattr(command, option) is not None and command.format != "crz":
            raise UserError(f"--{option} goes with --format crz only")
    if command.data is not None and command.bytes is None:
        raise UserError("--data is what --bytes chooses the quantisation steps on: give --bytes")
    folder = check_run(command.run)
    if command.format == "safetensors" and command.out.suffix.lower() == ".crz":
        raise UserError(
            f"OUT {command.out} is for --format crz. Pass --format crz, or name a file that ends in .safetensors"
        )
    if command.format == "safetensors" or command.single:
        check_new_file(command.out, "OUT", (f".{command.format}",), (folder, command.images, command.data))
    else:
        check_new_folder(command.out, "OUT")
    for option in ("bytes", "limit"):
        value = getattr(command, option)
        if value is not None and value < HEADER:
            raise UserError(f"--{option} must be {HEADER} or more, the size of a file's header, got {value}")


def _others(command: Encode, model: Model, advance: Progress) -> torch.Tensor | None:
    """The images of --data, `b c h w`; None without --data."""
    if command.data is None:
        return None
    return images_of(
        command.data,
        model,
        option="--data",
        limit=CHOSEN_ON,
        pixel_limit=command.pixel_limit,
        progress=advance,
    ).x


def _crz(
    command: Encode, model: Model, posterior: DiagonalGaussian, names: list[str], others: torch.Tensor | None
) -> None:
    """Writes a file for each image: into a new folder, or if OUT is one file, that one. `others`: what --bytes is chosen on."""
    from crvae.tasks.codec import Codec

    codec = Codec(model)
    files = codec.compress(posterior, command.limit, *_chosen(command, codec, posterior, others))
    if command.single:
        write_bytes(command.out, files[0])
    else:
        with new_folder(command.out, "OUT") as folder:
            for name, data in zip(names, files, strict=True):
                write_bytes(folder / f"{name}.crz", data)
    if empty := sum(len(data) == HEADER for data in files):
        where = f"in {empty:,} of {counted(len(files), 'file')}"
        print(f"crvae: {_reason(command)} {where}: they show the average image", file=sys.stderr)
    average = sum(map(len, files)) / len(files)
    size = (
        f"{len(files[0])} bytes"
        if command.single
        else f"{counted(len(files), 'image')}, {average:.1f} bytes each on average"
    )
    print(f"{command.out}: {size}", file=sys.stderr)


def _reason(command: Encode) -> str:
    """Why files have no block: the smaller of --limit and --bytes."""
    given = [(value, name) for name, value in (("limit", command.limit), ("bytes", command.bytes)) if value is not None]
    if not given:
        return "the first block says nothing"
    value, name = min(given, key=lambda pair: pair[0])
    return f"--{name} {value} is less than the first block takes"


def _chosen(
    command: Encode, codec: Codec, posterior: DiagonalGaussian, others: torch.Tensor | None
) -> tuple[int | None, int]:
    """How many blocks, and how much coarser: for --bytes chosen on `others`, the images of --data, or on those that are encoded."""

    from crvae.data.indices import evenly
    from crvae.models.gaussian import DiagonalGaussian
    from crvae.tasks.profiling import posterior_of

    if command.bytes is None:
        return command.steps, 0
    if others is not None:
        posterior = posterior_of(codec.model, others)
    rows = evenly(len(posterior.mean), CHOSEN_ON)
    some = DiagonalGaussian(posterior.mean[rows], posterior.log_variance[rows], posterior.steps)
    with waiting("choosing steps"):
        return codec.steps_for(some, command.bytes, command.steps)
