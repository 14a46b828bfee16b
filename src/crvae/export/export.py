"""A model as a folder that `crvae.load` and others open: weights, configuration, ONNX graphs, samples, card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crvae.data import PreparedData
from crvae.errors import UserError
from crvae.export.card import model_card
from crvae.export.onnx import require_onnx, write_graphs
from crvae.export.provenance import Provenance, provenance
from crvae.files import new_folder, write_text
from crvae.models.model import Model, stage1_of
from crvae.models.upsampler import Upsampler
from crvae.pictures import from_8_bit, save_grid
from crvae.progress import Progress, silent
from crvae.storage.models import load, load_discriminator, save, save_upsampler

FORMATS = ("safetensors", "onnx")

CHECKED_IMAGES = 32
"""Images on which a graph is compared with the model."""


@dataclass(frozen=True)
class Request:
    """What is exported, and what the card is told."""

    formats: tuple[str, ...] = ("safetensors",)
    """Of FORMATS."""
    discriminator: bool = False
    data: str = ""
    scores: tuple[Path, ...] = ()
    licence: str = ""
    half: bool = False
    """Whether weights are stored as 16-bit floats."""


def export(run: str, out: Path, request: Request, progress: Progress = silent) -> None:
    """Writes the model of `run` to the new folder `out`, whole or not at all.

    Raises UserError if there is no such model, `out` exists, a format is unknown, or an ONNX graph differs from the model.
    """
    if not request.formats or set(request.formats) - set(FORMATS):
        raise UserError(
            f"--format must be among {', '.join(FORMATS)}, separated by commas, got {','.join(request.formats)!r}"
        )
    if "onnx" in request.formats:
        require_onnx()
    if request.discriminator and "safetensors" not in request.formats:
        raise UserError("--discriminator goes with --format safetensors: the discriminator has no ONNX graph")
    model = load(run)
    if request.half:
        _round(model)
    about = provenance(run, data=request.data, scores=request.scores)
    if request.discriminator and isinstance(model, Upsampler):
        raise UserError("--discriminator is for Stage1 models: no task uses that of Stage2")
    discriminator = load_discriminator(run) if request.discriminator else None
    with new_folder(out, "OUT") as folder:
        if "safetensors" in request.formats:
            progress("weights", 0, 1)
            if isinstance(model, Upsampler):
                save_upsampler(folder, model, recipe=about.recipe, images=about.images, half=request.half)
            else:
                about_it = {"recipe": about.recipe, "images": about.images, "half": request.half}
                save(folder, model, discriminator=discriminator, **about_it)
            progress("weights", 1, 1)
        graphs = []
        if "onnx" in request.formats:
            graphs = write_graphs(model, folder, _images(model, about), progress)
        count = 64 if model.image_shape[-1] <= 64 else 16
        progress("samples", 0, count)
        save_grid(model.sample(count, seed=0), folder / "samples.png", columns=round(count**0.5))
        progress("samples", count, count)
        card = model_card(
            out.resolve().name,
            model,
            about,
            licence=request.licence,
            graphs=graphs,
            threads=torch.get_num_threads(),
            discriminator=discriminator,
            weights="safetensors" in request.formats,
        )
        write_text(folder / "README.md", card)


def _images(model: Model, about: Provenance) -> Float[Tensor, "b c h w"]:
    """Images of Stage1's size to compare graphs on: held-out ones of the dataset where it is at hand, else samples."""
    stage1 = stage1_of(model)
    channels, size, _ = stage1.image_shape
    if about.data is not None and about.data.card.channels == channels and size in about.data.card.sizes:
        return _held_out(about.data, size)
    return stage1.sample(CHECKED_IMAGES, seed=1)


def _held_out(data: PreparedData, size: int) -> Float[Tensor, "b c h w"]:
    split = data.split(next(name for name in ("validation", "test", *data.card.splits) if name in data.card.splits))
    return from_8_bit(split.images(range(min(CHECKED_IMAGES, len(split))), size=size))


def _round(model: nn.Module) -> None:
    """Makes the weights what 16-bit floats hold, in place, so that graphs and samples are those of the stored model.

    Raises UserError if a value is too large for them.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            rounded = tensor.half()
            if not rounded.isfinite().all():
                raise UserError(f"--half: {name} holds values above 65,504: export without it")
            tensor.copy_(rounded)
