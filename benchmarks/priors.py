"""What a learned prior adds to a sample: `python -m benchmarks.priors [RECIPE ...] [--rounds 15]`.

Draws and decodes 16 and 128 samples from N(0, I), the autoregressive prior and the flow in turns, and prints medians of
processor time. The priors are not fitted, which changes no cost.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from benchmarks.steps import stage1
from crvae.config.prior import PriorConfig
from crvae.devices import best_device, device_name
from crvae.models.autoencoder import Autoencoder
from crvae.models.prior import Prior
from crvae.models.priors import build_prior, prior_config
from crvae.training.stage1 import build

KINDS = ("normal", "autoregressive", "flow")


def measure(recipe: str, rounds: int) -> dict[int, dict[str, float]]:
    """Batch size -> seconds of processor time for one batch of samples, by kind of prior."""
    config = stage1(recipe)
    model = build(config)[0].eval().to(best_device())
    priors = {
        kind: build_prior(prior_config(PriorConfig(kind=kind)), model.latent_shape, config.model.steps)  # type: ignore[arg-type]
        .eval()
        .to(best_device())
        for kind in KINDS
    }
    return {
        batch: {kind: _seconds(model, prior, batch, rounds) for kind, prior in priors.items()} for batch in (16, 128)
    }


@torch.no_grad()
def _seconds(model: Autoencoder, prior: Prior, batch: int, rounds: int) -> float:
    spent = []
    for seed in range(rounds + 1):
        started = time.process_time()
        model.decode(prior.sample(batch, seed))
        spent.append(time.process_time() - started)
    return statistics.median(spent[1:])  # the first warms up


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="what a learned prior adds to a sample")
    parser.add_argument("recipes", nargs="*", default=["fast-crvae-gan-mi", "mnist-crvae"])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"{device_name(best_device())}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(
        f"| recipe | batch | N(0, I), ms | {' | '.join(f'{kind}, times' for kind in KINDS[1:])} |\n|---|---:|---:|---:|---:|"
    )
    for recipe in options.recipes:
        for batch, spent in measure(recipe, options.rounds).items():
            ratios = " | ".join(f"{spent[kind] / spent['normal']:.2f}" for kind in KINDS[1:])
            print(f"| {recipe} | {batch} | {1e3 * spent['normal']:.1f} | {ratios} |")


if __name__ == "__main__":
    main()
