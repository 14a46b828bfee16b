"""`python -m crvae.evaluation.peak < config.json`: peak bytes of two training steps above the level after import.

A process of its own, since memory that a process once had does not go away. On a GPU the device's memory is meant.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from crvae.config.stage1 import Stage1Config
from crvae.config.stage2 import Stage2Config
from crvae.evaluation.cost import Config, random_batch
from crvae.training.launch import devices
from crvae.training.stage1 import Stage1
from crvae.training.step import TrainingStep


def resident(name: str) -> int | None:
    """`VmRSS` (bytes resident now) or `VmHWM` (the most so far) of this process; None where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def peak(config: Config) -> int | None:
    """Bytes; see the module."""
    fabric, _ = devices(config.train.precision, deterministic=False)
    before = resident("VmRSS")
    if isinstance(config, Stage2Config):
        from crvae.evaluation.cost_stage2 import stand_in

        step = TrainingStep(stand_in(config), fabric)
    else:
        step = TrainingStep(Stage1(config), fabric)
    stored = random_batch(config, config.train.batch, fabric.device)
    for _ in range(2):  # the optimisers' moments appear in the first
        step(stored, step.complete)
    if fabric.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    after = resident("VmHWM")
    return None if before is None or after is None else after - before


if __name__ == "__main__":
    body = json.load(sys.stdin)
    print(json.dumps(peak((Stage2Config if body["stage"] == 2 else Stage1Config).model_validate(body))))
