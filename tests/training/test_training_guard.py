"""Losses and gradients that are not finite stop training before the update; divergence that is finite is said in words."""

from __future__ import annotations

import copy
import functools
import itertools
import os
import shutil
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from crvae.cli import main
from crvae.data import open_data
from crvae.errors import UserError
from crvae.training.diagnosis import diagnose
from crvae.training.loop import Training
from crvae.training.stage1 import GeneratorStep, Stage1
from processes import ranks
from reference.same import assert_same_end, difference, last_state


def poison(images: int, rank: str = "0") -> None:
    """From `images` on, in batches of 16, an image holds a pixel that is no number (as a broken device would make it)."""
    forward = GeneratorStep.forward
    steps = itertools.count()

    def poisoned(self, x):
        if 16 * next(steps) >= images and os.environ.get("RANK", "0") == rank:
            x[0, 0, 0, 0] = torch.nan
        return forward(self, x)

    GeneratorStep.forward = poisoned  # type: ignore[method-assign]


@pytest.fixture
def training(small, colour):
    """A Training of a small model that has seen nothing yet."""

    def make(**options) -> Training:
        torch.manual_seed(0)
        stage = Stage1(small(**options))
        return Training(stage, None, open_data(str(colour)), Fabric(accelerator="cpu", devices=1))

    return make


def weights(training: Training) -> dict:
    """A copy of all parameters and of all optimisers' moments (of batch norm's statistics nothing: a forward moves them)."""
    networks = training.stage.networks
    parameters = {
        name: {n: p.detach().clone() for n, p in network.named_parameters()} for name, network in networks.items()
    }
    return {
        "parameters": parameters,
        "moments": {name: copy.deepcopy(saved["state"]) for name, saved in training.state()["optimisers"].items()},
    }


def step(training: Training, images: torch.Tensor) -> bool:
    _, finite = training.step((images,), training.images)
    return bool(finite)


def test_an_input_that_is_not_finite_changes_no_weight(training, monkeypatch):
    trainee = training()
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    assert step(trainee, images)
    before = weights(trainee)
    inputs = Stage1.inputs
    monkeypatch.setattr(Stage1, "inputs", lambda self, stored: (inputs(self, stored)[0] * torch.nan,))
    assert not step(trainee, images)
    assert difference(before, weights(trainee)) is None


def test_a_loss_that_is_not_finite_changes_no_weight_even_if_its_gradient_is(training, monkeypatch):
    """A squared error may overflow where its derivative does not."""
    from crvae import objectives

    trainee = training(beta=0, kappa=0)
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    assert step(trainee, images)
    before = weights(trainee)
    gaussian = objectives.gaussian_error
    monkeypatch.setattr(objectives, "gaussian_error", lambda *args: gaussian(*args) + torch.inf)
    assert not step(trainee, images)
    assert difference(before, weights(trainee)) is None


def test_a_gradient_that_is_not_finite_changes_no_weight(training):
    """The loss is finite: only one side's gradient is not."""
    trainee = training()
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    assert step(trainee, images)
    before = weights(trainee)
    parameter = trainee.step.sides[0].parameters[0]
    handle = parameter.register_hook(lambda gradient: gradient * torch.inf)
    assert not step(trainee, images)
    handle.remove()
    after = weights(trainee)
    assert difference(before["parameters"]["model"], after["parameters"]["model"]) is None
    assert difference(before["moments"]["generator"], after["moments"]["generator"]) is None
    assert step(trainee, images)


def test_training_stops_names_the_term_and_keeps_the_last_good_state(tmp_path, colour, tiny, trained, monkeypatch, capsys):  # fmt: skip
    run = tmp_path / "a run"
    command = ["train", "emoji-crvae-gan-mi", "--data", str(colour), "--out", str(run), *tiny]
    monkeypatch.setattr(GeneratorStep, "forward", GeneratorStep.forward)  # put back what `poison` changes
    poison(96)
    assert main(command) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the term 'kl' is not finite at 112 images" in said
    assert "The weights were not updated with it" in said
    assert f"crvae train --resume '{run}'" in said
    assert last_state(run)["images"] == 64
    monkeypatch.undo()
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_end(trained, run)


def test_a_signal_before_a_step_that_is_not_finite_saves_nothing_of_it(tmp_path, colour, tiny, trained, monkeypatch, capsys):  # fmt: skip
    """The signal of one step is read after the next one, which has spoilt batch norm's statistics."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(GeneratorStep, "forward", GeneratorStep.forward)
        poison(80)
        flags = Training._flags
        patch.setattr(Training, "_flags", lambda self, finite, _: flags(self, finite, 15 * (self.images == 80)))
        assert main(["train", "emoji-crvae-gan-mi", "--data", str(colour), "--out", str(run), *tiny]) == 2
    assert "is not finite at 96 images" in " ".join(capsys.readouterr().err.split())
    assert last_state(run)["images"] == 64
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_end(trained, run)


def test_a_learning_rate_may_be_lowered_as_the_sentence_says(tmp_path, trained):
    run = shutil.copytree(trained, tmp_path / "run")
    text = (run / "config.yaml").read_text()
    assert "\n  rate: 0.0" in text
    lines = ["  rate: 1.0e-06" if line.startswith("  rate: ") else line for line in text.splitlines()]
    (run / "config.yaml").write_text("\n".join(lines) + "\n")
    assert main(["train", "--resume", str(run), "--train.images", "176"]) == 0
    import json

    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["learning_rate"]["trunk"] == pytest.approx(1e-6)


def test_all_ranks_stop_where_one_is_not_finite(tmp_path, colour, tiny):
    run = tmp_path / "run"
    command = ["train", "emoji-crvae-gan-mi", "--data", str(colour), "--out", str(run), *tiny]
    started = ranks(2, command, tmp_path / "log", prepare=functools.partial(poison, 96, "1"))
    assert [rank.wait() for rank in started] == [2, 2], started[0].said()
    assert "the term 'kl' is not finite at 112 images" in " ".join(started[0].said().split())
    assert last_state(run)["images"] == 64


@pytest.fixture
def healthy() -> dict:
    return {
        "images": 50_000, "kl_per_step": [5.0] * 8, "posterior_deviation": 0.8, "discriminator_error": 0.2,
        "mutual_information_explained": 0.6,
    }  # fmt: skip


def test_a_healthy_run_is_not_commented(healthy):
    assert diagnose(healthy) == {}
    assert diagnose({"images": 50_000, "kl_per_step": [1.0]}) == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"discriminator_error": 0.0}, "discriminator errs on 0.0% of the images only"),
        ({"discriminator_error": 0.5}, "it guesses, and teaches nothing"),
        ({"kl_per_step": [5.0, 0.01, 5.0, 0.0, 5, 5, 5, 5]}, "posterior collapse: time steps [2, 4] carry under"),
        ({"kl_per_step": [0.01] * 8}, "posterior collapse: all time steps carry under"),
        ({"posterior_deviation": 1e-5}, "the variance path has saturated"),
        ({"posterior_deviation": 1e5}, "the variance path has saturated"),
        ({"mutual_information_explained": 0.1}, "explains 10% of the latent's variance"),
    ],
)
def test_finite_divergence_in_words(healthy, change, words):
    found = diagnose(healthy | change)
    assert len(found) == 1
    assert words in next(iter(found.values()))
    assert diagnose(healthy | change | {"images": 1000}) == {}  # everything looks broken at the start


def test_state_that_does_not_fit_is_refused_before_anything_is_used(training, tmp_path: Path):
    trainee = training()
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    assert step(trainee, images)
    name = next(iter(trainee.state()["networks"]["model"]))

    def saved() -> dict:
        torch.save(trainee.state(), tmp_path / "state.pt")
        return torch.load(tmp_path / "state.pt", weights_only=True)

    def moments(state: dict) -> dict:
        return state["optimisers"]["generator"]["state"][0]

    for change in (
        lambda s: s["networks"].pop("discriminator"),
        lambda s: s["networks"]["model"].pop(name),
        lambda s: s["networks"]["model"].update(extra=torch.zeros(1)),
        lambda s: s["networks"]["model"].update({name: s["networks"]["model"][name].double()}),
        lambda s: s["networks"]["model"].update({name: torch.zeros(1)}),
        lambda s: s["networks"]["model"].update({name: "text"}),
        lambda s: s["networks"]["model"][name].fill_(torch.nan),
        lambda s: s["averaged"].pop(next(iter(s["averaged"]))),
        lambda s: s.update(averaged=None),
        lambda s: s.update(images=-1),
        lambda s: s.update(images="many"),
        lambda s: s.update(optimisers=[]),
        lambda s: moments(s).update(exp_avg=torch.zeros(1)),
        lambda s: moments(s)["exp_avg_sq"].fill_(torch.inf),
        lambda s: moments(s).pop("step"),
        lambda s: s["optimisers"]["generator"]["state"].update({999: moments(s)}),
    ):
        state = saved()
        change(state)
        before = weights(trainee)
        with pytest.raises(UserError, match="does not fit the run's configuration"):
            trainee.restore(state)
        assert difference(before, weights(trainee)) is None
    state = saved()
    state["optimisers"]["generator"]["param_groups"] = "anything"  # rates and the like are the configuration's
    trainee.restore(state)
    assert step(trainee, images)
