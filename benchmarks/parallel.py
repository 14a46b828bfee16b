"""(g): two processes with one thread each, data-parallel, against one process with two threads.

Run by torchrun (or alone) this measures its own images/s; `measure` starts both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import torch

from benchmarks.steps import stage1
from crvae.evaluation.cost import random_batch
from crvae.training.launch import devices
from crvae.training.stage1 import Stage1
from crvae.training.step import TrainingStep


def measure(recipe: str, steps: int) -> dict[str, float]:
    """Images/s of both ways with the same global batch, and their ratio."""
    alone = ["-m", "benchmarks.parallel", recipe, str(steps)]
    paired = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *alone]
    rates = {
        "one process, two threads": _run([sys.executable, *alone], 2),
        "two processes, one thread each": _run([sys.executable, *paired], 1),
    }
    one, two = rates.values()
    return {**rates, "ratio": two / one}


def _run(command: list[str], threads: int) -> float:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main(recipe: str, steps: int) -> None:
    """Prints images/s over all ranks, on rank 0."""
    config = stage1(recipe)
    fabric, _ = devices("auto", deterministic=False)
    torch.manual_seed(0)
    step = TrainingStep(Stage1(config), fabric)
    batch = config.train.batch // fabric.world_size
    stored = random_batch(config, batch, fabric.device)
    step(stored, step.complete)
    fabric.barrier()
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step(stored, step.complete)
    fabric.barrier()
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()
    if fabric.is_global_zero:
        print(json.dumps(steps * batch * fabric.world_size / (time.perf_counter() - started)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
