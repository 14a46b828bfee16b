"""`crvae export` on a real run: what the folder holds, what the card says, and what is refused."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open

import crvae as package
from crvae.cli import main
from crvae.cli.train import _configure
from crvae.config.stage1 import Stage1Config
from crvae.export.card import _training
from crvae.export.provenance import Provenance, departures
from crvae.pictures import save_grid
from crvae.recipes import RECIPES
from crvae.storage.models import load_discriminator, save


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A folder of images, prepared and trained on for a moment by the commands themselves; and its scores."""
    root = tmp_path_factory.mktemp("real")
    random = np.random.default_rng(0)
    for index in range(80):
        coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        path = root / "images" / f"class-{index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((32, 32)).save(path)
    assert main(["prepare", str(root / "images"), str(root / "data"), "--size", "32"]) == 0
    options = "--model.size 32 --model.width 2 --model.latent-channels 8 --discriminator.kernels 4 --train.batch 16"
    options += " --objective.adversarial-after-images 0 --train.images 64 --train.report-images 16 --train.seed 5"
    command = [
        "train",
        "emoji-crvae-gan-mi",
        "--data",
        str(root / "data"),
        "--out",
        str(root / "run"),
        *options.split(),
    ]
    assert main(command) == 0
    return root


@pytest.fixture
def scores(real, capsys, tmp_path):
    assert main(["evaluate", str(real / "run"), "--data", str(real / "data"), "--scores", "kl", "--json"]) == 0
    path = tmp_path / "scores.json"
    path.write_text(capsys.readouterr().out)
    return path


def test_half_the_bytes_hold_the_rounded_model(real, tmp_path, capsys):
    whole, half = tmp_path / "whole", tmp_path / "half"
    assert main(["export", str(real / "run"), str(whole), "--discriminator"]) == 0
    assert main(["export", str(real / "run"), str(half), "--discriminator", "--half"]) == 0
    for file in ("model.safetensors", "discriminator.safetensors"):
        assert (half / file).stat().st_size < 0.7 * (whole / file).stat().st_size  # a small model's names weigh, too
    one, other = package.load(whole), package.load(half)
    for (name, tensor), rounded in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert rounded.dtype == tensor.dtype
        assert torch.equal(rounded, tensor.half().float() if tensor.is_floating_point() else tensor), name
    save_grid(other.sample(64, seed=0), tmp_path / "samples.png", columns=8)
    assert (tmp_path / "samples.png").read_bytes() == (half / "samples.png").read_bytes()
    assert load_discriminator(half).state_dict().keys() == load_discriminator(whole).state_dict().keys()
    next(one.parameters()).data.view(-1)[0] = 1e6
    save(tmp_path / "large", one, recipe="test", images=1)
    assert main(["export", str(tmp_path / "large"), str(tmp_path / "refused"), "--half"]) == 2
    assert "values above 65,504: export without it" in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()


def test_folder_and_card(real, scores, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["export", str(real / "run"), str(out), "--format", "safetensors, onnx", "--discriminator"]
    assert main([*command, "--scores", str(scores), "--licence", "Apache-2.0"]) == 0
    names = {path.name for path in out.iterdir()}
    expected = {"README.md", "config.json", "model.safetensors", "discriminator.safetensors", "samples.png"}
    assert names == expected | {"encoder.onnx", "decoder.onnx"}

    model = package.load(out)
    assert torch.equal(model.sample(3, seed=2), package.load(real / "run").sample(3, seed=2))
    x = torch.zeros(16, 3, 32, 32)
    assert torch.equal(load_discriminator(out)(x)[0], load_discriminator(real / "run")(x)[0])
    with safe_open(out / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(model.state_dict())
    assert Image.open(out / "samples.png").size == (8 * 34 + 2, 8 * 34 + 2)
    assert (out / "model.safetensors").stat().st_mode & 0o777 == (out / "README.md").stat().st_mode & 0o777

    card = (out / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "crvae"
    fingerprint = json.loads((real / "run" / "environment.json").read_text())["data"]["fingerprint"]
    score = next(iter(json.loads(scores.read_text())["scores"].values()))
    assert f"{sum(p.numel() for p in model.parameters()):,}" in card
    for text in (
        "crvae train emoji-crvae-gan-mi --model.size 32 --model.width 2",
        "--train.seed 5",
        "Images seen: 64",
        fingerprint,
        "validation images of 32 pixels",
        f"{score['value']:.4g}",
        score["implementation"],
        "Weights: Apache-2.0",
        "## Limits",
        "encoder.onnx",
        "on 8",
    ):
        assert text in card, text
    z = model.prior.sample(5, seed=4)  # another batch than the graph was traced and checked with
    session = onnxruntime.InferenceSession(str(out / "decoder.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"z": z.numpy()})[0], model.decode(z).numpy(), atol=1e-4)
    assert "LSTM" in {node.op_type for node in onnx.load(out / "decoder.onnx").graph.node}
    assert str(real) not in card, "no path of this machine"
    assert "Traceback" not in capsys.readouterr().err


def test_export_of_an_export(real, tmp_path):
    assert main(["export", str(real / "run"), str(tmp_path / "one")]) == 0
    assert main(["export", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    for name in ("config.json", "model.safetensors"):
        text = (tmp_path / "two" / name).read_bytes()
        wanted = (tmp_path / "one" / name).read_bytes()
        if name == "config.json":  # the second has no discriminator to tell of, nor had the first
            assert json.loads(text) == json.loads(wanted)
        else:
            assert text == wanted
    assert "not at hand" in (tmp_path / "two" / "README.md").read_text()


def test_relocated_dataset(real, tmp_path, capsys):
    moved = tmp_path / "moved"
    (real / "data").rename(moved)
    try:
        assert main(["export", str(real / "run"), str(tmp_path / "without")]) == 0
        assert "not at hand" in (tmp_path / "without" / "README.md").read_text()
        assert main(["export", str(real / "run"), str(tmp_path / "with"), "--data", str(moved)]) == 0
        assert "Name: images" in (tmp_path / "with" / "README.md").read_text()
    finally:
        moved.rename(real / "data")
    assert main(["prepare", str(real / "images" / "class-0"), str(tmp_path / "other"), "--size", "32"]) == 0
    capsys.readouterr()
    assert main(["export", str(real / "run"), str(tmp_path / "wrong"), "--data", str(tmp_path / "other")]) == 2
    assert "is not the dataset that the run was trained on" in capsys.readouterr().err


def test_stage2(folder2, tmp_path):
    assert main(["export", str(folder2), str(tmp_path / "out")]) == 0
    assert torch.equal(package.load(tmp_path / "out").sample(2), package.load(folder2).sample(2))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Stage2 upsampler on a Stage1 crVAE" in card
    assert "56x56, colour" in card


def test_hostile_text_stays_in_its_place(folder, tmp_path):
    body = json.loads((folder / "config.json").read_text())
    body["recipe"] = "`x`|\n# A heading\n[link](http://elsewhere)<script>"
    (folder / "config.json").write_text(json.dumps(body))
    assert main(["export", str(folder), str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert not re.search(r"^# A heading", card, re.M)
    assert "<script>" not in card
    assert "[link]" not in card


def refuse(capsys, *args):
    capsys.readouterr()
    assert main(["export", *map(str, args)]) == 2
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1, message
    return message


def test_refusals(folder, folder2, tmp_path, capsys):
    out = tmp_path / "out"
    assert "--format must be among" in refuse(capsys, folder, out, "--format", "gguf")
    assert "--format must be among" in refuse(capsys, folder, out, "--format", "")
    assert "--discriminator goes with" in refuse(capsys, folder, out, "--format", "onnx", "--discriminator")
    assert "Stage1" in refuse(capsys, folder2, out, "--discriminator")
    assert "neither a run nor" in refuse(capsys, tmp_path / "none", out)
    assert "--push must be OWNER/NAME" in refuse(capsys, folder, out, "--push", "nobody")
    assert "cannot be read" in refuse(capsys, folder, out, "--scores", tmp_path / "none.json")
    for content in (
        "{",
        "[]",
        "{}",
        '{"scores": {}}',
        '{"scores": {"kid": {"value": 1}}}',
        '{"scores": [1]}',
        "[" * 9999,
    ):
        (tmp_path / "bad.json").write_text(content)
        assert "holds no scores" in refuse(capsys, folder, out, "--scores", tmp_path / "bad.json")
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    assert "already exists" in refuse(capsys, folder, out)
    assert (out / "mine.txt").read_text() == "keep"


def test_the_card_names_every_option_that_departs_from_the_recipe_the_priors_too():
    recipe = RECIPES["fast-crvae-gan-mi"].config
    body = recipe.model_dump()
    body["model"]["width"], body["prior"]["images"], body["train"]["precision"] = 8, 1_000, "fp32"
    body["prior"]["flow"] = {"width": 32}
    changed = departures(Stage1Config.model_validate(body))
    assert changed["--prior.flow.width"] == 32
    assert {name for name in changed if "flow" not in name} == {"--model.width", "--prior.images"}
    assert "--prior.flow.kind" not in changed
    assert departures(recipe) == {}


def leaves(part, prefix=()):
    """Path and value of every option of a configuration, in its nested parts too."""
    for name, value in part.items():
        yield from leaves(value, (*prefix, name)) if isinstance(value, dict) else [((*prefix, name), value)]


def altered(value):
    """Another value of the same kind, so small a change that the configuration allows it."""
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value / 2


FREE = {"kl_weights": "0.5, 1e-05", "mutual_information_weights": "", "perceptual_network": "timm:it's", "log": "wandb"}
"""Texts that are not a choice among few, and one that is."""


def printed(config):
    """The command of the card, as a shell reads it."""
    line = _training(Provenance(config.recipe, 0, changed=departures(config))).splitlines()[2]
    return shlex.split(line.removeprefix("- Recipe: `").removesuffix("`"))


def test_the_command_of_the_card_is_read_by_train_as_the_same_configuration():
    booleans, untried = set(), set()
    for recipe in ("emoji-crvae-gan-mi", "fast-crvae-gan-mi", "mnist-crvae", "emoji-stage2-128"):
        whole = RECIPES[recipe].config
        places = ["--data", "d", "--out", "o", *(["--stage1", "s"] if whole.stage == 2 else [])]
        for path, value in leaves(whole.model_dump()):
            assert isinstance(value, (bool, int, float, str)), f"{path}: the card has no spelling for {value!r}"
            if len(path) < 2 or path[-1] in ("kind", "precision") or (isinstance(value, str) and path[-1] not in FREE):
                continue
            changed = part = whole.model_dump()
            for name in path[:-1]:
                part = part[name]
            part[path[-1]] = FREE[path[-1]] if isinstance(value, str) else altered(value)
            kind = (whole.stage, *path)
            untried |= {kind} if isinstance(value, bool) else set()
            try:
                config = type(whole).model_validate(changed)
            except ValueError:
                continue  # it does not go with another option of this recipe
            crvae, train, name, *options = printed(config)
            assert (crvae, train) == ("crvae", "train")
            assert _configure(name, [*options, *places])[0] == config, options
            booleans |= {kind} if isinstance(value, bool) else set()
    assert untried == booleans
    assert len(booleans) > 12
