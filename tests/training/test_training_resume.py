"""N + M images in one go are, bit for bit, N, stop, M: at any image count, for every option that has a memory."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from crvae.cli import main
from crvae.training import checkpoint, launch, loop, resuming
from processes import Command, until
from reference.same import assert_same_end, difference, last_state

VARIANTS = {
    "everything": [
        "emoji-crvae-gan-mi", "--train.warm-up", "--objective.margin", "0.3", "--train.halve-every-images", "50",
        "--objective.mutual-information-weights", "1,2,1,1,1,1,1,1", "--input.flip",
    ],
    "accumulate": ["emoji-crvae-gan-mi", "--train.accumulate", "2", "--input.flip"],
    "dense-bf16": ["emoji-vae-gan", "--train.precision", "bf16"],
    "mixed": ["birds-vae-gan-release"],
    "vae": ["emoji-cvae"],
}  # fmt: skip
"""Recipe and options -> what there is to remember."""


def train(data: Path, out: Path, tiny: list[str], variant: str, *more: str) -> list[str]:
    recipe, *options = VARIANTS[variant]
    return ["train", recipe, "--data", str(data), "--out", str(out), *tiny, *options, *more]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("images", [16, 96])
def test_stopping_and_going_on_changes_nothing(tmp_path, colour, tiny, variant, images):
    """160 images at once, or first `images` (in the first epoch, in the second) and then the others."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(train(colour, whole, tiny, variant)) == 0
    assert main(train(colour, parts, tiny, variant, "--train.images", str(images))) == 0
    assert main(["train", "--resume", str(parts), "--train.images", "160"]) == 0
    assert_same_end(whole, parts)


def test_binarised_digits_too(tmp_path, grey, tiny):
    """Every visit draws new pixels; publishing draws too."""
    command = ["train", "mnist-crvae", "--data", str(grey), *tiny, "--model.size", "28", "--model.channels", "1"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    assert main([*command, "--out", str(tmp_path / "parts"), "--train.images", "80"]) == 0
    assert main(["train", "--resume", str(tmp_path / "parts"), "--train.images", "160"]) == 0
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, colour, tiny, trained, number):
    run = tmp_path / "run"
    command = Command(train(colour, run, tiny, "everything", "--train.images", "3200"), tmp_path / "log")
    until(lambda: (run / "checkpoints" / f"{64:012d}").exists(), command)
    command.signal(number)
    assert command.wait() == 128 + number, command.said()
    assert f"crvae train --resume {run}" in command.said()
    assert "Traceback" not in command.said()
    stopped = int(sorted(path.name for path in (run / "checkpoints").iterdir())[-1])
    assert stopped % 16 == 0
    total = str(stopped + 64)
    assert main(["train", "--resume", str(run), "--train.images", total]) == 0
    assert main(train(colour, tmp_path / "whole", tiny, "everything", "--train.images", total)) == 0
    assert_same_end(tmp_path / "whole", run)


@pytest.mark.parametrize("step", [2, 3, 6, 10])
def test_stopped_at_any_step_a_run_keeps_every_report_and_snapshot(tmp_path, colour, tiny, trained, monkeypatch, step):
    """Reports every 32 images, snapshots every 96, checkpoints every 64, the end at 160, 16 a step: stops on and off them."""
    run, steps = tmp_path / "run", [0]
    original = loop.TrainingStep.__call__

    def stopping(self, *args):
        steps[0] += 1
        if steps[0] == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(loop.TrainingStep, "__call__", stopping)
        assert main(train(colour, run, tiny, "everything")) == 143
    assert main(["train", "--resume", str(run)]) == 0
    whole = tmp_path / "whole"
    assert main(train(colour, whole, tiny, "everything")) == 0
    assert_same_end(whole, run)
    grids, lines = (
        [[path.name for path in sorted((one / "samples").iterdir())] for one in (whole, run)],
        [
            [json.loads(line)["images"] for line in (one / "metrics.jsonl").read_text().splitlines()]
            for one in (whole, run)
        ],
    )
    assert grids[0] == grids[1]
    assert lines[0] == lines[1]
    for name in grids[0]:
        assert (whole / "samples" / name).read_bytes() == (run / "samples" / name).read_bytes()


def test_a_total_below_what_was_seen_is_refused_and_changes_nothing(tmp_path, colour, tiny, capsys):
    """40 images are 48, in whole batches: the total that the run was given is no smaller one."""
    run = tmp_path / "run"
    assert main(train(colour, run, tiny, "vae", "--train.images", "40")) == 0
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["train", "--resume", str(run), "--train.images", "32"]) == 2
    assert "has seen 48 images, --train.images 32 is fewer" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == kept
    assert main(["train", "--resume", str(run), "--train.images", "40"]) == 0


def test_a_new_total_is_remembered(tmp_path, colour, tiny):
    run = tmp_path / "run"
    assert main(train(colour, run, tiny, "vae", "--train.images", "32")) == 0
    assert main(["train", "--resume", str(run), "--train.images", "64"]) == 0
    assert "images: 64" in (run / "config.yaml").read_text()
    assert main(["train", "--resume", str(run)]) == 0
    assert last_state(run)["images"] == 64


def test_a_finished_run_that_was_not_published_is(tmp_path, trained):
    """As after a kill between the last checkpoint and the model's files."""
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(run / "model")
    last = sorted((run / "samples").iterdir())[-1]
    last.unlink()
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_end(trained, run)


def test_a_run_killed_before_its_first_checkpoint_begins_anew(tmp_path, colour, trained, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    for name in ("checkpoints", "model", "samples"):
        shutil.rmtree(run / name)
    (run / "samples").mkdir()
    (run / "metrics.jsonl").unlink()
    assert main(["train", "--resume", str(run)]) == 0
    assert "starts again" in capsys.readouterr().err
    assert_same_end(trained, run)


def test_reports_of_a_lost_future_and_torn_lines_go(tmp_path, trained):
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / f"{160:012d}")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"images": 999, "seconds": 5}\n{"images": 12')
    assert main(["train", "--resume", str(run)]) == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [32, 64, 96, 128, 160]
    before = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    for one, other in zip(lines, before, strict=True):
        for volatile in ("seconds", "images_per_second"):
            one.pop(volatile), other.pop(volatile)
        assert difference(one, other) is None
    assert_same_end(trained, run)


def test_the_lines_of_the_metrics_are_the_contract(trained):
    line = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])
    promised = {
        "images", "seconds", "images_per_second", "reconstruction", "kl", "kl_per_step", "adversarial_reconstruction",
        "adversarial_sample", "mutual_information", "mutual_information_explained", "discriminator",
        "discriminator_error", "learning_rate",
    }  # fmt: skip
    assert promised <= set(line)
    assert len(line["kl_per_step"]) == 8
    assert abs(sum(line["kl_per_step"]) - line["kl"]) < 1e-3 * line["kl"]
    assert line["images"] == 160
    assert set(line["learning_rate"]) == {"trunk", "recurrence", "features", "adversarial_head", "latent_head"}
    for name in ("config.yaml", "environment.json", "model/config.json", "model/discriminator.safetensors"):
        assert (trained / name).is_file()
    assert list(trained.glob("events.out.tfevents.*"))
    assert [path.name for path in sorted((trained / "samples").iterdir())] == [f"{n:012d}.png" for n in (96, 160)]


def test_a_run_that_was_killed_before_its_first_checkpoint_has_one_before_it_reports(
    tmp_path, colour, tiny, monkeypatch
):
    """Else a second kill, between the first report and the first checkpoint, would leave what cannot be resumed."""
    run = tmp_path / "run"
    for module in (launch, resuming):
        monkeypatch.setattr(module, "fit", lambda *_: None)
    assert main(["train", "emoji-vae", "--data", str(colour), "--out", str(run), *tiny]) == 0
    shutil.rmtree(run / "checkpoints")
    assert main(["train", "--resume", str(run)]) == 0
    assert [path.name for path in checkpoint.existing(run / "checkpoints")] == ["000000000000"]
    assert checkpoint.newest(run / "checkpoints")[0] == 0
