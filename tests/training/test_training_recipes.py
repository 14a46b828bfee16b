"""Every recipe, shrunk to a width of one, makes real steps of both sides; compared recipes share everything else."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric

from crvae.config.stage1 import Stage1Config
from crvae.recipes import RECIPES
from crvae.training.optimising import COOL, Optimising
from crvae.training.stage1 import Stage1

STAGE1 = [name for name, recipe in RECIPES.items() if isinstance(recipe.config, Stage1Config)]


def shrunk(config: Stage1Config) -> Stage1Config:
    small = {
        "model": config.model.model_copy(update={"width": 1, "latent_channels": 8}),
        "discriminator": config.discriminator.model_copy(update={"kernels": 2, "group": min(4, config.discriminator.group)}),
        "train": config.train.model_copy(update={"batch": 8, "precision": "fp32"}),
    }  # fmt: skip
    return Stage1Config(**(dict(config) | small))


@pytest.mark.parametrize("name", STAGE1)
def test_one_step(name: str):
    config = shrunk(RECIPES[name].config)
    torch.manual_seed(config.train.seed)
    stage = Stage1(config)
    fabric = Fabric(accelerator="cpu", devices=1)
    sides = [Optimising(side, config.train, fabric) for side in stage.sides]
    stored = torch.randint(0, 256, (8, config.model.channels, config.model.size, config.model.size), dtype=torch.uint8)
    inputs = stage.inputs((stored,))
    assert inputs[0].min() >= -1
    assert inputs[0].max() <= 1
    if config.input.binarise:
        assert set(inputs[0].unique().tolist()) == {-1.0, 1.0}
    carry = inputs
    for side in sides:
        before = [p.detach().clone() for p in side.parameters]
        loss, terms, carry = side.forward(*carry)
        assert all(torch.isfinite(term).all() for term in terms.values())
        side.backward(loss)
        side.set_rates(0)
        assert side.update()
        moved = [not torch.equal(a, b) for a, b in zip(before, side.parameters, strict=True)]
        assert sum(moved) > 0.6 * len(moved)  # at width 1 some rectifiers are dead
    assert len(sides) == (2 if config.objective.adversarial else 1)
    every = [id(p) for side in sides for p in side.parameters]
    assert len(every) == len(set(every))
    assert set(every) == {id(p) for network in stage.networks.values() for p in network.parameters()}


@pytest.mark.parametrize("name", STAGE1)
def test_a_recipe_says_what_it_is(name: str):
    recipe = RECIPES[name]
    assert recipe.config.recipe == name
    assert recipe.summary
    assert recipe.cost
    assert recipe.result
    assert name in recipe.command
    assert Stage1Config.model_validate(recipe.config.model_dump()) == recipe.config


@pytest.mark.parametrize(
    ("names", "differs"),
    [
        (["birds-vae-gan", "birds-crvae-gan"], {"model.latent"}),
        (["birds-crvae-gan", "birds-crvae-gan-mi"], {"objective.mutual_information"}),
        (["emoji-vae", "emoji-cvae", "emoji-crvae"], {"model.latent"}),
        (["emoji-vae-gan", "emoji-cvae-gan", "emoji-crvae-gan"], {"model.latent"}),
        (["mnist-vae", "mnist-cvae", "mnist-crvae"], {"model.latent"}),
        (["lsun-vae-gan", "lsun-crvae-gan"], {"model.latent"}),
        (["celeba-vae-gan", "celeba-crvae-gan"], {"model.latent"}),
    ],
)
def test_compared_recipes_share_everything_else(names: list[str], differs: set[str]):
    def flat(name: str) -> dict[str, object]:
        dump = RECIPES[name].config.model_dump(exclude={"recipe"})
        return {f"{part}.{key}": value for part, body in dump.items() if isinstance(body, dict) for key, value in body.items()}  # fmt: skip

    first = flat(names[0])
    for other in map(flat, names[1:]):
        assert {key for key in first if first[key] != other[key]} == differs


def test_rates_groups_clips_and_warm_up(small):
    config = small(train={
        "rate": 1e-3, "recurrence_rate": 0.125, "discriminator_rate": 0.5, "adversarial_head_rate": 2.0,
        "latent_head_rate": 3.0, "warm_up": True, "halve_every_images": 400, "recurrence_clip": 5.0,
    })  # fmt: skip
    fabric = Fabric(accelerator="cpu", devices=1)
    generator, discriminator = (Optimising(side, config.train, fabric) for side in Stage1(config).sides)
    rates = generator.rates(0) | discriminator.rates(0)
    expected = {
        "trunk": 1e-3,
        "recurrence": 1.25e-4,
        "features": 5e-4,
        "adversarial_head": 2e-3 / 50,
        "latent_head": 3e-3,
    }
    assert rates == pytest.approx(expected)
    head = [discriminator.rates(8 * step)["adversarial_head"] for step in (9, 10, 29, 30, 49, 50)]
    assert head == pytest.approx([2e-3 / 50, 2e-3 / 5, 2e-3 / 5, 2e-3, 2e-3, 1e-3])
    clips = {group.name: group.clip for side in (generator, discriminator) for group in side.groups}
    assert clips == {"trunk": 0, "recurrence": 5, "features": 0, "adversarial_head": 0, "latent_head": 0}


def test_values_of_the_recurrences_gradients_are_clipped(small):
    """Adam hides a clip's size at its first step, so its first moment is looked at."""
    config = small(beta=0, kappa=0, train={"recurrence_clip": 1e-6})
    side = Optimising(Stage1(config).sides[0], config.train, Fabric(accelerator="cpu", devices=1))
    loss, _, _ = side.forward(torch.rand(8, 3, 32, 32))
    side.backward(loss * 1e3)
    side.set_rates(0)
    side.update()
    largest = {
        group.name: max(side.optimiser.state[p]["exp_avg"].abs().max().item() for p in group.parameters)
        for group in side.groups
    }
    assert largest["recurrence"] == pytest.approx(0.1 * 1e-6)
    assert largest["trunk"] > 1e-3


@pytest.mark.parametrize("kappa", [0, 0.02])
def test_a_resting_discriminator_keeps_its_weights_and_their_moments(small, kappa):
    """Adam would go on by its momentum where gradients alone are zero; with mutual information the features learn on."""
    config = small(kappa=kappa, objective={"margin": 0.99})
    stage = Stage1(config)
    fabric = Fabric(accelerator="cpu", devices=1)
    generator, side = (Optimising(side, config.train, fabric) for side in stage.sides)

    def step(margin: float) -> None:
        stage.sides[1].step._margin = margin  # type: ignore[union-attr]
        stage.begin(0)
        _, _, carry = generator.forward(torch.rand(8, 3, 32, 32))
        for _ in range(2):  # parts of one batch
            loss, _, _ = side.forward(*carry)
            side.backward(loss)
        side.set_rates(0)
        assert side.update()

    def state() -> dict[str, list[torch.Tensor]]:
        kept = side.optimiser.state
        return {
            group.name: [t.clone() for p in group.parameters for t in (p.detach(), *kept[p].values())]
            for group in side.groups
        }

    step(0.0)
    before = state()
    step(0.99)
    rested = {
        name: all(map(torch.equal, old, new)) for (name, old), new in zip(before.items(), state().values(), strict=True)
    }
    assert rested == {name: not kappa or name == "adversarial_head" for name in before}
    step(0.0)
    assert not any(map(torch.equal, before["adversarial_head"][::4], state()["adversarial_head"][::4])), "it goes on"
    assert {float(kept["step"]) for kept in side.optimiser.state.values()} == ({2.0, 3.0} if kappa else {2.0})


def test_rates_rise_straight_stay_and_fall_along_a_cosine(small):
    config = small(beta=0, kappa=0, train={"images": 1000, "rate": 0.5, "ramp_images": 80, "cool_down": 0.4})
    side = Optimising(Stage1(config).sides[0], config.train, Fabric(accelerator="cpu", devices=1))
    found = [side.rates(images)["trunk"] for images in (0, 32, 72, 80, 600, 700, 800, 1000)]
    quarter, half = (COOL + (1 - COOL) * part for part in ((2 + 2**0.5) / 4, 0.5))
    assert found == pytest.approx([0.5 * share for share in (0.1, 0.5, 1, 1, 1, quarter, half, COOL)])


@pytest.mark.parametrize("warm_up", [True, False])
def test_a_warm_up_begins_with_the_discriminators_first_step(small, warm_up):
    config = small(objective={"adversarial_after_images": 80}, train={"rate": 1.0, "warm_up": warm_up})
    side = Optimising(Stage1(config).sides[1], config.train, Fabric(accelerator="cpu", devices=1))
    found = [side.rates(80 + 8 * step)["adversarial_head"] for step in (0, 9, 10, 29, 30)]
    rate = config.train.adversarial_head_rate
    shares = (1 / 50, 1 / 50, 1 / 5, 1 / 5, 1) if warm_up else (1,) * 5
    assert found == pytest.approx([rate * share for share in shares])


def test_adam_forgets_at_both_rates_of_the_configuration(small):
    config = small(beta=0, kappa=0, train={"beta1": 0.5, "beta2": 0.75})
    side = Optimising(Stage1(config).sides[0], config.train, Fabric(accelerator="cpu", devices=1))
    loss, _, _ = side.forward(torch.rand(8, 3, 32, 32))
    side.backward(loss)
    gradients = [(p, p.grad.clone()) for p in side.parameters if p.grad is not None]
    side.set_rates(0)
    assert side.update()
    for parameter, gradient in gradients:
        moments = side.optimiser.state[parameter]
        torch.testing.assert_close(moments["exp_avg"], 0.5 * gradient)
        torch.testing.assert_close(moments["exp_avg_sq"], 0.25 * gradient**2)
