"""How many images a second `crvae.data.batches` gives on one core, from memory and shard by shard.

    python benchmarks/loader.py data/emoji64

A training step on two CPU cores takes about 120 images/s: the loader must stay far above. Prints one JSON document; the
figures are per second of processor time over all threads, so other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time

import torch

from crvae.data import batches, open_data, prepared


def rate(path: str, resident: bool, images: int) -> dict[str, float]:
    """Images per processor second: the first batch (which decodes a resident split), and from then on."""
    prepared.RESIDENT_BYTES = 1 << 30 if resident else 0
    split = open_data(path).split("train")
    batch = min(128, len(split))
    started = time.process_time()
    stream = batches(split, batch=batch, seed=0, start=0, flip=True, sizes=split.data.card.sizes)
    next(stream)
    first = time.process_time() - started
    started = time.process_time()
    for _ in itertools.islice(stream, images // batch):
        pass
    return {
        "first_batch_seconds": round(first, 2),
        "images_per_second": round(images // batch * batch / (time.process_time() - started)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", help="prepared datasets")
    parser.add_argument("--images", type=int, default=20_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        path: {mode: rate(path, mode == "resident", options.images) for mode in ("resident", "sharded")}
        for path in options.data
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
