"""Are a model's samples copies of training images? `python -m benchmarks.nearest RUN --data DATA [--count 443] [--out PNG]`

Each sample is compared with every training image at 16x16 pixels: the root mean square of the differences, in 8-bit levels. So are
reconstructions of held-out images, which are no copies but where a set repeats itself, and of training images, which nearly are. It sees
whole copies, not those with a colour or a hand changed: look at the picture for these. Prints the distances of the nearest ones; how
often a sample is nearer than a held-out image, 0.5 by chance (pale samples are near to many); and how many samples are as near as 95% of
the training images' reconstructions. The picture shows samples above their nearest training images, the nearest first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from crvae import intervals
from crvae.data import open_data
from crvae.evaluation.features import spaced
from crvae.pictures import from_8_bit, save_picture, to_8_bit
from crvae.storage.models import load
from crvae.tasks.grids import labelled_grid
from crvae.tasks.profiling import posterior_of
from crvae.tasks.sampling import samples
from crvae.tasks.traversal import decode_all
from crvae.training.classifying import held_out_images

SIZE, SHOWN = 16, 12


def shrunk(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    """Images whose Euclidean distance is the root mean square of their differences at `SIZE` pixels."""
    flat = F.adaptive_avg_pool2d(images.float(), SIZE).flatten(1)
    return flat / flat.shape[1] ** 0.5


def main() -> None:
    """Prints the table and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--data", required=True)
    parser.add_argument("--count", type=int, default=443)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model = load(options.run)
    data = open_data(options.data)
    train = data.split("train").everything()
    found = {"samples": torch.cat(list(samples(model, options.count)))}
    for kind, split in (("held-out images", held_out_images(data)), ("training images", data.split("train"))):
        x = from_8_bit(split.images(spaced(len(split), options.count)))
        found[f"reconstructions of {kind}"] = to_8_bit(decode_all(model, posterior_of(model, x).mean))
    nearest = {name: torch.cdist(shrunk(images), shrunk(train)).min(1) for name, images in found.items()}
    print("| to the nearest training image | median | nearest tenth |\n|---|---:|---:|")
    for name, (far, _) in nearest.items():
        print(f"| {name} | {far.median():.1f} | {far.quantile(0.1):.1f} |")
    far, place = nearest["samples"]
    held_out, copies = (nearest[f"reconstructions of {kind} images"].values for kind in ("held-out", "training"))
    nearer = intervals.jackknife(
        lambda ours, theirs: [float((ours < theirs.T).double().mean())], far[:, None], held_out[:, None]
    )[0]
    same = intervals.share(int((far <= copies.quantile(0.95)).sum()), len(far))
    for what, part in (("nearer than a held-out image", nearer), (f"as near as {copies.quantile(0.95):.1f}", same)):
        print(f"\n{what}: {part['value']:.2f} ({part['low']:.2f} to {part['high']:.2f})")
    if options.out:
        first = far.argsort()[:SHOWN]
        rows = torch.stack([found["samples"][first], train[place[first]]])
        save_picture(labelled_grid(rows, ["sample", "training image"]), options.out)


if __name__ == "__main__":
    main()
