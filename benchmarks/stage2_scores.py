"""Stage2 against bicubic enlargement of the same Stage1 images: KID and mesh of samples, distances of reconstructions, a picture.

    python benchmarks/stage2_scores.py RUN2... --data DATA --out picture.png

Every RUN2 on the same Stage1 is held against the same bicubic images, at the size of the large images of DATA (validation
images). Prints one JSON document. The picture's rows: Stage1's samples enlarged, each run's; originals, Stage1's
reconstructions enlarged, each run's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from crvae.data import open_data
from crvae.devices import best_device
from crvae.evaluation.distance import PerceptualDistance
from crvae.evaluation.features import feature_extractor, spaced
from crvae.evaluation.image_scores import kid
from crvae.intervals import mean
from crvae.pictures import from_8_bit, save_grid, to_8_bit
from crvae.tasks.upscaling import load_upsampler

COLUMNS = 5
FEATURES = "efficientnet-lite0"


def inside_2x2(images: Tensor) -> float:
    """Energy of 8-bit images `b c h w` inside their cells of 2x2 pixels, mean square in [-1, 1]: a mesh raises it tenfold."""
    x = from_8_bit(images)
    return (x - F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)).square().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description="Stage2 against bicubic enlargement of the same Stage1 images.")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=0, help="of samples and originals; 0: as many as there are")
    options = parser.parse_args()

    device = best_device()
    models = {run: load_upsampler(run, device) for run in options.runs}
    first = next(iter(models.values()))
    small, large = first.input_shape[-1], first.image_shape[-1]
    split = open_data(options.data).split("validation")
    count = min(options.images or len(split), len(split))
    rows = spaced(len(split), count)
    x, originals = from_8_bit(split.images(rows, size=small)).to(device), split.images(rows, size=large)

    def bicubic(images: Tensor) -> Tensor:
        return F.interpolate(images, size=(large, large), mode="bicubic").clamp(-1, 1)

    def batches(work, images: Tensor) -> Tensor:
        return torch.cat([to_8_bit(work(part)) for part in images.split(32)])

    stage1 = first.stage1
    samples = stage1.sample(count, seed=0)
    reconstructions = torch.cat([stage1.reconstruct(part) for part in x.split(32)])
    methods = {"bicubic": bicubic} | {run: model.upscale for run, model in models.items()}
    extractor, distance = feature_extractor(FEATURES, device), PerceptualDistance(device)
    real = extractor.of_real(split, large, count)
    about = {"features": extractor.name, "features_sha256": extractor.sha256, "resizer": extractor.resizer}
    result, above, below = {}, [], [from_8_bit(originals[:COLUMNS])]
    for name, work in methods.items():
        fake, rebuilt = batches(work, samples), batches(work, reconstructions)
        squared = (from_8_bit(rebuilt) - from_8_bit(originals)).square().flatten(1).mean(1)
        result[name] = {
            "kid": kid(real, extractor(fake), 0, **about).json(),
            "inside_2x2": inside_2x2(fake),
            "reconstruction_distance": mean(distance(rebuilt, originals)),
            "reconstruction_error": mean(squared),
        }
        above.append(from_8_bit(fake[:COLUMNS]))
        below.append(from_8_bit(rebuilt[:COLUMNS]))
    save_grid(torch.cat([*above, *below]), options.out, COLUMNS)
    print(
        json.dumps(
            {
                "data": options.data,
                "images": count,
                "size": large,
                "inside_2x2_of_originals": inside_2x2(originals),
                "methods": result,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
