"""`crvae.prepare`, `train`, `resume`, `evaluate` and `show`: the command's results, its refusals, and the documented examples."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import crvae
from crvae.cli import main
from crvae.errors import UserError
from crvae.recipes import RECIPES


def keywords(options: list[str]) -> dict[str, object]:
    """`--train.images 160` -> `train__images=160`."""
    pairs = zip(options[::2], options[1::2], strict=True)
    return {
        name.removeprefix("--").replace(".", "__").replace("-", "_"): int(value) if value.isdigit() else value
        for name, value in pairs
    }


# ---- train ------------------------------------------------------------------------------------------------------------


def test_train_makes_the_same_run_as_the_command(tmp_path, colour, tiny, trained):
    model = crvae.train("emoji-crvae-gan-mi", colour, tmp_path / "run", **keywords(tiny))
    for name in ("model", "discriminator"):
        mine, its = (load_file(run / "model" / f"{name}.safetensors") for run in (tmp_path / "run", trained))
        assert mine.keys() == its.keys()
        assert all(torch.equal(mine[key], its[key]) for key in its)
    assert (tmp_path / "run/config.yaml").read_text() == (trained / "config.yaml").read_text()
    assert torch.equal(model.sample(3), crvae.load(trained).sample(3))
    assert not model.training


def test_no_options_are_the_recipe():
    for recipe in RECIPES.values():
        assert recipe.with_options({}) == recipe.config


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train__imges": 5}, "there is no option train__imges (did you mean 'train__images'?)"),
        ({"train": {"images": 5}}, "train__images for --train.images"),
        ({"format": 1}, "there is no option format"),
        ({"train__rate": -1}, "--train.rate must be greater than 0, got -1"),
        ({"train__images": "5"}, "--train.images must be a valid integer, got '5'"),
        ({"model__steps": 7}, "--model.steps must divide"),
        ({"train__batch": 100_000}, "--train.batch 100000 is larger than the train split"),
        ({"stage1": "x"}, "--stage1 is for Stage2 recipes, and emoji-crvae-gan-mi is not one"),
    ],
)
def test_train_refuses(tmp_path, colour, tiny, options, words):
    with pytest.raises(UserError, match=re.escape(words)):
        crvae.train("emoji-crvae-gan-mi", colour, tmp_path / "run", **(keywords(tiny) | options))
    assert list(tmp_path.iterdir()) == []


def test_train_refuses_places(tmp_path, colour, tiny, trained):
    with pytest.raises(UserError, match="exists"):
        crvae.train("emoji-crvae-gan-mi", colour, trained, **keywords(tiny))
    with pytest.raises(UserError, match="there is no recipe 'emoji-crvae-gan-mo'"):
        crvae.train("emoji-crvae-gan-mo", colour, tmp_path / "run")
    with pytest.raises(UserError, match="--stage1 is missing"):
        crvae.train("emoji-stage2-128", "nowhere", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_run_is_resumed_by_the_same_process(tmp_path, colour, tiny, trained, monkeypatch):
    """The lock is given back although the exception, as in a notebook, keeps the run alive; the end is the undisturbed one."""
    from crvae.training.reporting import Reporter

    def stop(self, images, *rest):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Reporter, "report", stop)
    with pytest.raises(KeyboardInterrupt, match=r"Continue with crvae.resume\('.*run'\)") as kept:
        crvae.train("emoji-crvae-gan-mi", colour, tmp_path / "run", **keywords(tiny))
    assert kept.value is not None
    monkeypatch.undo()
    model = crvae.resume(tmp_path / "run")
    assert torch.equal(model.sample(3), crvae.load(trained).sample(3))
    with pytest.raises(UserError, match="is not a run"):
        crvae.resume(tmp_path)


# ---- prepare ----------------------------------------------------------------------------------------------------------


def test_prepare_makes_the_same_data_as_the_command(tmp_path, painted):
    painted(tmp_path / "pictures", 20, 32)
    data = crvae.prepare(tmp_path / "pictures", tmp_path / "python", size=16, channels=1)
    assert (
        main(["prepare", str(tmp_path / "pictures"), str(tmp_path / "command"), "--size", "16", "--channels", "1"]) == 0
    )
    assert data.card == crvae.open_data(tmp_path / "command").card
    assert crvae.open_data(data).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 4}, "--size must lie between 8 and 512, got 4"),
        ({"sise": 64}, "--sise"),
        ({"style": "avataaars"}, "--style"),
        ({"crop": "box"}, "--crop box"),
    ],
)
def test_prepare_refuses(tmp_path, painted, options, words):
    painted(tmp_path / "pictures", 3, 16)
    with pytest.raises(UserError, match=words):
        crvae.prepare(tmp_path / "pictures", tmp_path / "out", **options)
    with pytest.raises(UserError, match="exists"):
        crvae.prepare(tmp_path / "pictures", tmp_path / "pictures")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_a_split_gives_images_as_models_take_them(colour):
    split = crvae.open_data(colour).split("train")
    stored = split.images(range(len(split)))
    assert torch.equal(split[3], stored[3] / 127.5 - 1)
    assert torch.equal(split[-1], split[len(split) - 1])
    assert torch.equal(split[2:9:3], stored[[2, 5, 8]] / 127.5 - 1)
    assert torch.equal(split[[4, 4]], stored[[4, 4]] / 127.5 - 1)
    assert split[5:5].shape == (0, 3, 32, 32)
    assert len(list(split)) == len(split)
    for index in (len(split), -len(split) - 1):
        with pytest.raises(IndexError, match=str(index)):
            split[index]


# ---- evaluate ---------------------------------------------------------------------------------------------------------


def test_evaluate_gives_the_command_s_scores(colour, trained, capsys):
    options = {"scores": "kl, reconstruction", "split": "train", "images": 24}
    scores = crvae.evaluate(trained, colour, **options)
    capsys.readouterr()
    args = ["--data", str(colour), "--scores", "kl,reconstruction", "--split", "train", "--images", "24", "--json"]
    assert main(["evaluate", str(trained), *args]) == 0
    assert scores.json() == json.loads(capsys.readouterr().out)
    assert set(scores) >= {"kl", "psnr"}
    assert scores["psnr"].low <= scores["psnr"].value <= scores["psnr"].high
    loaded = crvae.evaluate(
        crvae.load(trained), crvae.open_data(colour), **options | {"scores": ["kl", "reconstruction"]}
    )
    assert loaded.json() == scores.json()
    page = scores._repr_html_()
    assert page.count("<tr>") == 1 + len(scores)
    assert f"{scores['kl'].value:.5g}" in page
    assert str(trained) in repr(scores)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scores": "kld"}, "there is no score 'kld'"),
        ({"scores": "is"}, "--classifier"),
        ({"samples": 0}, "--samples must lie between 1 and 10000, got 0"),
        ({"images": -1}, "--images must lie between"),
        ({"observation_variance": float("nan")}, "--observation-variance"),
        ({"split": "tets"}, "has no 'tets' split"),
    ],
)
def test_evaluate_refuses(colour, trained, options, words):
    with pytest.raises(UserError, match=words):
        crvae.evaluate(trained, colour, **options)


def test_evaluate_refuses_places(tmp_path, colour, trained):
    with pytest.raises(UserError, match="Load the model with"):
        crvae.evaluate(crvae.load(trained), colour, prior="normal")
    with pytest.raises(UserError, match="neither a run"):
        crvae.evaluate(tmp_path / "none", colour)
    with pytest.raises(UserError, match="do not exist"):
        crvae.evaluate(trained, tmp_path / "none")


# ---- show -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "size", "factor"), [(3, 64, 1), (1, 28, 3), (3, 70, 1), (3, 32, 2)])
def test_show_puts_every_pixel_in_its_place(channels, size, factor):
    images = torch.rand(5, channels, size, size) * 2.4 - 1.2
    picture = np.asarray(crvae.show(images, columns=3))
    side = size * factor + 2
    assert picture.shape == (2 * side + 2, 3 * side + 2, 3)
    for index, image in enumerate(images):
        y, x = 2 + index // 3 * side, 2 + index % 3 * side
        shown = picture[y : y + size * factor : factor, x : x + size * factor : factor]
        expected = ((image.clamp(-1, 1) + 1) * 127.5).round().expand(3, -1, -1).permute(1, 2, 0).numpy()
        assert (shown == expected).all()
    assert (picture[:2] == 255).all()


def test_show_takes_stored_images_and_single_ones():
    stored = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert np.array_equal(crvae.show(stored), crvae.show(stored / 127.5 - 1))
    assert np.array_equal(crvae.show(stored[0]), crvae.show(stored[:1]))
    assert np.array_equal(crvae.show(torch.zeros(1, 1, 64, 64, requires_grad=True)), crvae.show(torch.zeros(1, 64, 64)))


@pytest.mark.parametrize("shape", [(4, 2, 8, 8), (0, 3, 8, 8), (8, 8), (1, 1, 3, 8, 8)])
def test_show_refuses(shape):
    with pytest.raises(UserError, match="Give images b c h w"):
        crvae.show(torch.zeros(shape))
    with pytest.raises(UserError, match="0 columns"):
        crvae.show(torch.zeros(1, 3, 8, 8), columns=0)


# ---- the documented examples ------------------------------------------------------------------------------------------

SHORT = {
    "train__images": 64,
    "train__batch": 16,
    "objective__adversarial_after_images": 0,
    "model__width": 2,
    "prior__images": 64,
    "prior__batch": 16,
    "prior__flow__width": 8,
}


def examples(text: str | None) -> list[str]:
    """The lines behind `>>>`."""
    return re.findall(r"^\s*>>> (.+)$", text or "", re.M)


def test_the_examples_of_the_docstrings_run(tmp_path, painted, monkeypatch):
    monkeypatch.chdir(tmp_path)
    painted(tmp_path / "photos", 200, 64)
    train, evaluate = crvae.train, crvae.evaluate
    names = types.SimpleNamespace(**{name: getattr(crvae, name) for name in crvae.__all__})
    names.train = lambda *places, **options: train(*places, **(options | SHORT))
    names.evaluate = lambda *places, **options: evaluate(*places, **({"scores": ["reconstruction"]} | options))
    painted(tmp_path / "one", 1, 70)
    (tmp_path / "one" / "000.png").rename(tmp_path / "photo.png")
    documented = [crvae.prepare, crvae.train, crvae.read, crvae.resume, crvae.evaluate, crvae.show]
    lines = [line for function in documented for line in examples(inspect.getdoc(function))]
    assert len(lines) >= 8
    known: dict[str, object] = {"crvae": names}
    for line in lines:
        exec(line, known)
    assert known["images"].shape == (16, 3, 64, 64)  # type: ignore[union-attr]
    assert np.isfinite(known["scores"]["psnr"].value)  # type: ignore[index]
    (tmp_path / "runs").rename(tmp_path / "runs-before")
    (tmp_path / "data").rename(tmp_path / "data-before")
    assert known["x"].shape == (1, 3, 64, 64)  # type: ignore[union-attr]
    for line in examples(crvae.__doc__):
        if line != "import crvae":
            exec(line, known)
    assert known["x"].shape == (200, 3, 64, 64)  # type: ignore[union-attr]
    assert known["images"].shape == (64, 3, 64, 64)  # type: ignore[union-attr]


def test_a_session_can_be_completed_by_tab_and_finds_the_documented_modules():
    code = (
        "import crvae; print({'load', 'train', 'tasks', 'errors'} <= set(dir(crvae)), 'complete' in dir(crvae.tasks),"
        " crvae.errors.UserError.__name__, crvae.pictures.from_8_bit.__name__, crvae.objectives.weighted_kl.__name__,"
        " crvae.data.batches.__name__, crvae.tasks.replace_block.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "UserError", "from_8_bit", "weighted_kl", "batches", "replace_block"]


@pytest.mark.parametrize("images", [320.0, "320", True, -1])
def test_a_total_of_images_is_a_whole_number(images, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    before = (run / "config.yaml").read_text()
    with pytest.raises(UserError, match=r"--train.images must be the new total of images"):
        crvae.resume(run, images=images)
    assert (run / "config.yaml").read_text() == before


def test_training_and_completion_work_where_gradients_are_off_and_leave_the_generator(colour, tmp_path, tiny):
    options = {
        name: value for name, value in keywords(tiny).items() if not name.startswith(("discriminator", "objective"))
    }
    torch.manual_seed(7)
    with torch.inference_mode():
        model = crvae.train("emoji-vae", colour, tmp_path / "run", **options)  # type: ignore[arg-type]
        x = model.sample(2)
        mask = crvae.tasks.masks("upper", size=32)["upper"]
        found = crvae.tasks.complete(model, x, mask, search=crvae.tasks.Search(tau=0.0, steps=2, restarts=1))
    assert found.best.shape == x.shape
    drawn = torch.rand(2)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(2))
