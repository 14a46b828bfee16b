"""The perceptual term of Stage1: on reconstructions alone, through a network that is neither trained nor stored."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from crvae.config.stage1 import ModelConfig, ObjectiveConfig, Stage1Config
from crvae.frozen.pyramids import feature_pyramid
from crvae.training.perceptual import Perceptual
from crvae.training.stage1 import GeneratorStep, Stage1, adversary, build


@pytest.fixture
def pyramid():
    torch.manual_seed(1)
    return feature_pyramid("squeezenet", pretrained=False)


@pytest.mark.parametrize("waiting", [False, True])
def test_it_is_part_of_the_objective_and_moves_the_autoencoder_alone(small, pyramid, waiting: bool):
    config = small(
        beta=0.3, kappa=0, model={"width": 4}, objective={"perceptual": 0.7, "kl_weights": "0,0,0,0,0,0,0,0"}
    )
    torch.manual_seed(0)
    model, discriminator = build(config)
    assert discriminator is not None
    judge = adversary(config, discriminator)
    judge.waiting = waiting
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    loss, terms, _ = GeneratorStep(config, model, judge, Perceptual(pyramid))(x)
    expected = terms["reconstruction"] + 0.7 * terms["perceptual"]
    if not waiting:
        expected = expected + 0.3 * (terms["adversarial_reconstruction"] + terms["adversarial_sample"])
    torch.testing.assert_close(loss, expected)
    terms["perceptual"].backward()
    moved = {
        name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0
    }
    assert moved == {"encoder", "latent", "decoder"}
    assert all(p.grad is None for p in (*pyramid.parameters(), *discriminator.parameters()))


def test_it_compares_one_window_of_the_reconstruction_and_its_original(small, pyramid):
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, images):
            seen.append(images.detach())
            return [images]

    config = small(kappa=0)
    torch.manual_seed(0)
    model, discriminator = build(config)
    assert discriminator is not None
    x = torch.rand(4, 3, 32, 32) * 2 - 1
    step = GeneratorStep(config, model, adversary(config, discriminator), Perceptual(Spy()))  # type: ignore[arg-type]
    _, terms, (_, fakes) = step(x)
    original, reconstruction = seen
    places = [(r, c) for r in range(8) for c in range(8) if torch.equal(original, x[..., r : r + 25, c : c + 25])]
    ((row, column),) = places
    assert torch.equal(reconstruction, fakes.reconstructions[..., row : row + 25, column : column + 25])
    share = (reconstruction - original).square().mean() / original.square().mean()
    torch.testing.assert_close(terms["perceptual"], share)


def test_it_is_fetched_where_it_weighs_something_and_never_stored(small, monkeypatch, pyramid):
    from crvae.training import perceptual

    asked = []
    monkeypatch.setattr(perceptual, "feature_pyramid", lambda name: asked.append(name) or pyramid)
    Stage1(small())
    assert asked == []
    config = small(objective={"perceptual": 0.5, "perceptual_network": "squeezenet"})
    stage = Stage1(config)
    assert asked == ["squeezenet"]
    stored = {name for network in stage.networks.values() for name in network.state_dict()}
    trained = {id(p) for side in stage.sides for p in side.step.parameters()}
    assert not trained & {id(p) for p in pyramid.parameters()}
    plain = {name for network in Stage1(small()).networks.values() for name in network.state_dict()}
    assert stored == plain


def test_probabilities_are_not_shown_to_it():
    with pytest.raises(ValidationError, match="perceptual needs --model"):
        Stage1Config(
            recipe="test",
            model=ModelConfig(likelihood="bernoulli"),
            objective=ObjectiveConfig(adversarial=0, perceptual=0.1),
        )


def test_a_network_that_does_not_exist_is_said_before_anything_is_written(tmp_path, colour, tiny, capsys):
    from crvae.cli import main

    command = ["train", "emoji-crvae", "--data", str(colour), "--out", str(tmp_path / "run"), *tiny]
    assert main([*command, "--objective.perceptual", "0.3", "--objective.perceptual-network", "vgg99"]) == 2
    assert "there is no perceptual network 'vgg99'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
