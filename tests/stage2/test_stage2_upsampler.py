"""The upsampler and its discriminator: counts of the specification, any output size, corners in place, no seams."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crvae.config.stage1 import ModelConfig
from crvae.config.stage2 import Stage2DiscriminatorConfig, UpsamplerConfig
from crvae.models import Autoencoder, Upsampler
from crvae.models.upsampler import Enlarge, Stage2Discriminator, UpsamplingNetwork, enlargements


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def network(size: int, output: int, **options) -> UpsamplingNetwork:
    torch.manual_seed(0)
    return UpsamplingNetwork(
        UpsamplerConfig(**{"size": size, "output_size": output, "width": 4, "blocks": 1} | options)
    )


def test_the_counts_at_stackgans_widths():
    """Specification, section 10; computed there without this code."""
    with torch.device("meta"):
        assert count(UpsamplingNetwork(UpsamplerConfig())) == 15_978_944
        assert count(UpsamplingNetwork(UpsamplerConfig(output_size=256, blocks=4))) == 25_437_856
        assert count(Stage2Discriminator(Stage2DiscriminatorConfig(), 128, 3)) == 12_749_056
        assert count(Stage2Discriminator(Stage2DiscriminatorConfig(), 256, 3)) == 48_406_784


@pytest.mark.parametrize(
    ("size", "output", "channels"), [(64, 128, 3), (64, 224, 3), (64, 225, 1), (28, 32, 1), (28, 29, 1), (32, 200, 3)]
)
def test_any_output_size(size: int, output: int, channels: int):
    """Shapes, and gradients that reach every weight of both networks."""
    upsampler = network(size, output, channels=channels)
    discriminator = Stage2Discriminator(Stage2DiscriminatorConfig(width=4), output, channels)
    images = upsampler(torch.rand(2, channels, size, size) * 2 - 1)
    assert images.shape == (2, channels, output, output)
    realism, estimate = discriminator(images)
    assert estimate is None
    assert realism.shape == (2,)
    (realism * torch.tensor([1.0, -2.0])).sum().backward()
    for module in (upsampler, discriminator):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


@given(st.integers(1, 64), st.integers(2, 1024))
def test_every_enlargement_is_at_most_a_doubling(start: int, end: int):
    if end <= start:
        return
    sizes = [start, *enlargements(start, end)]
    assert sizes[-1] == end
    assert len(sizes) - 1 == math.ceil(math.log2(end / start))
    for before, after in itertools.pairwise(sizes):
        assert before <= after <= 2 * before


def test_224_leaves_the_odd_factor_to_the_smallest_maps():
    assert enlargements(16, 224) == [28, 56, 112, 224]
    assert enlargements(16, 128) == [32, 64, 128]


def test_enlarging_by_a_fraction_against_a_plain_derivation():
    """Output pixel i looks at input position (i + 1/2) * 16/28 - 1/2, clipped to the image: the corners stay in place."""
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    matrix = np.zeros((28, 16))
    for i in range(28):
        position = min(max((i + 0.5) * 16 / 28 - 0.5, 0), 15)
        low = min(int(position), 14)
        matrix[i, low], matrix[i, low + 1] = 1 - (position - low), position - low
    expected = matrix @ x[0, 0].numpy() @ matrix.T
    np.testing.assert_allclose(Enlarge(28)(x)[0, 0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("size", [28, 32])
def test_enlarging_commutes_with_mirroring(size: int):
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    assert torch.allclose(Enlarge(size)(x.flip(-1)), Enlarge(size)(x).flip(-1))
    assert torch.allclose(Enlarge(size)(x.mT), Enlarge(size)(x).mT)


@pytest.mark.parametrize("output", [128, 224])
def test_a_plain_image_has_neither_seams_nor_checkerboards(output: int):
    """Away from the borders every pixel has the same surroundings, so all of them must come out alike."""
    upsampler = network(64, output, blocks=0).double().eval()
    images = upsampler(torch.full((1, 3, 64, 64), 0.3, dtype=torch.float64))
    inside = images[..., output * 3 // 8 : output * 5 // 8, output * 3 // 8 : output * 5 // 8]
    deviation = (inside - inside[..., :1, :1]).abs().max()
    assert deviation < 1e-9 * images.abs().max()


@pytest.mark.parametrize("output", [128, 224])
def test_what_moves_in_the_input_moves_as_far_in_the_output(output: int):
    """16 input pixels are 4 positions of the smallest maps, a whole number of them at every size on the way up."""
    upsampler = network(64, output, blocks=0).double().eval()
    x = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    x[..., 28:36, 20:28] = 1.0
    far = 16 * output // 64
    moved = upsampler(x.roll(16, -1))
    back = upsampler(x).roll(far, -1)
    inside = (..., slice(output // 4, output * 3 // 4), slice(output * 3 // 8 + far // 2, output * 3 // 4))
    assert moved[inside].std() > 0
    assert torch.allclose(moved[inside], back[inside], atol=1e-9 * moved.abs().max().item(), rtol=0)


def test_residual_starts_from_the_interpolated_input():
    upsampler = network(32, 64, residual=True)
    torch.nn.init.zeros_(upsampler.image.weight)
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    expected = torch.nn.functional.interpolate(x, size=(64, 64), mode="bilinear", align_corners=False)
    assert torch.equal(upsampler(x), expected)


@pytest.fixture(scope="module")
def upsampler() -> Upsampler:
    torch.manual_seed(0)
    stage1 = Autoencoder(ModelConfig(size=32, width=1, latent_channels=8))
    config = UpsamplerConfig(size=32, output_size=64, width=4, residual=True)
    upsampler = Upsampler(config, stage1)
    for _ in range(20):  # batch statistics to evaluate with
        x = torch.rand(16, 3, 32, 32) * 2 - 1
        stage1.train()(x)
        upsampler.network(x)
    return upsampler.eval().requires_grad_(False)


def test_stage1_stays_in_evaluation_mode_and_frozen(upsampler):
    upsampler.train()
    assert upsampler.network.training
    assert not any(module.training for module in upsampler.stage1.modules())
    assert not any(parameter.requires_grad for parameter in upsampler.stage1.parameters())
    upsampler.eval()


def test_samples_are_stage1s_samples_enlarged(upsampler):
    images = upsampler.sample(5, seed=3)
    assert images.shape == (5, 3, 64, 64)
    assert upsampler.image_shape == (3, 64, 64)
    assert upsampler.input_shape == (3, 32, 32)
    assert images.abs().max() <= 1
    assert torch.equal(images, upsampler.sample(5, seed=3))
    assert torch.allclose(images[:2], upsampler.sample(2, seed=3), atol=1e-6)
    assert not torch.allclose(images, upsampler.sample(5, seed=4), atol=1e-2)
    assert torch.allclose(images, upsampler.decode(upsampler.stage1.prior.sample(5, 3)), atol=1e-6)
    assert torch.allclose(images, upsampler.upscale(upsampler.stage1.sample(5, 3)), atol=1e-6)


def test_large_images_are_reduced_before_stage1_sees_them(upsampler):
    small = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8) * 2 - 1, size=(32, 32), mode="bicubic").clamp(-1, 1)
    large = torch.nn.functional.interpolate(small, size=(64, 64), mode="bicubic").clamp(-1, 1)
    assert upsampler.reconstruct(large).shape == upsampler.reconstruct(small).shape == (2, 3, 64, 64)
    near, far = upsampler.encode(large).mean, upsampler.encode(-large).mean
    exact = upsampler.encode(small).mean
    assert (near - exact).norm() < 0.2 * (far - exact).norm()


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match=r"--model\.output-size must be above --model\.size"):
        UpsamplerConfig(size=128, output_size=128)
    with pytest.raises(ValueError, match="images are"):
        Upsampler(UpsamplerConfig(), Autoencoder(ModelConfig(size=32, width=1, latent_channels=8)))
