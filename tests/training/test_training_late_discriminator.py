"""The discriminator that joins in later: an autoencoder alone until then, and nothing of it lost or skipped on resume."""

from __future__ import annotations

import json

import pytest
import torch

from crvae.cli import main
from reference.same import assert_same_end, last_state

ADVERSARIAL = {
    "adversarial_sample",
    "adversarial_reconstruction",
    "discriminator",
    "discriminator_error",
    "mutual_information",
}


@pytest.fixture(scope="module")
def late(tmp_path_factory, colour, tiny):
    """A run of 160 images whose discriminator joins in at 80."""
    run = tmp_path_factory.mktemp("late") / "run"
    assert main(command(colour, run, tiny)) == 0
    return run


def command(data, run, tiny, *more: str) -> list[str]:
    late = ["--objective.adversarial-after-images", "80"]
    return ["train", "emoji-crvae-gan-mi", "--data", str(data), "--out", str(run), *tiny, *late, *more]


def test_until_then_it_is_the_autoencoder_alone(tmp_path, colour, tiny):
    """At the moment of joining in, bit for bit the run of the recipe without a discriminator."""
    alone, until = tmp_path / "alone", tmp_path / "until"
    assert (
        main(["train", "emoji-crvae", "--data", str(colour), "--out", str(alone), *tiny, "--train.images", "80"]) == 0
    )
    assert main(command(colour, until, tiny, "--train.images", "80")) == 0
    ours, theirs = last_state(until), last_state(alone)
    assert ours["images"] == theirs["images"] == 80
    for name, tensor in theirs["networks"]["model"].items():
        assert torch.equal(ours["networks"]["model"][name], tensor), name


def test_the_discriminator_moves_from_then_on(tmp_path, late, colour, tiny):
    until = tmp_path / "until"
    assert main(command(colour, until, tiny, "--train.images", "80")) == 0
    before, after = last_state(until), last_state(late)
    assert not before["optimisers"]["discriminator"]["state"], "it stepped before it was asked"
    steps = {float(moments["step"]) for moments in after["optimisers"]["discriminator"]["state"].values()}
    assert steps == {80 / 16}
    weights = before["networks"]["discriminator"], after["networks"]["discriminator"]
    assert all(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0] if name.endswith("weight"))


def test_its_terms_are_reported_from_then_on_as_means_over_the_steps_that_had_them(late):
    lines = [json.loads(line) for line in (late / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert ADVERSARIAL & set(line) == (ADVERSARIAL if line["images"] > 80 else set()), line["images"]
    across = next(line for line in lines if line["images"] > 80)
    assert 0.3 < across["discriminator"] < 3, "about 2 log 2 at the start; less were it a mean over all steps"


def test_a_run_that_resumes_across_the_moment_is_the_undisturbed_one(tmp_path, late, colour, tiny):
    run = tmp_path / "run"
    assert main(command(colour, run, tiny, "--train.images", "64")) == 0
    assert main(["train", "--resume", str(run), "--train.images", "160"]) == 0
    assert_same_end(late, run)


def test_a_negative_count_is_refused(tmp_path, colour, tiny, capsys):
    run = tmp_path / "run"
    assert main(command(colour, run, tiny, "--objective.adversarial-after-images", "-1")) == 2
    assert "adversarial-after-images" in capsys.readouterr().err
    assert not run.exists()
