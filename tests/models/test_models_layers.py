"""Minibatch discrimination against a double loop; dropout that does not rescale; CReLU; initial weights."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from crvae.config.stage1 import DiscriminatorConfig, ModelConfig
from crvae.models import Autoencoder, PaperDiscriminator
from crvae.models.layers import (
    CReLU,
    MinibatchDiscrimination,
    Offset,
    SmoothTransposedConvolution,
    TransposedConvolution,
    UnscaledDropout,
)
from reference.closeness import closeness


@pytest.mark.parametrize(("batch", "group"), [(8, 0), (8, 4), (8, 8), (10, 4), (3, 4), (6, 2), (5, 1)])
def test_minibatch_discrimination_is_the_double_loop(batch: int, group: int):
    torch.manual_seed(batch)
    layer = MinibatchDiscrimination(features=7, kernels=3, kernel_size=2, group=group)
    x = torch.randn(batch, 7)
    out = layer(x)
    assert torch.equal(out[:, :7], x)
    m = layer.project(x).detach().double().view(batch, 3, 2)
    torch.testing.assert_close(out[:, 7:].detach(), closeness(m, group).float(), rtol=1e-5, atol=1e-6)


def test_groups_are_independent_of_each_other():
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(4, 2, 3, group=4)
    x = torch.randn(8, 4)
    changed = x.clone()
    changed[5] += 1
    same = layer(x)[:, 4:] == layer(changed)[:, 4:]
    assert same[:4].all()
    assert not same[4:].any()


def test_dropout_drops_whole_channels_and_does_not_rescale():
    torch.manual_seed(0)
    layer = UnscaledDropout(0.5)
    out = layer(torch.full((50, 40, 3, 3), 2.0))
    per_channel = out.flatten(2)
    assert ((per_channel == 0).all(2) | (per_channel == 2).all(2)).all()
    assert abs((per_channel[:, :, 0] == 0).float().mean().item() - 0.5) < 0.05
    vectors = layer(torch.ones(50, 40))
    assert set(vectors.unique().tolist()) == {0.0, 1.0}
    layer.eval()
    assert (layer(torch.full((2, 3, 4, 4), 2.0)) == 1.0).all()


def test_dropout_of_nothing_is_the_identity():
    x = torch.randn(4, 5)
    assert torch.equal(UnscaledDropout(0.0)(x), x)


def test_crelu_keeps_both_parts():
    x = torch.tensor([[[[1.0]], [[-2.0]]]])
    assert CReLU()(x).flatten().tolist() == [1, 0, 0, 2]


def test_initial_weights_follow_the_specification(small):
    torch.manual_seed(0)
    model = Autoencoder(small(model={"width": 4}).model)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            bound = math.sqrt(1 / (module.kernel_size[0] * module.kernel_size[1] * module.out_channels))
            largest = module.weight.abs().max().item()
            assert 0.9 * bound < largest <= bound
            assert (module.bias == 0).all()
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
        if isinstance(module, nn.Linear):
            assert (module.bias == 0).all()
        if isinstance(module, Offset):
            assert (module.bias.abs() <= 0.01 * math.sqrt(3)).all()
            assert module.bias.std() > 0.005


def test_smooth_upsampling_is_repetition_and_a_convolution():
    torch.manual_seed(0)
    layer = SmoothTransposedConvolution(3, 5)
    x = torch.randn(2, 3, 4, 4)
    kernel = layer.weight.transpose(0, 1).flip(2, 3)
    repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(layer(x), F.conv2d(repeated, kernel, layer.bias, padding=1))


def test_smooth_upsampling_leaves_a_plain_map_plain_and_a_free_kernel_does_not():
    torch.manual_seed(0)
    x = torch.ones(1, 3, 6, 6)
    inside = (..., slice(2, -2), slice(2, -2))
    assert SmoothTransposedConvolution(3, 5)(x)[inside].std((2, 3)).max() < 1e-6
    assert TransposedConvolution(3, 5, 4, 2, 1)(x)[inside].std((2, 3)).min() > 1e-3


@pytest.mark.parametrize("size", [28, 32, 64, 128])
def test_every_size_decodes_with_smooth_upsampling(size: int):
    config = ModelConfig(width=2, latent_channels=8, size=size, upsampling="smooth")
    assert Autoencoder(config).eval().sample(1).shape == (1, 3, size, size)


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_through_average_pooling_every_position_has_a_gradient_and_through_a_maximum_one_in_four(pooling: str):
    torch.manual_seed(0)
    model = ModelConfig(width=2)
    stage = PaperDiscriminator(DiscriminatorConfig(pooling=pooling, dropout=0), model).features[0]  # type: ignore[arg-type]
    features = stage[0](torch.randn(4, 3, 64, 64)).detach().requires_grad_()
    stage[1:](features).sum().backward()
    reached = (features.grad != 0).float().mean().item()  # type: ignore[union-attr]
    assert 0 < reached <= 0.25 if pooling == "max" else reached == 1
