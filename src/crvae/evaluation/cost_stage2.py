"""What a Stage2 recipe costs, on top of an untrained Stage1 model of the family that the recipe belongs to."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crvae.config.stage1 import ModelConfig
from crvae.config.stage2 import Stage2Config
from crvae.evaluation.cost import count_flops, random_batch
from crvae.frozen.pyramids import feature_pyramid
from crvae.models.autoencoder import Autoencoder
from crvae.recipes import RECIPES
from crvae.storage.models import save
from crvae.training.adoption import adopt
from crvae.training.fabric import Fabric
from crvae.training.perceptual import Perceptual
from crvae.training.stage2 import Stage2, UpsamplerStep
from crvae.training.step import TrainingStep


def stand_in(config: Stage2Config) -> Stage2:
    """The stage on a Stage1 model as its family's `crvae-gan-mi` recipe begins with, or the paper's where there is none.

    The perceptual network has random weights, which cost the same and need not be fetched.
    """
    family = RECIPES.get(config.recipe.split("-stage2")[0] + "-crvae-gan-mi")
    about: Any = {} if family is None else family.config.model.model_dump()
    model = ModelConfig(**(about | {"size": config.model.size, "channels": config.model.channels}))
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "model", Autoencoder(model), recipe="untrained", images=0)
        plain = config.model_copy(update={"objective": config.objective.model_copy(update={"perceptual": 0.0})})
        stage = Stage2(adopt(plain, folder), folder)
    if config.objective.perceptual:
        frozen = Perceptual(feature_pyramid(config.objective.perceptual_network, pretrained=False))
        step = UpsamplerStep(config, stage.model, stage.adversary, frozen)
        stage.sides[0] = dataclasses.replace(stage.sides[0], step=step)
    return stage


def parameters(config: Stage2Config) -> dict[str, int]:
    """Learned numbers of the upsampler and its discriminator, and of the frozen Stage1."""
    stage = stand_in(config)
    parts = {
        "upsampler": stage.model.network,
        "discriminator": stage.adversary.discriminator,
        "stage1": stage.model.stage1,
    }
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


def flops_per_image(config: Stage2Config) -> dict[str, int]:
    """`train` is one step of both sides, Stage1's reconstruction and sample included; `upsampling` small -> large, `generation`
    z -> small -> large. Counted in fp32 on the processor."""
    batch = 2
    stage = stand_in(config)
    step = TrainingStep(stage, Fabric(accelerator="cpu", devices=1))
    stored, works = random_batch(config, batch), _works(stage, batch)
    counted: dict[str, Callable[[], Any]] = {"train": lambda: step(stored, step.complete)}
    counted |= {name: torch.no_grad()(work) for name, work in works.items()}
    modules = list(stage.networks.values())
    return {name: count_flops(modules, work) // batch for name, work in counted.items()}


def upsampling(config: Stage2Config, batch: int, fabric: Fabric) -> dict[str, Callable[[], Tensor]]:
    """`upsampling` and `generation` of one batch in evaluation mode, on the fabric's device."""
    stage = stand_in(config)
    stage.model.to(fabric.device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
    return _works(stage, batch)


def _works(stage: Stage2, batch: int) -> dict[str, Callable[[], Tensor]]:
    model, stage1 = stage.model, stage.model.stage1
    small = torch.rand(batch, *stage1.image_shape, device=stage1.device) * 2 - 1
    z = torch.randn(batch, *stage1.latent_shape, device=stage1.device)
    return {"upsampling": lambda: model.network(small), "generation": lambda: model.network(stage1.decode(z))}
