"""Speed of completion: images a second, and its cost over that of the network passes that it cannot do without.

    python benchmarks/completion.py RUN --data DATA [--images 128] [--steps 30] [--out FILE.json]

Bare: decode and discriminator, forward and backward to z, on the same images in the same arithmetic. Both are measured in turn,
several times; the ratio is that of the medians. Prints a table and writes one JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

from crvae.devices import best_device, quick_arithmetic
from crvae.storage.models import load, load_discriminator
from crvae.tasks.completion import Search, complete
from crvae.tasks.inputs import read_images
from crvae.tasks.occlusion import masks


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = best_device()
    model, discriminator = load(options.run, device), load_discriminator(options.run, device)
    x = read_images(options.data, model, option="--data", limit=options.images).x  # type: ignore[arg-type]
    mask = masks("right-half", x.shape[-1])["right-half"]
    search = Search(steps=options.steps, restarts=1)
    z = model.prior.sample(len(x))  # type: ignore[union-attr]

    def completion() -> None:
        complete(model, x, mask, discriminator, search)  # type: ignore[arg-type]

    def bare() -> None:
        for _ in range(options.steps):
            points = z.clone().requires_grad_()
            with quick_arithmetic(device):
                images = model.decode(points)
                realism, _ = discriminator(images)
                loss = images.sum() + realism.sum()
            torch.autograd.grad(loss, points)

    times: dict[str, list[float]] = {"complete": [], "bare": []}
    for _ in range(options.rounds):
        for name, work in (("complete", completion), ("bare", bare)):
            begun = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - begun)
    median = {name: statistics.median(values[1:]) for name, values in times.items()}  # the first round warms up
    full = len(x) * options.steps / (median["complete"] * Search().steps)
    result = {
        "run": options.run,
        "images": len(x),
        "steps": options.steps,
        "seconds": times,
        "ratio": median["complete"] / median["bare"],
        "steps_per_second": options.steps / median["complete"],
        "images_per_second_at_default_steps": full,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    print(f"| {len(x)} images, {options.steps} steps | seconds (median) |\n|---|---|")
    print(f"| complete | {median['complete']:.2f} |\n| bare decode and discriminator | {median['bare']:.2f} |")
    print(f"| ratio | {result['ratio']:.2f} |\n| images/s at {Search().steps} steps, one restart | {full:.2f} |")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
        print(options.out, file=sys.stderr)


if __name__ == "__main__":
    main()
