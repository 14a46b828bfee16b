"""Parameter counts, exactly those of the specification (sections 6 and 8)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crvae.config.stage1 import DiscriminatorConfig, ModelConfig
from crvae.models import Autoencoder, PaperDiscriminator
from crvae.recipes import RECIPES
from crvae.training.stage1 import build


def count(*modules: nn.Module | None) -> int:
    return sum(p.numel() for module in modules if module is not None for p in module.parameters())


def made(config: ModelConfig) -> Autoencoder:
    with torch.device("meta"):
        return Autoencoder(config)


@pytest.mark.parametrize(("width", "total"), [(32, 17_540_835), (64, 44_959_171)])
def test_dense(width: int, total: int):
    assert count(made(ModelConfig(latent="dense", width=width))) == total


@pytest.mark.parametrize(("width", "total"), [(32, 13_000_483), (64, 50_558_211)])
def test_recurrent(width: int, total: int):
    assert count(made(ModelConfig(width=width))) == total


def test_parts_of_the_recurrent_model():
    model = made(ModelConfig())
    assert count(model.encoder) == 2_551_392
    assert count(model.latent.mean) == 148_544
    assert count(model.latent.log_variance) == 4_269_184
    assert count(model.latent.log_variance.lstm) == 4_202_496
    assert count(model.latent.transform) == 3_481_728
    assert count(model.latent.transform.lstm) == 3_416_064
    assert count(model.latent.project, model.decoder) == 2_549_635


def test_parts_of_the_dense_model():
    model = made(ModelConfig(latent="dense"))
    assert count(model.latent.mean, model.latent.log_variance) == 8_390_656
    assert count(model.latent.generate) == 4_198_400
    assert count(model.decoder) == 2_400_387


@pytest.mark.parametrize(
    ("narrow", "width", "features", "total"),
    [
        (True, 32, 553_792, 5_262_745),
        (True, 64, 2_209_408, 20_015_321),
        (False, 32, 1_619_328, 6_328_281),
        (False, 64, 6_466_304, 24_272_217),
    ],
)
def test_discriminator(narrow: bool, width: int, features: int, total: int):
    with torch.device("meta"):
        discriminator = PaperDiscriminator(DiscriminatorConfig(narrow=narrow), ModelConfig(width=width))
    assert count(discriminator.features) == features
    assert count(discriminator) == total


@pytest.mark.parametrize(("width", "total"), [(32, 1_202_560), (64, 1_649_216)])
def test_latent_head(width: int, total: int):
    with torch.device("meta"):
        discriminator = PaperDiscriminator(DiscriminatorConfig(), ModelConfig(width=width), (64, 4, 4))
    assert count(discriminator.latent_head) == total


@pytest.mark.parametrize(
    ("recipe", "total"),
    [
        ("mnist-vae-release", 16_293_825),
        ("mnist-cvae-release", 4_148_033),
        ("mnist-crvae-release", 15_538_113),
        ("birds-vae-gan-release", 17_540_835),
        ("birds-crvae-gan-mi-release", 13_000_483),
    ],
)
def test_released_models(recipe: str, total: int):
    assert count(made(RECIPES[recipe].config.model)) == total


def test_released_discriminators_and_the_shared_one():
    with torch.device("meta"):
        counts = {
            name: count(build(RECIPES[name].config)[1]) for name in RECIPES if "gan" in name and "fast" not in name
        }
    assert counts["birds-vae-gan-release"] == 5_262_745
    assert counts["birds-crvae-gan-mi-release"] == 6_328_281 + 1_202_560
    for dataset in ("birds", "celeba", "lsun"):  # compared recipes share the discriminator
        assert counts[f"{dataset}-vae-gan"] == counts[f"{dataset}-crvae-gan"] == 6_328_281
        assert counts[f"{dataset}-crvae-gan-mi"] == 6_328_281 + 1_202_560
    assert counts["emoji-vae-gan"] == counts["emoji-cvae-gan"] == counts["emoji-crvae-gan"]
