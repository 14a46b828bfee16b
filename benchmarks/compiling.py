"""torch.compile of one step's networks: what it takes to warm up, and after how many images that has paid."""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.measuring import turns
from benchmarks.steps import stage1
from crvae.evaluation.cost import TrainingStep
from crvae.training.launch import devices


def measure(recipe: str, rounds: int) -> dict[str, Any]:
    """Images/s with and without, seconds of warm-up, and the images after which the compiled step is ahead (None: never)."""
    config = stage1(recipe)
    fabric, precision = devices("auto", deterministic=False)
    shape = (config.train.batch, config.model.channels, config.model.size, config.model.size)
    x = torch.rand(*shape, device=fabric.device) * 2 - 1
    eager, compiled = TrainingStep(config, fabric), TrainingStep(config, fabric)
    model, discriminator = compiled.stage.model, compiled.stage.discriminator
    model.encoder.compile()
    model.decoder.compile()
    if discriminator is not None:
        discriminator.features.compile()
    started = time.perf_counter()
    for _ in range(2):
        compiled(x)
    warm_up = time.perf_counter() - started
    seconds = turns({"eager": lambda: eager(x), "compiled": lambda: compiled(x)}, rounds)
    rates = {name: len(x) / time_ for name, time_ in seconds.items()}
    gained = 1 / rates["eager"] - 1 / rates["compiled"]
    pays = (warm_up - 2 * seconds["eager"]) / gained if gained > 0 else None
    return {
        "recipe": recipe,
        "precision": precision,
        "images_per_second": rates,
        "warm_up_seconds": warm_up,
        "pays_after_images": pays,
    }
