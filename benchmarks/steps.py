"""(a) and (b): one training step against the straightforward port and against pythae, and how much of the machine it uses."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring import ceiling, default_allocation, shares, turns
from benchmarks.port import Port
from crvae.config.stage1 import Stage1Config
from crvae.evaluation.cost import count_flops, flops_per_image, random_batch
from crvae.pictures import from_8_bit
from crvae.recipes import RECIPES
from crvae.training.launch import devices
from crvae.training.recording import WARM_UP
from crvae.training.stage1 import Stage1
from crvae.training.step import TrainingStep

RECURRENT, DENSE = "birds-crvae-gan-mi", "birds-vae-gan"
PYTHAE = importlib.util.find_spec("pythae") is not None and importlib.util.find_spec("cloudpickle") is not None


def stage1(recipe: str, **model: Any) -> Stage1Config:
    """A recipe's configuration with other values of its model."""
    config = RECIPES[recipe].config
    assert isinstance(config, Stage1Config)
    body = config.model_dump()
    return Stage1Config.model_validate(body | {"model": body["model"] | model})


def measure(batch: int, rounds: int, width: int = 32, precisions: tuple[str, ...] = ("bf16", "fp32")) -> dict[str, Any]:
    """Images/s and operations of every contestant, the machine's ceilings, and where our step's time goes."""
    recurrent, dense = stage1(RECURRENT, width=width), stage1(DENSE, width=width)
    device = devices("fp32", deterministic=False)[0].device
    stored = random_batch(recurrent, batch, device)
    x = from_8_bit(stored[0])
    contestants: dict[str, Callable[[], object]] = {}
    flops: dict[str, float] = {}

    def joint(config: Stage1Config, precision: str) -> Callable[[], object]:
        fabric, _ = devices(precision, deterministic=False)
        step = TrainingStep(Stage1(config), fabric)
        for _ in range(WARM_UP if device.type == "cuda" else 0):
            step(stored, step.complete)
        return lambda: step(stored, step.complete)

    for precision in precisions:
        contestants[f"crvae {RECURRENT} {precision}"] = joint(recurrent, precision)
    contestants[f"crvae {DENSE} {precisions[0]}"] = joint(dense, precisions[0])
    for name in contestants:
        flops[name] = flops_per_image(recurrent if RECURRENT in name else dense)["train"]

    def other(name: str, step: Callable[[Tensor], None], modules: list) -> None:
        def run() -> None:
            with default_allocation():
                step(x)

        flops[name] = count_flops(modules, lambda: step(x[:4])) / 4
        contestants[name] = run

    port = Port(width, device)
    other("straightforward port fp32", port, list(port.nets.values()))
    if PYTHAE:
        from benchmarks.peer import Peer

        peer = Peer(dense)
        peer.model.to(device)
        other("pythae VAEGAN fp32", peer, [peer.model])
    seconds = turns(contestants, rounds)
    first = next(iter(contestants))
    return {
        "batch": batch,
        "width": width,
        "images_per_second": {name: batch / time for name, time in seconds.items()},
        "gflop_per_image": {name: count / 1e9 for name, count in flops.items()},
        "gflop_per_second": {name: flops[name] * batch / time / 1e9 for name, time in seconds.items()},
        "ceiling_gflop_per_second": {p: ceiling(getattr(torch, t), device) / 1e9 for p, t in DTYPES.items()},
        "profile": shares(contestants[first]),
        "skipped": []
        if PYTHAE
        else ["pythae is not installed: pip install cloudpickle && pip install --no-deps pythae==0.1.2"],
    }


DTYPES = {"bf16": "bfloat16", "fp32": "float32"}
