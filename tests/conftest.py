"""What all tests share: shapes checked at run time, one thread, and one tiny dataset and run made by the real commands."""

from __future__ import annotations

import sys
from pathlib import Path

from jaxtyping import install_import_hook

install_import_hook(["crvae.models", "crvae.objectives"], "beartype.beartype")  # in the tests only
sys.path.insert(0, str(Path(__file__).parent))  # for `from reference...`

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from crvae.cli import main  # noqa: E402
from crvae.config.stage1 import DiscriminatorConfig, ModelConfig, ObjectiveConfig, Stage1Config, TrainConfig  # noqa: E402
from reference.stage2 import OPTIONS, draw  # noqa: E402

torch.set_num_threads(1)

LATENTS = ("dense", "convolutional", "recurrent")

TINY = [
    "--model.size",
    "32",
    "--model.width",
    "1",
    "--model.latent-channels",
    "8",
    "--objective.adversarial-after-images",
    "0",
    "--discriminator.kernels",
    "4",
    "--discriminator.group",
    "8",
    "--train.batch",
    "16",
    "--train.report-images",
    "32",
    "--train.checkpoint-images",
    "64",
    "--train.snapshot-images",
    "96",
    "--train.images",
    "160",
    "--train.precision",
    "fp32",
]
"""A crVAE-GAN that trains ten steps in a second: every kind of moment (report, checkpoint, snapshot) comes, and not together."""


def paint(folder: Path, count: int, size: int, grey: bool = False) -> None:
    """Pictures that an autoencoder can learn: a square somewhere on a plain ground."""
    generator = np.random.default_rng(size)
    folder.mkdir(parents=True)
    for number in range(count):
        image = np.empty((size, size, 3), np.uint8)
        image[:] = generator.integers(0, 256, 3)
        y, x = generator.integers(0, size // 2, 2)
        image[y : y + size // 3, x : x + size // 3] = generator.integers(0, 256, 3)
        Image.fromarray(image).convert("L" if grey else "RGB").save(folder / f"{number:03d}.png")


@pytest.fixture
def painted():
    """`painted(folder, count, size)` makes a folder of pictures."""
    return paint


@pytest.fixture(scope="session")
def colour(tmp_path_factory) -> Path:
    """About 54 training images of 32 pixels: no multiple of 16, so that batches cross the end of an epoch."""
    folder = tmp_path_factory.mktemp("colour")
    paint(folder / "pictures", 60, 32)
    assert main(["prepare", str(folder / "pictures"), str(folder / "data"), "--size", "32", "--workers", "1"]) == 0
    return folder / "data"


@pytest.fixture(scope="session")
def grey(tmp_path_factory) -> Path:
    """Grey images of 28 pixels."""
    folder = tmp_path_factory.mktemp("grey")
    paint(folder / "pictures", 60, 28, grey=True)
    options = ["--size", "28", "--channels", "1", "--workers", "1"]
    assert main(["prepare", str(folder / "pictures"), str(folder / "data"), *options]) == 0
    return folder / "data"


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Options that shrink a recipe to ten steps of a second together."""
    return list(TINY)


@pytest.fixture(scope="session")
def trained(tmp_path_factory, colour, tiny) -> Path:
    """A finished run of a tiny crVAE-GAN with mutual information. Read it, do not change it."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", "emoji-crvae-gan-mi", "--data", str(colour), "--out", str(out), *tiny]) == 0
    return out


@pytest.fixture(scope="session")
def pair(tmp_path_factory) -> Path:
    """About 54 training images, at 32 and at 64 pixels."""
    folder = tmp_path_factory.mktemp("pair")
    draw(folder / "pictures", 60, 64)
    sizes = ["--size", "32", "--pair", "64", "--workers", "1"]
    assert main(["prepare", str(folder / "pictures"), str(folder / "data"), *sizes]) == 0
    return folder / "data"


@pytest.fixture(scope="session")
def stage2(trained, pair):
    """stage2(out, *options): the arguments of `crvae` that train the tiny Stage2."""

    def make(out: Path, *options: str, recipe: str = "emoji-stage2-128-plain", stage1: Path = trained) -> list[str]:
        places = ["--stage1", str(stage1), "--data", str(pair), "--out", str(out)]
        return ["train", recipe, *places, *OPTIONS, *options]

    return make


@pytest.fixture(scope="session")
def upsampled(tmp_path_factory, stage2) -> Path:
    """A finished Stage2 run. Read it, do not change it."""
    out = tmp_path_factory.mktemp("upsampled") / "run"
    assert main(stage2(out)) == 0
    return out


@pytest.fixture
def small():
    """Makes a small configuration: `small(latent="dense", kappa=0.02, model={...}, train={...})`."""

    def make(
        latent="recurrent",
        *,
        beta=0.0125,
        kappa=0.02,
        model=None,
        discriminator=None,
        objective=None,
        train=None,
    ) -> Stage1Config:
        return Stage1Config(
            recipe="test",
            model=ModelConfig(latent=latent, **({"size": 32, "width": 1, "latent_channels": 8} | (model or {}))),
            discriminator=DiscriminatorConfig(**({"kernels": 4, "group": 4} | (discriminator or {}))),
            objective=ObjectiveConfig(adversarial=beta, mutual_information=kappa, **(objective or {})),
            train=TrainConfig(**({"batch": 8, "precision": "fp32"} | (train or {}))),
        )

    return make
