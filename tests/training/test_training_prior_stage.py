"""The prior's phase: what it is fitted to, that it is of the run like the autoencoder, and that stopping it changes nothing."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml
from lightning_fabric.plugins.environments import LightningEnvironment

import crvae
from crvae.cli import main
from crvae.config.prior import PriorConfig
from crvae.data import open_data
from crvae.errors import UserError
from crvae.models import Autoencoder
from crvae.pictures import from_8_bit
from crvae.training import checks, prior_stage, resuming
from crvae.training.cluster import Place
from crvae.training.prior_stage import PriorStage, shuffled
from crvae.training.stage1 import Stage1
from processes import Command, ranks, until
from reference.same import assert_same_end

PRIOR = [
    "--prior.flow.width", "8", "--prior.autoregressive.width", "4", "--prior.autoregressive.mixture", "2", "--prior.batch", "16",
    "--prior.images", "160", "--prior.checkpoint-images", "64", "--prior.report-images", "32",
]  # fmt: skip
KINDS = ("flow", "autoregressive")


def train(
    data: Path, out: Path, tiny: list[str], *more: str, kind: str = "flow", recipe: str = "emoji-crvae-gan-mi"
) -> list[str]:
    return ["train", recipe, "--data", str(data), "--out", str(out), *tiny, "--prior.kind", kind, *PRIOR, *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, colour, tiny) -> Path:
    out = tmp_path_factory.mktemp("prior") / "whole"
    assert main(train(colour, out, tiny)) == 0
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recipe", ["emoji-vae", "emoji-cvae", "emoji-crvae"])
def test_one_command_trains_both_for_every_construction(tmp_path, colour, tiny, kind, recipe):
    out = tmp_path / "run"
    assert main(train(colour, out, tiny, kind=kind, recipe=recipe)) == 0
    model = crvae.load(out)
    assert model.prior.config.kind == kind
    samples = model.sample(3, seed=1)
    assert samples.shape == (3, 3, 32, 32)
    assert torch.equal(samples[:2], model.sample(2, seed=1))
    assert not torch.equal(samples, crvae.load(out, prior="normal").sample(3, seed=1))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines if "prior" in line] == [192, 224, 256, 288, 320]
    assert [path.name for path in sorted((out / "samples").iterdir())][-1] == f"{320:012d}.png"


def test_the_autoencoder_is_that_of_a_run_without_a_prior(whole, trained):
    for name in ("model.safetensors", "discriminator.safetensors"):
        assert (whole / "model" / name).read_bytes() == (trained / "model" / name).read_bytes()
    assert not (trained / "model" / "prior.safetensors").exists()


def test_the_model_says_the_images_that_its_autoencoder_saw(tmp_path, colour, tiny):
    """Whole batches: 150 are 160, as in a run without a prior."""
    assert main(train(colour, tmp_path / "run", tiny, "--train.images", "150")) == 0
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["images"] == 160


def test_its_scale_is_that_of_the_posteriors_it_is_fitted_to(whole, colour):
    """Mean and deviation of every value over draws of the training images' posteriors, estimated by drawing."""
    model = crvae.load(whole)
    assert isinstance(model, Autoencoder)
    split = open_data(colour).split("train")
    posterior = model.encode(from_8_bit(split.images(range(len(split)))))
    torch.manual_seed(0)
    z = torch.cat([posterior.sample().flatten(1) for _ in range(400)])
    shift, scale = (getattr(model.prior, name).flatten() for name in ("shift", "scale"))
    assert (z.mean(0) - shift).abs().max() < 0.1 * scale.max()
    torch.testing.assert_close(z.std(0), scale, rtol=0.1, atol=0.02)


def test_a_mirrored_recipe_fits_mirrored_images_too(small, colour, whole):
    model = crvae.load(whole)
    assert isinstance(model, Autoencoder)
    data = open_data(colour)
    config = small(model={"latent_channels": 8}).model_copy(update={"prior": PriorConfig(kind="flow", batch=8)})
    plain = PriorStage(config, model, None)._posteriors(data)[0]
    flipped = config.model_copy(update={"input": config.input.model_copy(update={"flip": True})})
    both = PriorStage(flipped, model, None)._posteriors(data)[0]
    assert len(both) == 2 * len(plain) == 2 * len(data.split("train"))


def test_a_binarising_recipe_fits_what_its_encoder_saw(small, colour, whole, monkeypatch):
    model = crvae.load(whole)
    assert isinstance(model, Autoencoder)
    config = small(model={"latent_channels": 8}).model_copy(update={"prior": PriorConfig(kind="flow", batch=8)})
    binary = config.model_copy(update={"input": config.input.model_copy(update={"binarise": True})})
    seen, encode = [], model.encode
    monkeypatch.setattr(model, "encode", lambda x: seen.append(x) or encode(x))
    first, again = (PriorStage(binary, model, None)._posteriors(open_data(colour))[0] for _ in range(2))
    assert {value for x in seen for value in x.unique().tolist()} == {-1, 1}
    assert torch.equal(first, again)
    assert not torch.equal(first, PriorStage(config, model, None)._posteriors(open_data(colour))[0])


def test_a_batch_of_latents_that_does_not_divide_is_said_before_training(small, colour, monkeypatch):
    monkeypatch.setattr(checks, "place", lambda: Place(0, 3, 3, LightningEnvironment))
    config = small().model_copy(update={"prior": PriorConfig(kind="flow", batch=256)})
    with pytest.raises(UserError, match=r"--prior\.batch must be a multiple of the number of devices \(3\), got 256"):
        checks.check(config, open_data(str(colour)))


@pytest.mark.parametrize(("count", "batch"), [(5, 2), (7, 7), (3, 8), (54, 16)])
def test_every_epoch_visits_every_row_once_and_any_start_goes_on(count, batch):
    stream = shuffled(count, batch, seed=3, start=0)
    rows = torch.cat([next(stream) for _ in range(4 * count)])
    for epoch in range(3):
        assert sorted(rows[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))
    later = shuffled(count, batch, seed=3, start=3 * batch)
    assert torch.equal(next(later), rows[3 * batch : 4 * batch])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_stopped_anywhere_in_the_prior_it_goes_on_bit_for_bit(tmp_path, colour, tiny, whole, number, code):
    run = tmp_path / "run"
    longer = ["--prior.images", "1600", "--prior.cool-down", "0"]
    command = Command(train(colour, run, tiny, *longer), tmp_path / "log")
    until(lambda: (run / "prior" / f"{64:012d}").exists(), command)
    command.signal(number)
    assert command.wait() == code, command.said()
    if code > 0:
        assert f"crvae train --resume {run}" in command.said()
    assert main(["train", "--resume", str(run)]) == 0
    other = tmp_path / "other"
    assert main(train(colour, other, tiny, *longer)) == 0
    assert_same_end(other, run)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_the_autoencoder_is_published_stops_the_run(
    tmp_path, colour, tiny, whole, monkeypatch, number, code
):
    run, published = tmp_path / "run", Stage1.publish

    def publish(self, folder, images, data):
        published(self, folder, images, data)
        if images >= self.config.train.images:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(Stage1, "publish", publish)
        assert main(train(colour, run, tiny)) == code
    assert not (run / "prior").exists()
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_end(whole, run)


def test_a_prior_that_is_not_finite_names_its_own_rate_and_checkpoints(tmp_path, colour, tiny, whole, capsys):
    run = tmp_path / "run"
    assert main(train(colour, run, tiny, "--prior.rate", "1e30")) == 2
    said = capsys.readouterr().err
    assert f"checkpoint is in {run}/prior. Lower prior.rate in {run}/config.yaml" in said
    assert "latents" in said
    config = run / "config.yaml"
    usual = yaml.safe_load((whole / "config.yaml").read_text())["prior"]["rate"]
    body = yaml.safe_load(config.read_text())
    body["prior"]["rate"] = usual
    config.write_text(yaml.safe_dump(body, sort_keys=False))
    assert main(["train", "--resume", str(run)]) == 0  # what the message says helps
    assert crvae.load(run).sample(2, seed=0).isfinite().all()


def dies(moment: str) -> None:
    """Makes this process kill itself while one prior takes another's place."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def half(folder: Path, **_: object) -> None:
        if folder.name.startswith(".prior"):
            newest = sorted(path for path in folder.iterdir() if path.name.isdigit())[-1]
            for file in newest.iterdir():
                file.unlink()
            die()

    if moment == "before the old one goes":
        resuming.forget_prior = die
    elif moment == "in the middle of it":
        prior_stage.shutil.rmtree = half
    elif moment == "before it is configured":
        resuming.Run.configure = die
    else:
        resuming.prior_training = die


@pytest.mark.parametrize("other", [["--prior.kind", "autoregressive"], ["--prior.rate", "0.01"]])
@pytest.mark.parametrize(
    "moment", ["before the old one goes", "in the middle of it", "before it is configured", "before it is trained"]
)
def test_a_kill_while_a_prior_takes_the_place_of_another(tmp_path, whole, other, moment):
    """The run then goes on to the old prior or to the new one, never to a mixture."""
    run, new = tmp_path / "run", tmp_path / "new"
    for folder in (run, new):
        shutil.copytree(whole, folder)
    assert main(["prior", str(new), *PRIOR, *other]) == 0
    command = Command(["prior", str(run), *PRIOR, *other], tmp_path / "log", prepare=functools.partial(dies, moment))
    assert command.wait() == -signal.SIGKILL, command.said()
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_end(new if moment == "before it is trained" else whole, run)


def test_killed_between_the_two_phases(tmp_path, whole):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "prior")
    shutil.rmtree(run / "model")
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_end(whole, run)


def test_killed_between_its_last_checkpoint_and_its_publication(tmp_path, whole):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "model" / "prior.safetensors").write_bytes(b"")
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_end(whole, run)


def test_two_ranks_stop_and_go_on_alike(tmp_path, colour, tiny):
    def on_two(*args: str) -> None:
        commands = ranks(2, list(args), tmp_path / f"log-{len(list(tmp_path.iterdir()))}")
        assert [command.wait() for command in commands] == [0, 0], commands[0].said()

    one, other = tmp_path / "one", tmp_path / "other"
    on_two(*train(colour, one, tiny))
    shutil.copytree(one, other)
    shutil.rmtree(other / "prior" / f"{160:012d}")
    on_two("train", "--resume", str(other))
    assert_same_end(one, other)


def test_more_training_of_the_autoencoder_fits_the_prior_anew(tmp_path, colour, tiny, whole):
    run, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(whole, run)
    assert main(["train", "--resume", str(run), "--train.images", "192"]) == 0
    assert main(train(colour, other, tiny, "--train.images", "192")) == 0
    assert_same_end(other, run)


def test_grids_of_a_prior_that_is_forgotten_go(tmp_path, whole):
    """Longer training of the autoencoder ends behind the old prior's grid, which would count as one of its own."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    assert (run / "samples" / f"{320:012d}.png").exists()
    (run / "samples" / "mine.png").write_bytes(b"kept")
    assert main(["train", "--resume", str(run), "--train.images", "400"]) == 0
    grids = [path.name for path in sorted((run / "samples").iterdir())]
    assert grids == [*(f"{images:012d}.png" for images in (96, 160, 192, 288, 384, 400, 560)), "mine.png"]


def test_crvae_prior_fits_and_replaces(tmp_path, whole, trained, colour):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert main(["prior", str(run), *PRIOR]) == 0
    assert_same_end(whole, run)
    assert main(["prior", str(run), "--prior.kind", "autoregressive", *PRIOR]) == 0
    assert crvae.load(run).prior.config.kind == "autoregressive"
    assert main(["prior", str(run), "--prior.kind", "normal"]) == 0
    assert crvae.load(run).prior.config.kind == "normal"
    assert not (run / "model" / "prior.safetensors").exists()
    assert not (run / "prior").exists()


def test_bad_input(tmp_path, colour, tiny, whole, capsys):
    for args, words in (
        (train(colour, tmp_path / "a", tiny, kind="flood"), "--prior.kind must be one of normal, flow, autoregressive"),
        (["prior", str(whole), "--prior.kind", "flood"], "--prior.kind must be one of"),
        (["prior", str(tmp_path / "none")], "is not a run"),
        (["prior", str(whole), "--prior.images", "0"], "--prior.images must be"),
        (train(colour, tmp_path / "b", tiny, "--prior.batch", "1"), "--prior.batch must be"),
    ):
        assert main(args) == 2
        said = capsys.readouterr().err
        assert words in said, said
        assert len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_unfinished_autoencoder_gets_no_prior(tmp_path, whole, capsys):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "checkpoints" / f"{160:012d}")
    assert main(["prior", str(run), *PRIOR]) == 2
    assert "Finish its training first" in capsys.readouterr().err
