"""The discriminator that joins in later: an autoencoder alone until then, and nothing of it lost or skipped on resume."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from crvae.cli import main
from crvae.config.stage1 import TrainConfig
from crvae.errors import UserError
from crvae.storage.models import load, load_discriminator
from crvae.tasks.completion import Search, complete
from crvae.tasks.occlusion import rectangle
from crvae.training.optimising import COOL, shape
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


def state_at_80(run, data, tiny) -> dict:
    """The training state at the moment of joining in."""
    assert main(command(data, run, tiny, "--train.checkpoint-images", "80", "--train.images", "96")) == 0
    (checkpoint,) = (path for path in (run / "checkpoints").iterdir() if int(path.name) == 80)
    return torch.load(checkpoint / "state.pt", weights_only=True)


def test_until_then_it_is_the_autoencoder_alone(tmp_path, colour, tiny):
    """At the moment of joining in, bit for bit the run of the recipe without a discriminator."""
    alone = tmp_path / "alone"
    assert (
        main(["train", "emoji-crvae", "--data", str(colour), "--out", str(alone), *tiny, "--train.images", "80"]) == 0
    )
    ours, theirs = state_at_80(tmp_path / "until", colour, tiny), last_state(alone)
    assert ours["images"] == theirs["images"] == 80
    for name, tensor in theirs["networks"]["model"].items():
        assert torch.equal(ours["networks"]["model"][name], tensor), name


def test_the_discriminator_moves_from_then_on(tmp_path, late, colour, tiny):
    before, after = state_at_80(tmp_path / "until", colour, tiny), last_state(late)
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
    shutil.copytree(late, run)
    for checkpoint in (run / "checkpoints").iterdir():
        if int(checkpoint.name) > 64:
            shutil.rmtree(checkpoint)
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_end(late, run)


def test_a_negative_count_is_refused(tmp_path, colour, tiny, capsys):
    run = tmp_path / "run"
    assert main(command(colour, run, tiny, "--objective.adversarial-after-images", "-1")) == 2
    assert "adversarial-after-images" in capsys.readouterr().err
    assert not run.exists()


@pytest.mark.parametrize(("images", "refused"), [("80", True), ("81", False)])
def test_a_discriminator_that_would_never_start_is_refused_before_training(
    tmp_path, colour, tiny, capsys, images: str, refused: bool
):
    run = tmp_path / "run"
    assert main(command(colour, run, tiny, "--train.images", images)) == (2 if refused else 0)
    said = capsys.readouterr().err
    assert run.exists() != refused
    if refused:
        assert "starts after 80 images, and the last batch of the run begins at 64" in said
        assert "--objective.adversarial-after-images 48" in said
        offered = ["--objective.adversarial-after-images", "48"]
        assert main(command(colour, run, tiny, "--train.images", images, *offered)) == 0
    else:
        assert json.loads((run / "model" / "config.json").read_text())["discriminator_images"] == 16


def test_a_batch_that_begins_before_the_moment_does_not_count(tmp_path, colour, tiny, capsys):
    run = tmp_path / "run"
    late = ["--objective.adversarial-after-images", "81", "--train.images", "96"]
    assert main(command(colour, run, tiny, *late)) == 2
    assert not run.exists()
    assert main(command(colour, run, tiny, *late, "--train.images", "97")) == 0
    assert json.loads((run / "model" / "config.json").read_text())["discriminator_images"] == 16


def test_resuming_to_a_total_before_the_moment_is_refused(late, capsys):
    assert main(["train", "--resume", str(late), "--train.images", "80"]) == 2
    assert "ends before the discriminator" in capsys.readouterr().err
    assert "images: 160" in (late / "config.yaml").read_text()


def test_a_model_says_how_long_its_discriminator_was_trained(late, tmp_path):
    body = json.loads((late / "model" / "config.json").read_text())
    assert body["discriminator_images"] == 80
    assert load_discriminator(late).seen == 80
    out = tmp_path / "shared"
    assert main(["export", str(late), str(out), "--discriminator", "--licence", "mit"]) == 0
    assert json.loads((out / "config.json").read_text())["discriminator_images"] == 80
    assert "trained on 80 images" in (out / "README.md").read_text()


@pytest.mark.parametrize("seen", [-1, 0.5, True, "80", []])
def test_a_broken_count_is_refused(late, tmp_path, seen):
    shutil.copytree(late / "model", tmp_path / "model")
    body = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(body | {"discriminator_images": seen}))
    with pytest.raises(UserError, match="discriminator_images"):
        load_discriminator(tmp_path / "model")


def test_completion_with_an_untrained_discriminator_is_completion_without(late, tmp_path, colour, capsys):
    """A run of the past whose discriminator never started, written down as such; older models do not say, and are trusted."""
    folders = {}
    for name, seen in (("untrained", 0), ("trained", 80), ("older", None)):
        folders[name] = tmp_path / name
        shutil.copytree(late / "model", folders[name])
        body = json.loads((folders[name] / "config.json").read_text())
        del body["discriminator_images"]
        body |= {} if seen is None else {"discriminator_images": seen}
        (folders[name] / "config.json").write_text(json.dumps(body))
    folders["bare"] = tmp_path / "bare"
    shutil.copytree(late / "model", folders["bare"])
    (folders["bare"] / "discriminator.safetensors").unlink()
    losses, options = {}, ["--images", str(colour), "--mask", "upper", "--count", "2", "--steps", "3"]
    for name, folder in folders.items():
        out = tmp_path / f"{name}-out"
        assert main(["complete", str(folder), *options, "--out", str(out)]) == 0
        said = capsys.readouterr().err
        assert ("as with --tau 0" in said) == (name in ("untrained", "bare"))
        assert ("never trained" in said) == (name == "untrained")
        report = json.loads((out / "completions.json").read_text())
        losses[name] = report["masks"]
        assert report["search"]["tau"] == (0 if name in ("untrained", "bare") else 20)
    assert losses["untrained"] == losses["bare"]
    assert losses["trained"] == losses["older"]
    x, mask = load(late).sample(2), rectangle((0.0, 0.5, 1.0, 1.0), 32)
    found = complete(load(late), x, mask, load_discriminator(folders["untrained"]), Search(tau=20.0, steps=2))  # type: ignore[arg-type]
    assert "adversarial" not in found.losses


def test_rates_of_a_last_batch_that_reaches_beyond_the_end():
    """97 images in batches of 16 are 112: without a cool-down nothing is divided by its length, 0."""
    assert shape(112, TrainConfig(images=97, batch=16)) == 1
    assert shape(112, TrainConfig(images=97, batch=16, cool_down=0.5)) == pytest.approx(COOL)


@pytest.mark.parametrize(("images", "after"), [("16", "8"), ("20", "18"), ("96", "90")])
@pytest.mark.parametrize("way", [0, 1])
def test_whatever_the_refusal_offers_trains(tmp_path, colour, tiny, capsys, images, after, way):
    """Both ways, typed as they are written: a run of one batch, too, and a recipe whose other terms need the discriminator."""
    run, words = tmp_path / "run", ["--train.images", images]
    assert main(command(colour, run, tiny, *words, "--objective.adversarial-after-images", after)) == 2
    said = capsys.readouterr().err.strip().partition("Pass ")[2].removesuffix(" to train without it")
    offered = said.split(", or ")[way].split()
    assert main(command(colour, run, tiny, *words, "--objective.adversarial-after-images", after, *offered)) == 0
