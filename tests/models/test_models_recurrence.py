"""The channel recurrence against an explicit loop over gates and time steps."""

from __future__ import annotations

import pytest
import torch

from crvae.models import ChannelRecurrence
from reference.lstm_by_step import recurrence


def weights_of(module: ChannelRecurrence) -> dict:
    assert module.lstm is not None
    return {name: p.detach() for name, p in module.lstm.named_parameters()}


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("norm", [False, True])
def test_matches_the_loop_for_every_divisor(steps: int, norm: bool):
    torch.manual_seed(steps)
    module = ChannelRecurrence(12, 24, spatial=(2, 3), steps=steps, hidden=5, norm=norm)
    statistics = None
    if module.norm is not None:
        module.norm.running_mean.normal_()
        module.norm.running_var.uniform_(0.5, 2)
        torch.nn.init.normal_(module.norm.weight)
        torch.nn.init.normal_(module.norm.bias)
        names = ("weight", "bias", "running_mean", "running_var")
        statistics = {name: getattr(module.norm, name).detach() for name in names} | {"eps": 1e-5}
    module.eval()
    x = torch.randn(3, 12, 2, 3)
    project = module.project
    expected = recurrence(x, steps, weights_of(module), 2, project.weight.detach(), project.bias.detach(), statistics)
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


def test_a_block_sees_the_blocks_before_it_and_none_after():
    torch.manual_seed(0)
    module = ChannelRecurrence(8, steps=4, hidden=6).eval()
    x = torch.randn(1, 8, 4, 4)
    for t in range(4):
        changed = x.clone()
        changed[:, 2 * t : 2 * t + 2] += 1
        differs = (module(changed) - module(x)).abs().flatten(2).amax(2)[0] > 1e-7
        assert differs.view(4, 2).any(1).tolist() == [block >= t for block in range(4)]


def test_the_perceptron_control_sees_its_own_block_alone():
    torch.manual_seed(0)
    module = ChannelRecurrence(8, steps=4, hidden=6, mixing="perceptron").eval()
    x = torch.randn(1, 8, 4, 4)
    changed = x.clone()
    changed[:, 2:4] += 1
    differs = (module(changed) - module(x)).abs().flatten(2).amax(2)[0] > 1e-7
    assert differs.view(4, 2).any(1).tolist() == [False, True, False, False]


def test_residual_adds_the_input():
    torch.manual_seed(0)
    module = ChannelRecurrence(8, steps=2, hidden=6, residual=True).eval()
    x = torch.randn(2, 8, 4, 4)
    project = module.project
    plain = recurrence(x, 2, weights_of(module), 2, project.weight.detach(), project.bias.detach())
    torch.testing.assert_close(module(x), plain + x, rtol=1e-4, atol=1e-5)


def test_permuting_deals_channels_out_and_back():
    torch.manual_seed(0)
    module = ChannelRecurrence(8, steps=4, hidden=6, permute=True, residual=True).eval()
    assert sorted(module.order_in.tolist()) == list(range(8))
    assert module.order_in.tolist() != list(range(8))
    assert ChannelRecurrence(8, steps=4, hidden=6, permute=True).order_in.tolist() == module.order_in.tolist()
    x = torch.randn(2, 8, 4, 4)
    project = module.project
    dealt = recurrence(x[:, module.order_in], 4, weights_of(module), 2, project.weight.detach(), project.bias.detach())
    torch.testing.assert_close(module(x), dealt[:, module.order_out] + x, rtol=1e-4, atol=1e-5)


def test_a_permuted_output_stands_where_its_input_stood():
    """Over shuffled places the recurrence stays causal: a channel's output depends on the channels dealt no later than it."""
    torch.manual_seed(0)
    steps = 4
    module = ChannelRecurrence(8, steps=steps, hidden=6, permute=True).eval()
    step_of = torch.empty(8, dtype=torch.long)
    step_of[module.order_in] = torch.arange(8) // (8 // steps)
    x = torch.randn(1, 8, 4, 4)
    before = module(x)
    for channel in range(8):
        moved = x.clone()
        moved[:, channel] += 1
        changed = ((module(moved) - before).abs().amax((0, 2, 3)) > 0).nonzero().flatten().tolist()
        assert channel in changed
        assert changed == [c for c in range(8) if step_of[c] >= step_of[channel]]


def test_a_permuted_variance_path_writes_a_channel_in_the_step_that_reads_it():
    dealt = ChannelRecurrence(8, steps=4, hidden=6, permute=True)
    written = ChannelRecurrence(24, 8, steps=4, hidden=6, permute=True)
    assert written.order_out[dealt.order_in].tolist() == list(range(8))


@pytest.mark.parametrize(("channels", "steps"), [(8, 3), (8, 0), (8, 16), (8, -2)])
def test_refuses_steps_that_do_not_divide(channels: int, steps: int):
    with pytest.raises(ValueError, match="divide"):
        ChannelRecurrence(channels, steps=steps)


def test_the_forget_gate_starts_open_in_a_model(small):
    from crvae.models import Autoencoder

    model = Autoencoder(small().model)
    lstm = model.latent.transform.lstm
    n = lstm.hidden_size
    for layer in range(2):
        bias = getattr(lstm, f"bias_ih_l{layer}")
        assert (bias[n : 2 * n] == 1).all()
        assert (bias[:n].abs() <= n**-0.5).all()
        assert (getattr(lstm, f"bias_hh_l{layer}").abs() <= n**-0.5).all()
