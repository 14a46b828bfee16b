"""Run folders: made whole, locked, refused in one sentence where they or their files are not what they should be."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
import tracemalloc
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from crvae.cli import main
from crvae.config.stage1 import Stage1Config
from crvae.errors import UserError
from crvae.recipes import RECIPES
from crvae.training.run import Run, environment
from fuzzing import many
from processes import Command, until

KINDS = {1: Stage1Config}
CONFIG = RECIPES["emoji-vae"].config


def refused(capsys, args: list[str], *words: str) -> None:
    """Exit 2 and one sentence."""
    capsys.readouterr()
    assert main(args) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("crvae: ")
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1, said
    for word in words:
        assert word in said, said


@pytest.fixture
def run(tmp_path) -> Path:
    """A run folder as `crvae train` makes it, before training."""
    Run.create(tmp_path / "run", CONFIG, environment("/data", "0" * 64, 1, "fp32", torch.device("cpu")))._lock.close()
    return tmp_path / "run"


def test_made_whole_and_read_back(run):
    made = {path.name for path in run.iterdir()}
    assert made == {".lock", "checkpoints", "config.yaml", "environment.json", "samples"}
    opened = Run.open(run)
    assert opened.config(KINDS) == CONFIG
    about = opened.environment()
    assert about["data"] == {"path": "/data", "fingerprint": "0" * 64}
    assert about["torch"]
    assert about["format"] == 1


def test_a_place_that_exists_is_quoted_where_it_is_typed(tmp_path):
    place = tmp_path / "a run"
    place.mkdir()
    with pytest.raises(UserError, match=r"already exists. Choose another folder, or remove it first$"):
        Run.create(place, Stage1Config(recipe="test"), {})
    (place / "config.yaml").touch()
    with pytest.raises(UserError, match=f"continue that run: crvae train --resume '{place}'$"):
        Run.create(place, Stage1Config(recipe="test"), {})


def test_two_processes_on_one_run(tmp_path, colour, tiny, capsys):
    """The second one refuses, and the first does not notice."""
    run = tmp_path / "run"
    command = ["train", "emoji-vae", "--data", str(colour), "--out", str(run), *tiny]
    first = Command([*command, "--train.images", "160000"], tmp_path / "log")
    until(lambda: (run / "checkpoints" / f"{64:012d}").exists(), first)
    refused(capsys, ["train", "--resume", str(run)], "is being trained by another process")
    refused(capsys, command, "already exists")
    assert first.process.is_alive()
    first.process.kill()
    first.process.join()
    Run.open(run)._lock.close()  # the lock went with its process


def test_places_that_cannot_be_made(tmp_path, colour, tiny, capsys):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    for out, word in (
        ("file", "already exists"), ("folder", "already exists"), ("file/run", "cannot be written"),
        ("x" * 300, "name too long"),
    ):  # fmt: skip
        capsys.readouterr()
        assert main(["train", "emoji-vae", "--data", str(colour), "--out", str(tmp_path / out), *tiny]) == 2
        said = capsys.readouterr().err
        assert word.lower() in said.lower(), said
        assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_not_a_run(tmp_path, capsys, trained):
    (tmp_path / "file").write_text("")
    for place in ("nowhere", "file", "."):
        refused(capsys, ["train", "--resume", str(tmp_path / place)], "is not a run")
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "environment.json").write_text("{")
    refused(capsys, ["train", "--resume", str(run)], "environment.json cannot be read")
    (run / "environment.json").write_text('{"world": 1}')
    refused(capsys, ["train", "--resume", str(run)], "environment.json cannot be read")
    (run / "environment.json").unlink()
    refused(capsys, ["train", "--resume", str(run)], "environment.json is missing", "Put it back from a copy")


def test_a_folder_that_cannot_be_written_to(tmp_path, capsys, trained):
    """A folder in the place of the lock and of the checkpoints' folder a file: true for every user, root included."""
    run = shutil.copytree(trained, tmp_path / "run")
    (run / ".lock").unlink()
    (run / ".lock").mkdir()
    refused(capsys, ["train", "--resume", str(run)], "cannot be written to")
    (run / ".lock").rmdir()
    shutil.rmtree(run / "samples")
    (run / "samples").write_text("")
    capsys.readouterr()
    assert main(["train", "--resume", str(run), "--train.images", "192"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "cannot write to" in said
    assert "samples" in said


def test_a_folder_of_samples_that_is_gone_is_made_again(tmp_path, trained):
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(run / "samples")
    assert main(["train", "--resume", str(run)]) == 0
    assert [path.name for path in (run / "samples").iterdir()] == [f"{160:012d}.png"]


def test_what_a_configuration_does_not_say_is_said(tmp_path, capsys, trained):
    """Runs written before an option existed mean its default: that is no secret. What is complete is not commented."""
    run = shutil.copytree(trained, tmp_path / "run")
    assert main(["train", "--resume", str(run)]) == 0
    assert "does not say" not in capsys.readouterr().err
    body = yaml.safe_load((run / "config.yaml").read_text())
    del body["objective"]["kl_early"], body["prior"]
    (run / "config.yaml").write_text(yaml.safe_dump(body, sort_keys=False))
    assert main(["train", "--resume", str(run), "--train.images", "176"]) == 0
    said = f"{run}/config.yaml does not say objective.kl_early: taken as 0.0003; prior: taken as its defaults\n"
    assert capsys.readouterr().err.count(said) == 1
    assert main(["train", "--resume", str(run), "--train.images", "192"]) == 0
    assert "does not say" not in capsys.readouterr().err  # the file was written anew


@pytest.mark.parametrize(
    "line",
    [
        '{"images": "a", "seconds": "b"}', '{"images": 200, "seconds": 1, "images_per_second": "fast"}',
        '{"images": [1], "seconds": [2]}', '{"images": true, "seconds": 1}', '{"images": 200, "seconds": NaN}',
        f'{{"images": 1{"0" * 400}, "seconds": 1}}', '{"images": 200, "seconds": Infinity}', "[1, 2]", "7",
        '{"images": 200, "seconds": 1, "images_per_second": null}', '{"images": -1, "seconds": 1}',
    ],
)  # fmt: skip
def test_reports_are_the_lines_with_numbers(run, line):
    good = {"images": 16, "seconds": 1.0, "images_per_second": 16.0}
    (run / "metrics.jsonl").write_text(f'{line}\n{json.dumps(good)}\n{line}\n{{"images": 32, "seconds": 2}}\n{line}\n')
    assert Run(run).reports() == [good, {"images": 32, "seconds": 2}]


def test_a_run_with_odd_reports_goes_on(tmp_path, trained):
    run = shutil.copytree(trained, tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"images": "a", "seconds": "b"}\n{"images": 200, "seconds": 1, "images_per_second": "fast"}\n')
    assert main(["train", "--resume", str(run), "--train.images", "176"]) == 0
    lines = [json.loads(line)["images"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines == [32, 64, 96, 128, 160, 176]


def test_data_that_vanished(tmp_path, capsys, colour, tiny):
    data = shutil.copytree(colour, tmp_path / "data")
    run = tmp_path / "run"
    assert main(["train", "emoji-vae", "--data", str(data), "--out", str(run), *tiny, "--train.images", "32"]) == 0
    data.rename(tmp_path / "moved")
    go_on = ["train", "--resume", str(run), "--train.images", "64"]
    refused(capsys, go_on, "data", "do not exist", "--data")
    refused(capsys, [*go_on, "--data", str(tmp_path / "nowhere")], "nowhere")
    assert main([*go_on, "--data", str(tmp_path / "moved")]) == 0
    (tmp_path / "moved" / "card.json").write_text("{")
    refused(capsys, [*go_on, "--data", str(tmp_path / "moved")], "card.json is damaged")


def test_other_data_and_precision_need_a_word(tmp_path, capsys, grey, trained):
    run = shutil.copytree(trained, tmp_path / "run")
    other = tmp_path / "other"
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for number in range(40):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "pictures" / f"{number}.png")
    assert main(["prepare", str(tmp_path / "pictures"), str(other), "--size", "32", "--workers", "1"]) == 0
    few = tmp_path / "few"
    for path in sorted((tmp_path / "pictures").iterdir())[:6]:
        (tmp_path / "six").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "six")
    assert main(["prepare", str(tmp_path / "six"), str(few), "--size", "32", "--workers", "1"]) == 0
    go_on = ["train", "--resume", str(run), "--train.images", "176"]
    refused(capsys, [*go_on, "--data", str(few)], "the batch of 16 is larger than", "the dataset of the run")
    refused(capsys, [*go_on, "--data", str(other)], "is not the run's dataset", "--inexact")
    for word in ([], ["--inexact"]):  # a resumed run takes no option that would make them fit
        said = "28-pixel images, the recipe needs 32: pass --data with the dataset of the run"
        refused(capsys, [*go_on, "--data", str(grey), *word], said)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("precision: fp32", "precision: bf16"))
    refused(capsys, go_on, "precision was fp32, is now bf16", "--inexact")
    (run / "config.yaml").write_text(text)
    assert main([*go_on, "--data", str(other), "--inexact"]) == 0


def bomb(levels: int = 40, width: int = 9) -> str:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "format: 1\n" + "\n".join(lines) + f"\nstage: *a{levels - 1}\n"


MERGES = "format: 1\na0: &a0 {x: 1}\n" + "\n".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30)
)
HOSTILE = [
    "", "[]", "format: 2", "format: true", "format: '1'", "format: 1", "format: 1\nstage: [1]", "format: 1\nstage: 1",
    "format: 1\nstage: 1\nrecipe: x\nmodel: {width: '8'}", "format: 1\nstage: 1\nrecipe: x\nmodel: {path: /etc/passwd}",
    "!!python/object/apply:os.system ['touch /tmp/ran']", "a: !!int ''", "a: !!float ''", "a: !!bool x",
    "a: !!timestamp x", "a: !!binary é", "? [1]\n: 2", "a: 2001-99-99",
    "[" * 200_000, "- " * 100_000, "{a: " * 60_000, "a: &x [*x]", "\x00", "%YAML 9.9\n---\na: 1",
    "format: 1\n" + "9" * 5000, "format: 1\nstage: 9" + "9" * 5000, bomb(), MERGES, " " * (1 << 19),
]  # fmt: skip


def read(run: Path, text: str) -> str:
    """The sentence that refuses `text` as config.yaml, or '' where it is accepted."""
    (run / "config.yaml").write_bytes(text.encode("utf-8", errors="surrogatepass"))
    try:
        Run(run).config(KINDS)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_configuration_from_elsewhere_is_data(run, text):
    tracemalloc.start()
    started = time.process_time()
    said = read(run, text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said
    assert "config.yaml" in said
    assert len(said.splitlines()) == 1
    assert len(said) < 1000
    assert peak < 64 << 20
    assert time.process_time() - started < 120  # it does not hang, even under tracing
    assert not Path("/tmp/ran").exists()


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
parts = st.sampled_from(["format", "stage", "recipe", "model", "discriminator", "objective", "input", "train"])


@many(150)
@given(st.dictionaries(parts, plain, max_size=3), st.integers(0, 10**6), st.text(max_size=3))
@example({}, 0, "")
def test_fuzzed_configurations(run, changes, at, inserted):
    """Parts replaced and text inserted: accepted, or refused in one sentence."""
    text = yaml.safe_dump(CONFIG.model_dump() | changes, sort_keys=False)
    at %= len(text)
    said = read(run, text[:at] + inserted + text[at:])
    assert len(said.splitlines()) <= 1


@many(150)
@given(st.text(max_size=200) | st.text("[]{}&*!|>-:?,# \n'\"ab1%@`<", max_size=200))
def test_fuzzed_yaml(run, text):
    assert len(read(run, text).splitlines()) == 1


@many(150)
@given(plain)
def test_fuzzed_environments_and_metrics(run, value):
    try:
        (run / "environment.json").write_text(json.dumps(value))
        (run / "metrics.jsonl").write_text(json.dumps(value) + '\n{"images": 16, "seconds": 1.0}\n{"images": 3')
    except UnicodeEncodeError:
        return
    opened = Run(run)
    said = ""
    try:
        opened.environment()
    except UserError as error:
        said = str(error)
    assert "environment.json" in said
    assert opened.reports()[-1] == {"images": 16, "seconds": 1.0}


def test_where_there_are_no_locks_training_warns_and_goes_on(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="has no locks"):
        Run(tmp_path).lock()
