"""What the decoder's batch statistics are worth in nats: the same weights with those of posteriors, and of posteriors and samples.

    python -m benchmarks.batch_statistics RUN [RUN ...] --data data/mnist28 [--images 500] [--samples 50]

For models with a Bernoulli likelihood, as `make mnist` and `make mnist-priors` train them. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json

import torch

from crvae.binarisation import binarised
from crvae.data import open_data
from crvae.evaluation.features import spaced
from crvae.evaluation.likelihood import likelihood_scores
from crvae.pictures import from_8_bit
from crvae.storage.models import load
from crvae.training.averaging import recalibrate
from crvae.training.images import calibration
from crvae.training.stage1 import CALIBRATION_IMAGES

BATCH = 128


def measure(run: str, data: str, images: int, samples: int) -> dict[str, dict[str, float]]:
    """ELBO and negative log-likelihood under N(0, I), in nats an image, with each kind of statistics."""
    model = load(run, prior="normal")
    if getattr(model.config, "likelihood", "") != "bernoulli":  # Stage2 has none
        raise SystemExit(f"{run} has no Bernoulli likelihood; name a run of an mnist recipe")
    prepared, size = open_data(data), model.config.size
    test = prepared.split("test")
    x = from_8_bit(test.images(spaced(len(test), images), size=size))
    result = {}
    for name, mixed in (("posteriors", False), ("posteriors and samples", True)):
        stored = calibration(prepared, BATCH, (size,), model.device, CALIBRATION_IMAGES)
        batches = (binarised(from_8_bit(batch[0]), seed) for seed, batch in enumerate(stored))
        recalibrate(model, batches, samples=mixed)
        scores = likelihood_scores(model, x, samples=samples, seed=0)
        result[name] = {key: round(score.value, 2) for key, score in scores.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_statistics")
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--data", default="data/mnist28", help="prepared digits, as the runs were trained on")
    parser.add_argument("--images", type=int, default=500, help="of the test split")
    parser.add_argument("--samples", type=int, default=50, help="importance samples of the likelihood")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = {run: measure(run, options.data, options.images, options.samples) for run in options.runs}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
