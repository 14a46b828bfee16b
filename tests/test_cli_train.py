"""`crvae train`, `crvae recipes` and `crvae --help` as users type them: what works, and what is refused in one sentence."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import crvae
from crvae.cli import COMMANDS, main
from crvae.cli.parsing import options
from crvae.cli.train import COMMANDS as COMMANDS_OF_TRAIN
from crvae.recipes import RECIPES

HEAVY = ("torch", "torchvision", "datasets", "lightning_fabric", "numpy", "pandas", "PIL", "gradio", "pydantic", "tyro")


def refused(capsys, args: list[object], *words: str) -> str:
    """Exit 2, one sentence on standard error, nothing on standard output."""
    capsys.readouterr()
    try:
        code = main([str(arg) for arg in args])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert said.err.startswith("crvae: ")
    assert len(said.err.strip().splitlines()) == 1, said.err
    assert "Traceback" not in said.err
    assert "pydantic" not in said.err
    for word in words:
        assert word in said.err, said.err
    return said.err


def loaded(*args: str) -> tuple[set[str], str]:
    """The modules that a fresh `crvae ARGS` has imported when it ends, and what it said on standard output."""
    code = "import sys; from crvae.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    out = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return set(out.stderr.split()), out.stdout


@pytest.mark.parametrize("args", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(args):
    modules, said = loaded(*args)
    assert said
    assert not modules & set(HEAVY)


def test_commands_start_without_what_they_do_not_use(tmp_path):
    unused = {"torchvision", "torch._dynamo", "lightning_fabric", "torchmetrics", "matplotlib"}
    modules, _ = loaded("sample", "emoji", "--count", "1", "--out", str(tmp_path / "one.png"))
    assert not modules & unused
    code = "import sys, crvae.training.launch; assert 'torchmetrics' not in sys.modules; import torchmetrics"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in COMMANDS)
    assert main([]) == 2
    refused(capsys, ["trian"], "there is no command 'trian'")
    main(["--version"])
    assert crvae.__version__ in capsys.readouterr().out


def test_every_option_has_its_unit_or_meaning(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "emoji-crvae-gan-mi", "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for option in (
        "--data",
        "--out",
        "--model.width",
        "--train.images",
        "--objective.kl-early",
        "--discriminator.group",
    ):
        assert option in said
    with pytest.raises(SystemExit):
        main(["train", "--resume", "--help"])
    assert "--inexact" in capsys.readouterr().out


def test_the_installed_command_trains(tmp_path, colour, tiny):
    """The real entry point, in a process of its own."""
    command = Path(sys.executable).with_name("crvae")
    out = tmp_path / "run"
    done = subprocess.run(
        [command, "train", "emoji-cvae", "--data", colour, "--out", out, *tiny, "--train.images", "48"],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "48 of 48 images" in done.stderr
    assert f"done: {out}" in done.stderr
    assert (out / "model" / "model.safetensors").is_file()
    assert Image.open(out / "samples" / f"{48:012d}.png").width > 8 * 32
    about = json.loads((out / "environment.json").read_text())
    assert about["data"]["path"] == str(colour)
    assert about["precision"] == "fp32"
    text = (out / "config.yaml").read_text()
    assert "recipe: emoji-cvae" in text
    assert "width: 1\n" in text


def test_recipes(capsys):
    assert main(["recipes", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {recipe.get("name") or recipe.get("recipe") for recipe in said} >= set(RECIPES)
    assert main(["recipes"]) == 0
    short = capsys.readouterr().out.splitlines()
    assert len(short) < 24
    assert max(map(len, short)) <= 80
    assert main(["recipes", "--all"]) == 0
    table = capsys.readouterr()
    assert all(name in table.out + table.err for name in ("birds-crvae-gan-mi", "emoji-vae", "mnist-crvae"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--train.rate", "-1"], ["--train.rate must be greater than 0", "-1"]),
        (["--train.rate", "nan"], ["--train.rate"]),
        (["--train.rate", "fast"], ["--train.rate", "'fast'"]),
        (["--model.steps", "3"], ["--model.steps must divide --model.latent-channels (8), got 3"]),
        (["--model.steps", "16"], ["--model.steps must divide"]),
        (["--model.size", "33"], ["--model.size", "33"]),
        (["--train.batch", "4000"], ["--train.batch 4000 is larger than the train split", "use --train.batch 48"]),
        (["--train.batch", "12"], ["--train.batch must be a multiple of --discriminator.group (8), got 12"]),
        (["--train.batch", "16", "--train.accumulate", "4"], ["--train.batch", "--discriminator.group"]),
        (["--model.channels", "1"], ["colour images, the recipe needs grey"]),
        (["--model.size", "64"], ["32-pixel images, the recipe needs 64"]),
        (["--objective.kl-weights", "1,2"], ["--objective.kl-weights"]),
        (["--objective.kl-weights", "1,2,a"], ["--objective.kl-weights"]),
        (["--objective.adversarial", "0"], ["--objective.adversarial"]),
        (["--train.nonsense", "1"], ["--train.nonsense"]),
        (["stray"], ["stray"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_bad_options(tmp_path, capsys, colour, tiny, options, words):
    out = tmp_path / "run"
    refused(capsys, ["train", "emoji-crvae-gan-mi", "--data", colour, "--out", out, *tiny, *options], *words)
    assert not list(tmp_path.iterdir())


def test_bad_recipes_data_and_places(tmp_path, capsys, colour, tiny, trained):
    out = tmp_path / "run"
    refused(capsys, ["train", "emoji-crvae-gam", "--data", colour, "--out", out], "did you mean 'emoji-crvae-gan'?")
    refused(capsys, ["train", "emoji-vae", "--out", out], "--data is missing")
    refused(capsys, ["train", "emoji-vae", "--data", colour], "--out is missing")
    refused(capsys, ["train", "emoji-vae", "--data", tmp_path / "nowhere", "--out", out, *tiny], "do not exist")
    (tmp_path / "pictures").mkdir()
    refused(capsys, ["train", "emoji-vae", "--data", tmp_path / "pictures", "--out", out, *tiny], "not prepared data")
    refused(capsys, ["train", "emoji-vae", "--data", colour, "--out", trained, *tiny], "already exists", "--resume")
    refused(capsys, ["train", "--resume", tmp_path / "nowhere"], "is not a run")
    refused(capsys, ["train", "--resume", trained, "--train.images", "-5"], "--train.images")
    refused(capsys, ["train", "--resume", trained, "--train.rate", "1"], "--train.rate")
    refused(capsys, ["train", "--resume"], "--resume")
    assert main(["train"]) == 2
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--data d --out r emoji-vae", "the recipe comes first: crvae train emoji-vae --data DATA --out RUN"),
        ("--data d emoji-vae --out r", "the recipe comes first: crvae train emoji-vae --data"),
        ("--out=r emoji-vae", "the recipe comes first: crvae train emoji-vae --data"),
        ("--data d --out emoji-vae", "the recipe comes first: crvae train RECIPE --data"),
        ("--train.images 9", "To continue a run: crvae train --resume RUN"),
        ("--resum r", "there is no option --resum (did you mean '--resume'?)"),
        ("--out r --resume run", "there is no option --out"),
    ],
)
def test_the_recipe_comes_first(words, says, capsys):
    refused(capsys, ["train", *words.split()], says)


def test_a_place_with_a_space_is_quoted_where_it_is_typed(tmp_path, capsys, monkeypatch):
    from crvae.cli import stopping
    from crvae.cli.train import finished, resumable
    from crvae.training.loop import Interrupted

    def interrupted() -> None:
        raise Interrupted(15)

    out = str(tmp_path / "a run")
    monkeypatch.setattr(stopping, "_advice", [])
    assert finished(lambda: None, out) == 0
    assert f"done: {out} (crvae sample '{out}' --count 64" in capsys.readouterr().err
    resumable(out)
    assert stopping._advice[-1][0].endswith(f"crvae train --resume '{out}'")
    assert finished(interrupted, out) == 143
    assert capsys.readouterr().err.endswith(f"crvae train --resume '{out}'\n")


@pytest.mark.parametrize("moment", ["save", "fit"])
def test_an_interrupted_run_promises_only_what_is_there(tmp_path, capsys, colour, tiny, monkeypatch, moment):
    """Before its first checkpoint a run has none that could be whole; it goes on all the same."""
    from crvae.training.loop import Training

    def stop(self) -> None:
        signal.raise_signal(signal.SIGINT)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Training, moment, stop)
        assert main(["train", "emoji-vae", "--data", str(colour), "--out", str(run), *tiny]) == 130
    assert capsys.readouterr().err == (
        f"crvae: interrupted; what {run} has saved stays. Continue with: crvae train --resume {run}\n"
    )
    assert main(["train", "--resume", str(run), "--train.images", "32"]) == 0


def test_a_folder_without_images_and_a_broken_image(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    refused(capsys, ["prepare", tmp_path / "empty", tmp_path / "out"], "no image files")
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for number in range(30):
        Image.new("RGB", (40, 40), (8 * number, 0, 0)).save(tmp_path / "mixed" / f"{number}.png")
    assert main(["prepare", str(tmp_path / "mixed"), str(tmp_path / "out"), "--size", "32", "--workers", "1"]) == 0
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert [skipped["file"] for skipped in card["skipped"]] == ["broken.png"]


@pytest.mark.parametrize(
    "line",
    [
        "emoji-vae --model.size 33",
        "emoji-vae --model.size 28 --model.trunk patch --model.release",
        "emoji-vae --model.steps 7",
        "emoji-vae --model.width 3 --model.steps 16",
        "emoji-vae --objective.kl-weights a",
        "emoji-vae --objective.kl-weights 1,2",
        "emoji-vae --objective.mutual-information-weights 1,-2",
        "emoji-vae --objective.nested 0.5 --model.steps 1",
        "emoji-vae --objective.mutual-information 1 --objective.adversarial 0",
        "emoji-vae --discriminator.mixed-batch --objective.adversarial-on reconstructions",
        "emoji-vae --input.binarise",
        "emoji-vae-gan --model.likelihood bernoulli",
        "emoji-vae --model.likelihood bernoulli --objective.perceptual 1",
        "emoji-vae --train.accumulate 3",
        "emoji-vae-gan --discriminator.mixed-batch --train.batch 10",
        "emoji-vae-gan --discriminator.group 9",
        "emoji-stage2-128 --model.output-size 64",
        "emoji-stage2-128 --model.size 200",
        "emoji-stage2-128 --model.width 1",
        "emoji-stage2-128 --objective.adversarial 0",
    ],
)
def test_what_does_not_fit_names_options_as_they_are_typed(line, capsys):
    recipe, *given = line.split()
    stage = RECIPES[recipe].config.stage
    stage1 = ["--stage1", "s"] if stage == 2 else []
    said = refused(capsys, ["train", recipe, *stage1, "--data", "d", "--out", "o", *given])
    typed = re.findall(r"--[a-z][\w.-]*\w", said)
    known = {name for option in options(COMMANDS_OF_TRAIN[stage]) for name in (option.name, option.flag)}
    assert said.startswith(f"crvae: {typed[0]}"), said
    assert set(typed) <= {*known, "--help"}, said
    assert set(typed) & set(given), said
