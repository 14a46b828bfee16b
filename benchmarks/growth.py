"""(c), (d) and (f): latency and memory, crVAE against VAE, and how a step grows with the model and the batch."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.measuring import turns
from benchmarks.steps import DENSE, RECURRENT, stage1
from crvae.evaluation.cost import BATCHES, peak_memory, prepared, random_batch, works
from crvae.training.launch import devices
from crvae.training.stage1 import Stage1, build
from crvae.training.step import TrainingStep

SMALL = "emoji-crvae-gan-mi"


def latency(rounds: int, precisions: tuple[str, ...] = ("bf16", "fp32")) -> dict[str, Any]:
    """Milliseconds a batch at base width 32 for both models in turns, and their ratio."""
    result: dict[str, Any] = {}
    models = {name: build(stage1(name))[0] for name in (RECURRENT, DENSE)}
    for precision in precisions:
        fabric, _ = devices(precision, deterministic=False)
        for batch in BATCHES:
            for kind in ("inference", "generation"):
                with torch.no_grad(), fabric.autocast():
                    calls = {name: works(prepared(model, fabric), batch)[kind] for name, model in models.items()}
                    seconds = turns(calls, rounds * (5 if batch == 1 else 2))
                crvae, vae = seconds[RECURRENT], seconds[DENSE]
                result[f"{kind} {precision} batch {batch}"] = {
                    "crvae_ms": 1e3 * crvae,
                    "vae_ms": 1e3 * vae,
                    "ratio": crvae / vae,
                }
    return result


def memory() -> dict[str, Any]:
    """Peak bytes of training at base width 32, batch 128, each in a process of its own."""
    peaks = {name: peak_memory(stage1(name)) for name in (RECURRENT, DENSE)}
    crvae, vae = peaks[RECURRENT], peaks[DENSE]
    return {"bytes": peaks, "ratio": None if crvae is None or vae is None else crvae / vae}


def growth(rounds: int) -> dict[str, dict[str, float]]:
    """Images/s of the small recipe's step, one thing changed at a time."""
    result: dict[str, dict[str, float]] = {}
    fabric, _ = devices("auto", deterministic=False)
    changes = {
        "steps": [{"steps": t} for t in (1, 2, 4, 8, 16, 64)],
        "width": [{"width": b} for b in (4, 8, 16, 32)],
        "size": [{"size": s} for s in (32, 64, 128)],
    }
    for what, variants in changes.items():
        result[what] = {}
        for model in variants:
            result[what][str(model[what])] = _rate(model, 64, rounds, fabric)
    result["batch"] = {str(batch): _rate({}, batch, rounds, fabric) for batch in (16, 32, 64, 128)}
    return result


def _rate(model: dict[str, int], batch: int, rounds: int, fabric: Any) -> float:
    config = stage1(SMALL, **model)
    step = TrainingStep(Stage1(config), fabric)
    stored = random_batch(config, batch, fabric.device)
    return batch / turns({"step": lambda: step(stored, step.complete)}, rounds)["step"]
