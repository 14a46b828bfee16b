"""Configuration: what is refused, in which words; nothing is coerced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crvae.config.base import numbers
from crvae.config.prior import PriorConfig
from crvae.config.stage1 import (
    DiscriminatorConfig,
    InputConfig,
    ModelConfig,
    ObjectiveConfig,
    Stage1Config,
    TrainConfig,
)
from crvae.config.stage2 import UpsamplerConfig
from crvae.errors import UserError
from crvae.models.discriminators import build_discriminator
from crvae.models.latent import construct
from crvae.models.priors import prior_config
from crvae.recipes import named

BAD = [
    (ModelConfig, {"width": 0}),
    (ModelConfig, {"width": "8"}),
    (ModelConfig, {"width": 8.0}),
    (ModelConfig, {"width": True}),
    (ModelConfig, {"size": 63}),
    (ModelConfig, {"latent": "no name"}),
    (ModelConfig, {"channels": 2}),
    (ModelConfig, {"residual": "yes"}),
    (ModelConfig, {"residual": 1}),
    (ModelConfig, {"steps": 3}),
    (ModelConfig, {"steps": 0}),
    (ModelConfig, {"batch_norm_eps": float("nan")}),
    (ModelConfig, {"batch_norm_eps": float("inf")}),
    (ModelConfig, {"batch_norm_eps": "1e-6"}),
    (ModelConfig, {"colour": 3}),
    (DiscriminatorConfig, {"dropout": 1.0}),
    (DiscriminatorConfig, {"kernels": -1}),
    (ObjectiveConfig, {"adversarial": -0.1}),
    (ObjectiveConfig, {"kl_weights": "1,2,x"}),
    (ObjectiveConfig, {"kl_weights": "1,-2"}),
    (ObjectiveConfig, {"kl_weights": "1,nan"}),
    (ObjectiveConfig, {"margin": 1.0}),
    (InputConfig, {"flip": 0}),
    (TrainConfig, {"rate": 0.0}),
    (TrainConfig, {"rate": -1.0}),
    (TrainConfig, {"batch": 1}),
    (TrainConfig, {"beta1": 1.0}),
    (TrainConfig, {"seed": -1}),
    (TrainConfig, {"seed": 2**32}),
    (TrainConfig, {"precision": "fp16"}),
    (TrainConfig, {"images": 0}),
    (UpsamplerConfig, {"size": 64, "output_size": 64}),
]


@pytest.mark.parametrize(("kind", "values"), BAD, ids=lambda value: str(value))
def test_refused(kind, values: dict):
    with pytest.raises(ValidationError):
        kind.model_validate(values)


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({"objective": ObjectiveConfig(adversarial=0, mutual_information=0.1)}, "mutual-information"),
        ({"objective": ObjectiveConfig(kl_weights="1,2")}, "kl-weights"),
        ({"objective": ObjectiveConfig(mutual_information=0.1, mutual_information_weights="1,2")}, "weights"),
        ({"input": InputConfig(binarise=True)}, "binarise"),
        ({"model": ModelConfig(likelihood="bernoulli")}, "likelihood"),
        ({"train": TrainConfig(batch=24)}, "batch"),
        ({"train": TrainConfig(batch=64, accumulate=8)}, "batch"),  # parts of 8 images, groups of 16
        ({"train": TrainConfig(batch=64, accumulate=3)}, "batch"),
        ({"train": TrainConfig(batch=126), "discriminator": DiscriminatorConfig(mixed_batch=True)}, "batch"),
    ],
)
def test_parts_that_do_not_go_together(parts: dict, word: str):
    with pytest.raises(ValidationError, match=word):
        Stage1Config(recipe="test", **parts)


def test_what_does_not_fit_names_its_option_in_python():
    with pytest.raises(UserError, match=r"^--model\.output-size must be above --model\.size \(64\), got 40$"):
        named("emoji-stage2-128").with_options({"model__output_size": 40})
    assert named("emoji-stage2-128").with_options({"model__output_size": 65}).model.output_size == 65


def test_groups_must_fill_every_part_of_a_batch():
    """Images of different kinds would else be compared in one group."""
    config = Stage1Config(recipe="test", train=TrainConfig(batch=64))
    assert not config.undivided(4)
    assert "--discriminator.group (16)" in config.undivided(8)
    assert "devices" in config.undivided(3)
    alone = Stage1Config(recipe="test", objective=ObjectiveConfig(adversarial=0), train=TrainConfig(batch=64))
    assert not alone.undivided(8)


def test_it_is_frozen_and_comes_back_from_data():
    config = Stage1Config(recipe="test", model=ModelConfig(width=4))
    with pytest.raises(ValidationError):
        config.model.width = 5  # type: ignore[misc]
    assert Stage1Config.model_validate(config.model_dump()) == config
    assert Stage1Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("body", [{"format": 2}, {"stage": 2}, {"extra": 1}, {"recipe": None}, {"model": []}])
def test_a_body_from_elsewhere(body: dict):
    with pytest.raises(ValidationError):
        Stage1Config.model_validate({"recipe": "test"} | body)


@given(st.lists(st.floats(0, 1e30, allow_nan=False), max_size=20))
def test_comma_lists_come_back(values: list[float]):
    assert numbers(", ".join(map(repr, values))) == tuple(values)


@given(st.text(max_size=40))
def test_any_text_is_numbers_or_refused_in_words(text: str):
    values: tuple[float, ...] = ()
    said = "must be"
    try:
        values = numbers(text)
    except ValueError as error:
        said = str(error)
    assert "must be" in said
    assert all(value >= 0 for value in values)


@given(st.integers(1, 300))
def test_the_two_levels_split_at_three_eighths(steps: int):
    weights = ObjectiveConfig(kl_early=2.0, kl_late=1.0).kl_per_step(steps)
    early = sum(weight == 2.0 for weight in weights)
    assert len(weights) == steps
    assert 3 * steps / 8 <= early < 3 * steps / 8 + 1
    assert list(weights) == sorted(weights, reverse=True)


@pytest.mark.parametrize(
    ("build", "near"),
    [
        (lambda: construct(ModelConfig.model_construct(latent="recurent")), "'recurrent'"),
        (lambda: prior_config(PriorConfig(kind="flw")), "'flow'"),
        (lambda: build_discriminator(DiscriminatorConfig(kind="projectd"), ModelConfig(), None), "'projected'"),
    ],
)
def test_a_near_name_of_a_part_is_offered(build, near):
    with pytest.raises(UserError, match=f"did you mean {near}"):
        build()
