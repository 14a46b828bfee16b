"""The channel recurrence against an explicit loop over gates and time steps."""

from __future__ import annotations

import jaxtyping
import pytest
import torch

from crvae.errors import UserError
from crvae.models import ChannelRecurrence
from crvae.models import recurrence as place
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


WRONG_SIZES = {
    "spatial=4": ((8,), {"spatial": 4}),
    "spatial=(4,)": ((8,), {"spatial": (4,)}),
    "steps=2.0": ((8,), {"steps": 2.0}),
    "out_channels=0": ((8, 0), {}),
    "channels='8'": (("8",), {}),
    "hidden=0": ((8,), {"hidden": 0}),
    "layers=1.5": ((8,), {"layers": 1.5}),
}


@pytest.mark.parametrize("wrong", WRONG_SIZES)
def test_refuses_sizes_that_are_no_whole_numbers_in_one_sentence(wrong: str, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    counts, options = WRONG_SIZES[wrong]
    with pytest.raises(ValueError, match=f"{wrong.partition('=')[0]} must be (a|two) whole number") as found:
        ChannelRecurrence(*counts, **({"steps": 4} | options))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("permute", [False, True])
def test_refuses_other_maps_than_its_own_in_one_sentence(permute: bool, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    module = ChannelRecurrence(12, steps=4, hidden=8, permute=permute).eval()
    assert module(torch.randn(2, 12, 4, 4)).shape == (2, 12, 4, 4)
    for shape in ((2, 16, 4, 4), (2, 8, 4, 4), (2, 12, 8, 2), (12, 4, 4), (2, 192)):
        given = " ".join(map(str, shape))
        with pytest.raises(UserError, match=f"^the recurrence takes maps b 12 4 4, got {given}$"):
            module(torch.randn(shape))


def test_the_check_of_maps_is_exported_for_every_batch():
    module = ChannelRecurrence(8, steps=4, hidden=6).eval()
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(module, (torch.zeros(2, 8, 4, 4),), dynamic_shapes=({0: batch},))
    x = torch.randn(5, 8, 4, 4)
    torch.testing.assert_close(program.module()(x), module(x))


def test_cudnn_is_left_where_a_gradient_is_wanted_outside_of_training(monkeypatch):
    """cuDNN has none there, neither for inputs nor for weights. No card is needed: tensors say that they lie on one."""
    module = ChannelRecurrence(8, steps=4, hidden=6)
    x, taken, slowly = torch.randn(2, 8, 4, 4), [], place._by_matrix_products
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    monkeypatch.setattr(place, "_by_matrix_products", lambda *given: taken.append(1) or slowly(*given))

    def slow(x: torch.Tensor) -> bool:
        taken.clear()
        module(x)
        return bool(taken)

    module.train()
    assert not slow(x)
    assert not slow(x.clone().requires_grad_())
    module.eval()
    assert slow(x), "the weights want one"
    with torch.no_grad():
        assert not slow(x)
    module.requires_grad_(False)
    assert not slow(x)
    assert slow(x.clone().requires_grad_())
    assert module.lstm is not None
    module.lstm.bias_hh_l0.requires_grad_()
    assert slow(x)


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
