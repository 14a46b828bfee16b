"""What a Stage2 training step costs, on top of a Stage1 model: parameters, FLOPs, images/s, memory.

    python benchmarks/stage2_cost.py emoji-stage2-128 --stage1 RUN

Prints one JSON document. `images_per_core_second` counts processor time over all threads, so other work on the machine
hardly counts; `images_per_second` is by the clock, and means something on an idle machine only.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from crvae.config.stage2 import Stage2Config
from crvae.devices import device_name
from crvae.recipes import RECIPES
from crvae.training.adoption import adopt
from crvae.training.launch import devices
from crvae.training.stage2 import Stage2
from crvae.training.step import TrainingStep

STEPS = 6


def measure(config: Stage2Config, stage1: str) -> dict:
    fabric, precision = devices(config.train.precision, deterministic=False)
    config = adopt(config, stage1)
    torch.manual_seed(0)
    stage = Stage2(config, stage1)
    training = TrainingStep(stage, fabric)
    model, batch = config.model, config.train.batch
    stored = tuple(
        torch.randint(0, 256, (batch, model.channels, size, size), dtype=torch.uint8, device=fabric.device)
        for size in (model.size, model.output_size)
    )

    def step() -> None:
        training(stored, training.complete)

    step()
    wall, core = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        step()
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()
    wall, core = time.perf_counter() - wall, time.process_time() - core
    with FlopCounterMode(display=False) as flops:
        stage.averaged.network(torch.zeros(1, model.channels, model.size, model.size, device=fabric.device))
    on_gpu = fabric.device.type == "cuda"
    return {
        "recipe": config.recipe,
        "parameters": {
            "upsampler": sum(p.numel() for p in stage.model.network.parameters()),
            "discriminator": sum(p.numel() for p in stage.adversary.discriminator.parameters()),
            "stage1": sum(p.numel() for p in stage.model.stage1.parameters()),
        },
        "flops_per_upsampled_image": flops.get_total_flops(),
        "batch": batch,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "images_per_second": round(STEPS * batch / wall, 1),
        "images_per_core_second": round(STEPS * batch / core, 1),
        "peak_memory_bytes": torch.cuda.max_memory_allocated()
        if on_gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "device": device_name(fabric.device),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What a Stage2 training step costs.")
    parser.add_argument("recipe", choices=[name for name, recipe in RECIPES.items() if recipe.config.stage == 2])
    parser.add_argument("--stage1", required=True, help="run or folder of a Stage1 model")
    parser.add_argument("--batch", type=int, help="another batch than the recipe's")
    options = parser.parse_args()
    config = RECIPES[options.recipe].config
    assert isinstance(config, Stage2Config)
    if options.batch:
        config = config.model_copy(update={"train": config.train.model_copy(update={"batch": options.batch})})
    print(json.dumps(measure(config, options.stage1), indent=2))


if __name__ == "__main__":
    main()
