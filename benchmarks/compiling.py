"""torch.compile of one step's networks: what it takes to warm up, and after how many images that has paid."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from benchmarks.measuring import turns
from benchmarks.steps import stage1
from crvae.evaluation.cost import random_batch
from crvae.training.launch import devices
from crvae.training.stage1 import Stage1
from crvae.training.step import TrainingStep


def measure(recipe: str, rounds: int) -> dict[str, Any]:
    """Images/s with and without, seconds of warm-up, and the images after which the compiled step is ahead (None: never)."""
    config = stage1(recipe)
    fabric, precision = devices("auto", deterministic=False)
    stored = random_batch(config, config.train.batch, fabric.device)
    stage = Stage1(config)
    eager, compiled = TrainingStep(Stage1(config), fabric), TrainingStep(stage, fabric)
    stage.model.encoder.compile()
    stage.model.decoder.compile()
    if stage.adversary is not None:
        stage.adversary.discriminator.features.compile()
    started = time.perf_counter()
    for _ in range(2):
        compiled(stored, compiled.complete)
    warm_up = time.perf_counter() - started
    both = {"eager": eager, "compiled": compiled}
    seconds = turns({name: partial(step, stored, step.complete) for name, step in both.items()}, rounds)
    rates = {name: config.train.batch / time_ for name, time_ in seconds.items()}
    gained = 1 / rates["eager"] - 1 / rates["compiled"]
    pays = (warm_up - 2 * seconds["eager"]) / gained if gained > 0 else None
    return {
        "recipe": recipe,
        "precision": precision,
        "images_per_second": rates,
        "warm_up_seconds": warm_up,
        "pays_after_images": pays,
    }
