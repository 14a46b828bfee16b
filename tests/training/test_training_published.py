"""What is published of a run: the averaged weights, with the batch statistics of the training images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from crvae.config.stage2 import Stage2Config, Stage2DiscriminatorConfig, Stage2TrainConfig, UpsamplerConfig
from crvae.data import open_data
from crvae.pictures import from_8_bit
from crvae.storage.models import load, save
from crvae.training.adoption import adopt
from crvae.training.stage1 import Stage1
from crvae.training.stage2 import Stage2


def set_apart(stage) -> None:
    """As after many steps: the raw weights are not the averaged ones, whose statistics are of no use."""
    with torch.no_grad():
        for parameter in stage.networks["model"].parameters():
            parameter.mul_(1.5 if parameter.requires_grad else 1.0)
    for norm in norms(stage.averaged):
        norm.running_mean.fill_(99.0)


def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


def entering(norm: nn.Module, run) -> list[Tensor]:
    """What comes to `norm` while `run` runs."""
    seen: list[Tensor] = []
    handle = norm.register_forward_hook(lambda _module, inputs, _out: seen.append(inputs[0].detach()))
    run()
    handle.remove()
    return seen


@pytest.fixture
def stage1(small, colour) -> Stage1:
    torch.manual_seed(0)
    stage = Stage1(small(train={"images": 64}))
    set_apart(stage)
    return stage


def test_stage1_is_its_average_with_the_statistics_of_training_images(stage1, colour, tmp_path):
    data = open_data(colour)
    stage1.publish(tmp_path / "model", 64, data)
    model = load(tmp_path / "model")
    for (name, ours), theirs in zip(model.named_parameters(), stage1.averaged.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    train = data.split("train")
    x = from_8_bit(train.images(range(len(train) // 8 * 8)))
    (features,) = entering(norms(model)[0], lambda: model.encode(x))
    torch.testing.assert_close(norms(model)[0].running_mean, features.mean((0, 2, 3)), rtol=1e-3, atol=1e-6)
    for norm in norms(model):
        assert 0 < norm.running_mean.abs().max() < 50, "neither what was there nor what a reset leaves"


def test_a_snapshot_is_of_the_average(stage1, colour, tmp_path):
    stage1.publish(tmp_path / "model", 64, open_data(colour))
    torch.testing.assert_close(stage1.snapshot(), load(tmp_path / "model").sample(64, seed=0))


def test_stage2_is_its_average_with_the_statistics_of_training_images(stage1, pair, tmp_path):
    save(tmp_path / "small", stage1.model, recipe="test", images=0)
    config = Stage2Config(
        recipe="test",
        model=UpsamplerConfig(size=32, output_size=64, width=4, blocks=1),
        discriminator=Stage2DiscriminatorConfig(width=4),
        train=Stage2TrainConfig(batch=16, precision="fp32"),
    )
    stage = Stage2(adopt(config, str(tmp_path / "small")), tmp_path / "small")
    set_apart(stage)
    stage.publish(tmp_path / "model", 64, open_data(pair))
    network = load(tmp_path / "model").network
    for (name, ours), theirs in zip(network.named_parameters(), stage.averaged.network.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert norms(network)
    for norm in norms(network):
        assert 0 < norm.running_mean.abs().max() < 50, "neither what was there nor what a reset leaves"
