"""The regression guard: ratios of times measured in one run, in turns, with room for a busy machine; never absolute times."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import goals, scaling, steps
from benchmarks.measuring import shares, turns
from benchmarks.port import Port
from crvae.config.prior import FlowPriorConfig, PriorConfig
from crvae.devices import bf16_is_faster
from crvae.evaluation.cost import (
    count_flops,
    flops_per_image,
    latency,
    parameters,
    peak_memory,
    random_batch,
    with_prior,
)
from crvae.evaluation.latency import Others, Times, in_turns, summary
from crvae.models.layers import TransposedConvolution
from crvae.models.recurrence import ChannelRecurrence
from crvae.pictures import from_8_bit
from crvae.training.launch import devices
from crvae.training.stage1 import Stage1, build
from crvae.training.step import TrainingStep

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(
    not bf16_is_faster(torch.device("cpu")), reason="bf16 in software crawls in every layer; there `auto` takes fp32"
)
def test_the_recurrence_does_not_crawl_in_bf16():
    """nn.LSTM under CPU autocast takes over ten times as long as in fp32."""
    module = ChannelRecurrence(64, hidden=256)
    x = torch.randn(32, 64, 4, 4)

    def work(bf16: bool) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            module(x).float().sum().backward()

    seconds = turns({"fp32": lambda: work(False), "bf16": lambda: work(True)}, 5)
    assert seconds["bf16"] < 3 * seconds["fp32"]


def test_the_bias_of_a_transposed_convolution_is_no_slower_than_torchs():
    ours, theirs = TransposedConvolution(32, 32, 4, 2, 1), nn.ConvTranspose2d(32, 32, 4, 2, 1)
    x = torch.randn(16, 32, 32, 32).to(memory_format=torch.channels_last)

    def work(layer: nn.Module) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            layer(x).float().sum().backward()

    seconds = turns({"ours": lambda: work(ours), "theirs": lambda: work(theirs)}, 5)
    assert seconds["ours"] < 1.3 * seconds["theirs"]


def test_a_step_in_fp32_is_not_slower_than_the_straightforward_port():
    config = steps.stage1(steps.RECURRENT, width=8)
    fabric, _ = devices("fp32", deterministic=False)
    step, port = TrainingStep(Stage1(config), fabric), Port(8, CPU)
    stored = random_batch(config, 16)
    x = from_8_bit(stored[0])
    seconds = turns({"ours": lambda: step(stored, step.complete), "port": lambda: port(x)}, 3)
    assert seconds["ours"] < 1.3 * seconds["port"]


def test_operations_are_those_of_the_convolutions_and_the_lstm():
    """Width 32: the encoder's and the decoder's multiply-adds, from the specification's shapes."""
    flops = flops_per_image(steps.stage1(steps.RECURRENT))
    b = 32
    trunk = [(32, 6, b, 5), (16, 2 * b, 2 * b, 3), (8, 4 * b, 4 * b, 3), (8, 8 * b, 8 * b, 3), (4, 8 * b, 8 * b, 3)]
    trunk += [(4, 16 * b, 8 * b, 3), (4, 8 * b, 64, 3)]
    lstm = 2 * 8 * 4 * 512 * ((512 + 512) + (512 + 512)) + 2 * 8 * 512 * 128
    assert flops["inference"] == sum(2 * s * s * i * o * k * k for s, i, o, k in trunk) + lstm
    up = [(4, 8 * b, 8 * b, 4), (8, 8 * b, 4 * b, 4), (16, 4 * b, 2 * b, 4), (32, 2 * b, 2 * b, 4)]
    same = [(4, 64, 8 * b, 3), (8, 8 * b, 8 * b, 3), (64, 2 * b, 2 * b, 3), (64, 2 * b, 3, 3)]
    lstm = 2 * 8 * 4 * 512 * ((128 + 512) + (512 + 512)) + 2 * 8 * 512 * 128
    assert flops["generation"] == sum(2 * s * s * i * o * k * k for s, i, o, k in up + same) + lstm
    assert 15e9 < flops["train"] < 20e9


def test_the_lstm_is_counted_three_times_with_its_backward():
    lstm = nn.LSTM(6, 5, 2, batch_first=True)
    x = torch.randn(4, 3, 6, requires_grad=True)
    forward = 2 * 4 * 3 * 4 * 5 * ((6 + 5) + (5 + 5))
    with torch.no_grad():
        assert count_flops([lstm], lambda: lstm(x)) == forward
    assert count_flops([lstm, nn.Sequential(lstm)], lambda: lstm(x)[0].sum().backward()) == 3 * forward


def test_the_port_has_the_specifications_parameters_and_learns():
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in Port(32, CPU).nets.items()}
    assert counts == {
        "encoder": 2_699_936, "variance": 4_269_184, "generation": 3_481_728, "decoder": 2_549_635,
        "features": 1_619_328, "realism": 4_708_953, "latent": 1_202_560,
    }  # fmt: skip
    port = Port(2, CPU)
    before = {name: next(net.parameters()).detach().clone() for name, net in port.nets.items()}
    port(torch.rand(8, 3, 64, 64) * 2 - 1)
    assert all(not torch.equal(before[name], next(net.parameters())) for name, net in port.nets.items())


def test_goals_are_judged_and_what_is_missing_is_not_met():
    result = {"memory": {"ratio": 1.01}, "parallel": {"ratio": 0.8}}
    rows = {row["goal"]: row for row in goals.judged(result)}
    assert rows["peak training memory against VAE-GAN's"]["met"]
    assert not rows["two processes with one thread against one with two, images/s"]["met"]
    unknown = rows["share of the bf16 ceiling that a step reaches"]
    assert unknown["figure"] is None
    assert not unknown["met"]


def test_shares_of_a_product_are_products():
    a = torch.randn(512, 512)
    found = shares(lambda: a @ a)
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=found.__getitem__) == "matrix products"


def test_cost_command(capsys):
    from crvae.cli import main

    assert main(["cost", "emoji-vae", "--batch", "16", "--json", "--limit", "600"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    counts = entry["parameters"]
    assert counts["encoder"] + counts["decoder"] == counts["autoencoder"] == 3_412_155
    assert counts["discriminator"] == counts["latent_head"] == counts["prior"] == 0
    assert set(entry["latency_ms"]["inference"]) == set(entry["latency_ms"]["generation"]) == {"1", "16", "128"}
    flops = entry["flops_per_image"]
    assert flops["train"] > 2.5 * (flops["inference"] + flops["generation"]) > 0
    assert entry["peak_memory_bytes"] > 1e6
    for work, batches in entry["latency_ms"].items():
        for batch, middle in batches.items():
            low, high = entry["latency_middle_half_ms"][work][batch]
            assert low <= middle <= high


def test_parameters_are_the_specifications():
    """Section 8, and section 6 for the digits."""
    mi = parameters(steps.stage1(steps.RECURRENT))
    assert mi["autoencoder"] == 13_000_483
    assert mi["discriminator"] == 6_328_281
    assert mi["latent_head"] == 1_202_560
    dense = parameters(steps.stage1(steps.DENSE))
    assert (dense["encoder"], dense["decoder"]) == (10_942_048, 6_598_787)
    assert parameters(steps.stage1("mnist-vae"))["autoencoder"] == 16_293_825


def test_a_learned_prior_is_counted_and_timed_beside_the_normal_one():
    config = steps.stage1("emoji-vae", size=32, width=2, latent_channels=8)
    plain = parameters(config)
    config = config.model_copy(update={"prior": PriorConfig(kind="flow", flow=FlowPriorConfig(width=16, depth=1))})
    model = with_prior(config, build(config)[0])
    learned = parameters(config)
    assert learned == plain | {"prior": sum(p.numel() for p in model.prior.parameters())}
    assert learned["prior"] > 0
    fabric, _ = devices("fp32", deterministic=False)
    times = latency(config, fabric, (1, 2), budget=0, limit=600)
    assert {name: set(found) for name, found in times.items()} == {
        name: {"1", "2"} for name in ("inference", "generation", "sampling")
    }
    assert set(latency(steps.stage1("emoji-vae"), fabric, (1,), budget=0, limit=600)) == {"inference", "generation"}


def test_stage2_recipes_have_a_cost_too(capsys):
    from crvae.cli import main

    assert main(["cost", "emoji-stage2-128-plain", "emoji-vae", "--quick"]) == 0
    out = capsys.readouterr().out
    assert "563,700" in out  # the upsampler
    assert "upsampling, ms" in out
    assert "inference, ms" in out
    assert "not measured" in out  # the memory


def test_contestants_take_turns_until_the_limit():
    said = []
    times = in_turns({name: lambda name=name: said.append(name) for name in "ab"}, budget=0)
    assert said == ["a", "b"] * 4  # one to warm up
    assert {t.calls for t in times.values()} == {3}
    assert in_turns({"a": lambda: None}, budget=0, limit=-1) == {}

    def slow() -> None:
        said.append("slow")
        time.sleep(0.02)

    said.clear()
    assert in_turns({"slow": slow, "late": lambda: said.append("late")}, budget=9, limit=0.01) == {}
    assert said == ["slow"]


def test_medians_and_quartiles_by_hand():
    assert summary([4.0, 1.0, 3.0, 2.0, 5.0]) == Times(3.0, 2.0, 4.0, 5)
    assert summary([7.0]) == Times(7.0, 7.0, 7.0, 1)


def test_our_own_work_is_not_that_of_others(monkeypatch):
    clock, own, jiffies = [0.0], [0.0], [0]
    monkeypatch.setattr("crvae.evaluation.latency.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("crvae.evaluation.latency.os.times", lambda: (own[0], 0.0, 0.0, 0.0, clock[0]))
    monkeypatch.setattr("builtins.open", lambda *_, **__: io.StringIO(f"cpu  {jiffies[0]} 0 0 9 9\n"))
    others, second = Others(), os.sysconf("SC_CLK_TCK")
    clock[0], own[0], jiffies[0] = 10.0, 10.0, 25 * second  # 25 processor seconds in 10 s, 10 of them ours
    assert others.used() == pytest.approx(1.5)
    jiffies[0] = 0
    assert others.used() == 0


def test_memory_that_takes_too_long_is_not_measured():
    assert peak_memory(steps.stage1("emoji-vae"), limit=0.01) is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["cost"], "needs the name of a recipe"),
        (["cost", "emoji-crvae-gan-m"], "did you mean 'emoji-crvae-gan-mi'?"),
        (
            ["cost", "emoji-crvae-gan-mi", "--batch", "7"],
            "--batch must be a multiple of --discriminator.group (16), got 7",
        ),
        (["cost", "emoji-crvae-gan-mi", "--batch", "-1"], "--batch must be"),
        (["cost", "emoji-stage2-128", "--batch", "1"], "--batch must be"),
        (["cost", "emoji-vae", "--limit", "nan"], "--limit must be"),
    ],
)
def test_cost_says_what_is_wrong(capsys, args, said):
    from crvae.cli import main

    assert main(args) == 2
    assert said in capsys.readouterr().err


def test_scaling_by_hand():
    """4 devices, 1 GB of gradients, 1 GB/s: 1.5 s of sending; 30 images at 10/s: 3 s of computing."""
    assert scaling.sent(4, 10**9) == pytest.approx(1.5e9)
    assert scaling.efficiency(30, 10, 4, 10**9, 1e9) == pytest.approx(2 / 3)
    least = scaling.smallest_batch(10, 4, 10**9, 1e9)
    assert scaling.efficiency(least, 10, 4, 10**9, 1e9) == pytest.approx(0.8)
