"""The forms that the models use for speed compute what torch's own layers do, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crvae.models.layers import CReLU, TransposedConvolution
from crvae.models.recurrence import ChannelRecurrence, _by_matrix_products


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_matrix_products_are_the_lstm(layers: int):
    torch.manual_seed(layers)
    lstm = nn.LSTM(7, 5, layers, batch_first=True)
    x = torch.randn(3, 4, 7, requires_grad=True)
    direction = torch.randn(3, 4, 5)
    inputs = [x, *lstm.parameters()]
    expected, found = lstm(x)[0], _by_matrix_products(lstm, x)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad((expected * direction).sum(), inputs)
    for got, want in zip(torch.autograd.grad((found * direction).sum(), inputs), wanted, strict=True):
        torch.testing.assert_close(got, want)


def test_the_recurrence_in_bf16_is_near_fp32_and_so_are_its_gradients():
    torch.manual_seed(0)
    module = ChannelRecurrence(16, steps=4, hidden=32)
    x = torch.randn(8, 16, 4, 4)
    results = []
    for enabled in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = module(x).float()
        out.square().mean().backward()
        results.append([out.detach(), *(p.grad.clone() for p in module.parameters())])
    for exact, rounded in zip(*results, strict=True):
        assert (rounded - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [False, True])
def test_transposed_convolution_is_torchs(dtype: torch.dtype, training: bool):
    torch.manual_seed(0)
    ours = TransposedConvolution(6, 4, 4, 2, 1).train(training)
    theirs = nn.ConvTranspose2d(6, 4, 4, 2, 1)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 6, 5, 5).to(memory_format=torch.channels_last)
    direction = torch.randn(3, 4, 10, 10)
    outputs, gradients = [], []
    for layer in (ours, theirs):
        z = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = layer(z)
        assert y.dtype == dtype
        (y.float() * direction).sum().backward()
        outputs.append(y)
        gradients.append([z.grad, layer.weight.grad, layer.bias.grad])
    torch.testing.assert_close(*outputs)
    for got, want in zip(*gradients, strict=True):
        assert got.dtype == want.dtype
        if dtype == torch.bfloat16:  # torch sums bf16 gradients less exactly than we do
            assert (got - want).norm() < 0.02 * want.norm()
        else:
            torch.testing.assert_close(got, want)


def test_crelu_leaves_its_input_alone():
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    before = x.detach().clone()
    CReLU()(x).sum().backward()
    assert torch.equal(x.detach(), before)
    assert torch.equal(x.grad, before.sign())


def test_the_encoders_in_place_activations_do_not_touch_images():
    from crvae.config.stage1 import ModelConfig
    from crvae.models.autoencoder import Autoencoder

    model = Autoencoder(ModelConfig(width=2))
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    before = x.clone()
    model(x).sum().backward()
    assert torch.equal(x, before)
    assert all(p.grad is not None for p in model.parameters())
