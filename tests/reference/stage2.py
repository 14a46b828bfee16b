"""A tiny Stage2: its options, and pictures to train it on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

OPTIONS = [
    "--model.size", "32", "--model.output-size", "64", "--model.width", "4", "--model.blocks", "1",
    "--discriminator.width", "4", "--train.batch", "16", "--train.report-images", "32", "--train.checkpoint-images", "64",
    "--train.snapshot-images", "96", "--train.images", "160", "--train.precision", "fp32",
]  # fmt: skip
"""An upsampler from 32 to 64 pixels that trains ten steps in seconds; reports, checkpoints, snapshots come, not together."""


def draw(folder: Path, count: int, size: int) -> None:
    """Pictures with an edge at any angle, so that enlarging them is no matter of course."""
    generator = np.random.default_rng(size)
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    for number in range(count):
        angle, offset = generator.uniform(0, 2 * np.pi), generator.uniform(-0.5, 0.5)
        side = (np.cos(angle) * x + np.sin(angle) * y > offset)[..., None]
        image = np.where(side, generator.integers(0, 256, 3), generator.integers(0, 256, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number:03d}.png")
