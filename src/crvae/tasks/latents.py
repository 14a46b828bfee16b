"""Latents as files: what `crvae encode` writes and `crvae decode` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from crvae.config.base import FORMAT
from crvae.errors import UserError
from crvae.files import write_bytes
from crvae.models.gaussian import blocks
from crvae.models.model import Model, stage1_of, steps_of
from crvae.storage.folders import check_run
from crvae.tasks.naming import weights_name

VALUES = 1 << 30
"""Files of more latent values are refused."""


@dataclass(frozen=True)
class Latents:
    """The first blocks of images' latents, the names of these images, and the model that they belong to."""

    blocks: Float[Tensor, "b t k"]
    names: list[str]
    recorded: str
    """The run that made them, as it was typed."""
    model: str = ""
    """`weights_name` of the model that made them. Files written before this was recorded have none."""

    @property
    def run(self) -> str:
        """The run that made them. Raises UserError, naming --run, if there is no model at that place any more."""
        if not self.recorded:
            raise UserError("the latents do not say which run made them: give it with --run")
        try:
            check_run(self.recorded)
        except UserError:
            raise UserError(
                f"the run that made the latents, {self.recorded}, is not there any more: give its new place with --run"
            ) from None
        return self.recorded

    def z(self, model: Model, steps: int | None = None) -> Float[Tensor, " b *d"]:
        """Whole latents: of the blocks that are there the first `steps`, from 0, the rest at the prior's mean.

        Raises UserError if another model made them, or `steps` are more than there are.
        """
        shape, total = stage1_of(model).latent_shape, steps_of(model)
        count, there, values = self.blocks.shape
        if there > total or values != blocks(torch.empty(1, *shape), total).shape[2]:
            raise UserError(f"the latents have blocks of {values} values, which the model of --run does not")
        if self.model and self.model != (name := weights_name(model)):
            raise UserError(
                f"the latents were made by model {self.model}, the run is model {name}, another one or trained further: "
                "give the run that made them with --run, or encode the images again"
            )
        if steps is not None and not 0 <= steps <= there:
            raise UserError(f"--steps must be from 0 to {there}, the blocks in the file, got {steps}")
        z = torch.zeros(count, total, values)
        z[:, :there] = self.blocks
        prior = model.prior
        return prior.mean_fill(z.view(count, *shape).to(prior.device), there if steps is None else steps).cpu()


def save_latents(latents: Latents, path: Path) -> None:
    """Writes safetensors with the names, the run and its model in the metadata, whole or not at all."""
    about = {"format": str(FORMAT), "run": latents.recorded, "names": json.dumps(latents.names)}
    about |= {"model": latents.model} if latents.model else {}
    write_bytes(path, serialised({"blocks": latents.blocks.contiguous()}, about))


def load_latents(path: Path) -> Latents:
    """Reads what `save_latents` wrote. Raises UserError for anything else."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if about.get("format") != str(FORMAT) or list(file.keys()) != ["blocks"]:
                raise UserError(f"{path} is not a file of latents of this format: make it with `crvae encode`")
            shape = file.get_slice("blocks").get_shape()
            names = json.loads(about["names"])
            fits = isinstance(names, list) and all(isinstance(name, str) for name in names)
            if not fits or len(shape) != 3 or shape[0] != len(names) or shape[0] * shape[1] * shape[2] > VALUES:
                raise UserError(f"{path} is damaged: make it again with `crvae encode`")
            tensor = file.get_tensor("blocks")
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise UserError(
            f"{path} {'does not exist' if missing else 'is not a file of latents'}: make it with `crvae encode`"
        ) from None
    if tensor.dtype != torch.float32 or not tensor.isfinite().all():
        raise UserError(f"{path} is damaged: make it again with `crvae encode`")
    return Latents(tensor, names, about.get("run", ""), about.get("model", ""))
