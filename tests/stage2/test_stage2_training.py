"""Stage2 through the real commands: runs, exact resume, two ranks, what a user can get wrong, and what comes out."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal

import pytest
import torch
import yaml
from torchvision.io import read_image

import crvae
from crvae.cli import main
from crvae.config.stage1 import ModelConfig
from crvae.models import Autoencoder
from crvae.recipes import RECIPES
from crvae.storage.models import save
from crvae.training import adoption
from processes import Command, ranks
from reference.same import assert_same_end, last_state

VARIANTS = {
    "plain": [],
    "everything": [
        "--train.accumulate",
        "2",
        "--input.flip",
        "--train.halve-every-images",
        "50",
        "--objective.pixel",
        "1",
    ],
    "bf16": ["--train.precision", "bf16"],
}


def test_a_run_carries_its_stage1(upsampled, trained):
    config = yaml.safe_load((upsampled / "config.yaml").read_text())
    assert config["stage"] == 2
    assert len(config["stage1"]) == 64
    for name in ("config.json", "model.safetensors", "discriminator.safetensors"):
        assert (upsampled / "stage1" / name).read_bytes() == (trained / "model" / name).read_bytes()
    line = json.loads((upsampled / "metrics.jsonl").read_text().splitlines()[-1])
    terms = {
        "reconstruction",
        "adversarial_reconstruction",
        "adversarial_sample",
        "discriminator",
        "discriminator_error",
    }
    assert terms <= set(line)
    assert set(line["learning_rate"]) == {"upsampler", "discriminator"}


def dies_at_file(count: int) -> None:
    """Makes this process kill itself before it copies so many files of its Stage1."""
    left, write = [count], adoption.write_bytes

    def dying(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        write(*args, **kwargs)

    adoption.write_bytes = dying


@pytest.mark.parametrize("count", [1, 2])
def test_killed_while_its_stage1_is_copied_there_is_no_run_yet(tmp_path, stage2, count):
    """So the same command can be typed again; a run without its Stage1 could neither be resumed nor begun anew."""
    out = tmp_path / "run"
    command = Command(stage2(out), tmp_path / "log", prepare=functools.partial(dies_at_file, count))
    assert command.wait() == -signal.SIGKILL, command.said()
    assert not out.exists()
    assert main(stage2(out)) == 0
    assert not list(tmp_path.glob(".*"))


def test_the_published_model_holds_its_stage1_unchanged(upsampled, trained, tmp_path):
    """It works from `model/` alone, wherever that is copied."""
    copied = shutil.copytree(upsampled / "model", tmp_path / "elsewhere")
    model, stage1 = crvae.load(copied), crvae.load(trained)
    assert isinstance(model, crvae.Upsampler)
    for (name, one), other in zip(model.stage1.state_dict().items(), stage1.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    images = model.sample(16)
    assert images.shape == (16, 3, 64, 64)
    assert torch.allclose(images, model.upscale(stage1.sample(16)), atol=1e-6)
    assert not model.training


def test_training_moved_the_network_and_its_average(upsampled):
    first = torch.load(upsampled / "checkpoints" / f"{64:012d}" / "state.pt", weights_only=True)
    last = last_state(upsampled)
    for state in ("averaged", "networks"):
        one, other = (s[state] if state == "averaged" else s[state]["model"] for s in (first, last))
        for name in one:
            if name.startswith("stage1."):
                assert torch.equal(one[name], other[name]), name
            elif name.endswith("weight"):
                assert not torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_stopping_and_going_on_changes_nothing(tmp_path, stage2, upsampled, variant):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    if variant == "plain":
        whole = upsampled
    else:
        assert main(stage2(whole, *VARIANTS[variant])) == 0
    assert main(stage2(parts, *VARIANTS[variant], "--train.images", "80")) == 0
    assert main(["train", "--resume", str(parts), "--train.images", "160"]) == 0
    assert_same_end(whole, parts)


def test_perceptual_runs_resume_exactly_too(tmp_path, stage2, offline_network):
    options = ["--train.images", "32"]
    assert main(stage2(tmp_path / "whole", *options, recipe="emoji-stage2-128")) == 0
    assert main(stage2(tmp_path / "parts", "--train.images", "16", recipe="emoji-stage2-128")) == 0
    assert main(["train", "--resume", str(tmp_path / "parts"), *options]) == 0
    assert_same_end(tmp_path / "whole", tmp_path / "parts")
    line = json.loads((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 < line["perceptual"] < 10
    assert not any("pyramid" in name or "perceptual" in name for name in last_state(tmp_path / "whole")["networks"])


def test_two_ranks_do_what_one_does_in_two_parts(tmp_path, stage2):
    for rank in ranks(2, stage2(tmp_path / "two", "--train.images", "96"), tmp_path / "log"):
        assert rank.wait() == 0, rank.said()
    assert main(stage2(tmp_path / "one", "--train.images", "96", "--train.accumulate", "2")) == 0
    states = last_state(tmp_path / "two"), last_state(tmp_path / "one")
    for name, tensor in states[0]["averaged"].items():
        torch.testing.assert_close(tensor, states[1]["averaged"][name], rtol=1e-3, atol=5e-4, msg=name)


@pytest.mark.parametrize("harm", ["weights", "configuration", "missing"])
def test_a_changed_stage1_is_refused_on_resuming(tmp_path, upsampled, capsys, harm):
    run = shutil.copytree(upsampled, tmp_path / "run")
    if harm == "missing":
        shutil.rmtree(run / "stage1")
    else:
        path = run / "stage1" / ("model.safetensors" if harm == "weights" else "config.json")
        data = bytearray(path.read_bytes())
        data[-2] ^= 1
        path.write_bytes(data)
    assert main(["train", "--resume", str(run), "--train.images", "176"]) == 2
    said = capsys.readouterr().err
    assert "stage1" in said
    assert "Traceback" not in said
    assert last_state(run)["images"] == 160


def test_what_a_user_can_mend(tmp_path, stage2, trained, upsampled, colour, pair, capsys):
    """One sentence each, exit code 2, and no folder left behind."""
    other = tmp_path / "other"
    save(other, Autoencoder(ModelConfig(size=64, width=1, latent_channels=8)), recipe="test", images=0)
    out = tmp_path / "out"
    cases = [
        (["train", "emoji-stage2-128", "--data", str(pair), "--out", str(out)], "--stage1 is missing"),
        (stage2(out, stage1=tmp_path / "nowhere"), "nowhere is neither a run"),
        (stage2(out, stage1=upsampled), "is a Stage2 run"),
        (stage2(out, stage1=other), "--model.size 64"),
        (stage2(out, "--model.output-size", "96"), "--pair 96"),
        ([*stage2(out), "--data", str(colour)], "--pair 64"),
        (stage2(out, "--model.output-size", "32"), "--model.output-size must be above --model.size (32), got 32"),
        (stage2(out, "--objective.adversarial", "0"), "--objective.adversarial"),
        (stage2(out, "--objective.perceptual", "1", "--objective.perceptual-network", "vgg99"), "vgg99"),
        (stage2(trained), "already exists"),
    ]
    for args, says in cases:
        assert main(args) == 2, args
        said = capsys.readouterr().err
        assert says in said, said
        assert "Traceback" not in said
        assert not out.exists()


def test_sample_and_reconstruct_give_large_images(upsampled, pair, tmp_path):
    assert main(["sample", str(upsampled), "--count", "3", "--seed", "7", "--out", str(tmp_path / "samples")]) == 0
    found = torch.stack([read_image(str(path)) for path in sorted((tmp_path / "samples").iterdir())])
    expected = ((crvae.load(upsampled).sample(3, seed=7) + 1) * 127.5).round()
    assert found.shape == (3, 3, 64, 64)
    assert (found - expected).abs().max() <= 1
    picture = tmp_path / "pairs.png"
    assert main(["reconstruct", str(upsampled), "--data", str(pair), "--out", str(picture), "--count", "4"]) == 0
    assert read_image(str(picture)).shape[-1] > 8 * 64 // 2


def test_upscale_enlarges_files_of_any_size(upsampled, paint, tmp_path, capsys):
    paint(tmp_path / "images", 2, 32)
    paint(tmp_path / "images" / "more", 1, 50)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    out = tmp_path / "out"
    assert main(["upscale", str(upsampled), "--images", str(tmp_path / "images"), "--out", str(out)]) == 0
    assert len(list(out.iterdir())) == 3
    small = read_image(str(tmp_path / "images" / "001.png")).float() / 127.5 - 1
    expected = ((crvae.load(upsampled).upscale(small[None])[0] + 1) * 127.5).round()
    written = next(read_image(str(path)) for path in sorted(out.iterdir()) if path.stem.endswith("001"))
    assert (written - expected).abs().max() <= 1
    assert "32 to 64 pixels" in capsys.readouterr().err


def test_upscale_refuses_what_it_cannot_use(upsampled, trained, paint, tmp_path, capsys):
    paint(tmp_path / "images", 1, 32)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    images, out = str(tmp_path / "images"), tmp_path / "out"
    cases = [
        ([str(trained), "--images", images], "is a Stage1 model"),
        ([str(upsampled), "--images", str(tmp_path / "broken.png")], "broken.png"),
        ([str(upsampled), "--images", str(tmp_path / "nowhere")], "nowhere does not exist"),
        ([str(upsampled), "--images", images, "--count", "0"], "--count"),
    ]
    for args, says in cases:
        assert main(["upscale", *args, "--out", str(out)]) == 2
        assert says in capsys.readouterr().err
        assert not out.exists()


def test_a_short_run_at_224_pixels(paint, tmp_path):
    """Three steps, a resume, samples: the odd factor works in every part."""
    paint(tmp_path / "pictures", 16, 224)
    sizes = ["--size", "64", "--pair", "224", "--workers", "1"]
    assert main(["prepare", str(tmp_path / "pictures"), str(tmp_path / "data"), *sizes]) == 0
    torch.manual_seed(0)
    save(tmp_path / "stage1", Autoencoder(ModelConfig(width=1, latent_channels=8)), recipe="test", images=0)
    places = ["--stage1", str(tmp_path / "stage1"), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    tiny = ["--model.width", "4", "--model.blocks", "1", "--discriminator.width", "4", "--train.batch", "4"]
    assert main(["train", "lsun-stage2-224", *places, *tiny, "--train.images", "8"]) == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--train.images", "12"]) == 0
    images = crvae.load(tmp_path / "run").sample(2)
    assert images.shape == (2, 3, 224, 224)
    assert torch.isfinite(images).all()
    assert images.std() > 0


def test_the_recipes_that_were_promised():
    sets = ("birds-stage2-128", "celeba-stage2-128", "lsun-stage2-224")
    for name in sets:
        plain, perceptual = RECIPES[name].config, RECIPES[f"{name}-perceptual"].config
        assert plain.objective.perceptual == 0 < perceptual.objective.perceptual
        assert plain.model_dump(exclude={"recipe", "objective"}) == perceptual.model_dump(
            exclude={"recipe", "objective"}
        )
    with_loss, without = RECIPES["emoji-stage2-128"].config, RECIPES["emoji-stage2-128-plain"].config
    assert with_loss.objective.perceptual > 0 == without.objective.perceptual
    assert "--stage1 RUN1" in RECIPES["emoji-stage2-128"].command
