"""The patchified trunk: shapes for any size, parameters counted again by hand, and what its decoder can draw."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from crvae.config.stage1 import ModelConfig
from crvae.models import Autoencoder, patch


def config(**options) -> ModelConfig:
    return ModelConfig(**{"trunk": "patch", "width": 4, "latent_channels": 8, "steps": 4} | options)


@pytest.mark.parametrize("latent", ["dense", "convolutional", "recurrent"])
@pytest.mark.parametrize(
    ("size", "channels"), [(28, 1), (32, 3), (50, 3), (51, 1), (64, 3), (97, 3), (128, 3), (200, 1), (256, 3)]
)
def test_any_size_and_construction(latent: str, size: int, channels: int):
    model = Autoencoder(config(latent=latent, size=size, channels=channels))
    x = torch.rand(2, channels, size, size) * 2 - 1
    assert model.encoder(x).shape == (2, 32, 4, 4)
    assert model(x).shape == x.shape


@pytest.mark.parametrize("size", range(28, 257, 19))
def test_what_the_encoder_pads_the_decoder_cuts(size: int):
    sides, side = patch.layout(size)
    padded = sides[0] * side
    x = torch.rand(1, 3, size, size)
    wide = nn.functional.pad(x, (*patch.margin(size, padded),) * 2)
    assert wide.shape[-2:] == (padded, padded)
    torch.testing.assert_close(patch.Crop(size, padded)(wide), x)
    assert patch.Patches(size, sides[0], side)(x).shape == (1, 3 * side**2, sides[0], sides[0])


def counted(size: int, channels: int, b: int) -> tuple[int, int]:
    """Parameters of encoder and decoder, layer by layer, kernels and biases spelled out."""
    sides, p = ([16, 8, 4], size // 16) if size <= 64 else ([32, 16, 8, 4], size // 32)
    width = {32: 2 * b, 16: 3 * b, 8: 6 * b, 4: 8 * b}

    def residual(w: int) -> int:
        return 2 * w + 9 * w * w + 2 * w + 9 * w * w + w

    encoder = 9 * channels * p * p * width[sides[0]] + width[sides[0]]
    decoder = 0
    for before, side in zip([None, *sides], sides, strict=False):
        encoder += 2 * residual(width[side])
        decoder += 2 * residual(width[side])
        if before:
            encoder += 4 * width[before] * width[side] + width[side]
            decoder += width[side] * 4 * width[before] + 4 * width[before]
    encoder += 2 * width[4]
    first = width[sides[0]]
    half = (p // 2) ** 2
    decoder += 2 * first + 9 * first * 2 * b * half + 2 * b * half + 9 * 2 * b * 4 * channels + 4 * channels
    return encoder, decoder


@pytest.mark.parametrize(("size", "channels", "b"), [(64, 3, 16), (32, 1, 4), (128, 3, 8), (256, 3, 4)])
def test_parameters(size: int, channels: int, b: int):
    made = config(size=size, channels=channels, width=b)
    with torch.device("meta"):
        found = tuple(sum(p.numel() for p in part(made).parameters()) for part in (patch.encoder, patch.decoder))
    assert found == counted(size, channels, b)


def test_it_starts_as_a_plain_pyramid_with_gradients_everywhere():
    torch.manual_seed(0)
    model = Autoencoder(config())
    x = torch.rand(4, 3, 64, 64) * 2 - 1
    out = model(x)
    assert out.abs().max() < 1
    (out - x).square().mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    bias_before_norm = [name for name in silent if name.startswith("latent.")]  # batch norm takes these constants away
    assert silent == bias_before_norm


@pytest.mark.parametrize(
    "options",
    [{"trunk": "paper", "size": 48}, {"size": 27}, {"size": 257}, {"release": True}, {"upsampling": "smooth"}],
)
def test_what_does_not_fit_is_refused(options: dict):
    with pytest.raises(ValidationError):
        config(**options)
