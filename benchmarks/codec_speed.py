"""`python -m benchmarks.codec_speed RUN --data DATA`: images a second, encoded to .crz files and decoded, by one thread.

Seconds are the processor's, so that other work on the machine does not count; the fastest of `--rounds`, after one to warm up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from crvae.models.autoencoder import SAMPLE_BATCH
from crvae.storage.models import load
from crvae.tasks.codec import Codec
from crvae.tasks.inputs import read_images
from crvae.tasks.profiling import posterior_of


def fastest(work: Callable[[], object], rounds: int) -> float:
    """Processor seconds."""
    best = float("inf")
    for number in range(rounds + 1):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started) if number else best
    return best


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--data", required=True)
    parser.add_argument("--count", type=int, default=SAMPLE_BATCH)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load(options.run)
    x = read_images(options.data, model, option="--data", limit=options.count).x
    codec, posterior = Codec(model), posterior_of(model, x)
    files = codec.compress(posterior)
    work: dict[str, Callable[[], object]] = {
        f"encoder network, batch {len(x)}": lambda: posterior_of(model, x),
        "encoder network, one by one": lambda: [posterior_of(model, image[None]) for image in x],
        "files of the finest steps": lambda: codec.compress(posterior),
        "files of at most 200 bytes, --limit 200": lambda: codec.compress(posterior, 200),
        "latents from files": lambda: [codec.latents(data, "the file") for data in files],
        "images from files": lambda: [codec.image(data, "the file") for data in files],
    }
    print("| | images a second |\n|---|---:|")
    for name, call in work.items():
        print(f"| {name} | {len(x) / fastest(call, options.rounds):.0f} |", flush=True)
    print(f"\nSteps for --bytes 100, once: {fastest(lambda: codec.steps_for(posterior, 100), 1):.1f} s")


if __name__ == "__main__":
    main()
