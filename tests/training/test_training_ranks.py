"""Two data-parallel ranks: the same weights as one, exact resume, signals, and refusal of another number of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from crvae.cli import main
from processes import ranks, until
from reference.same import assert_same_end, last_state


def train(data: Path, out: Path, tiny: list[str], *more: str) -> list[str]:
    return ["train", "emoji-crvae-gan-mi", "--data", str(data), "--out", str(out), *tiny, "--input.flip", *more]


@pytest.fixture(scope="module")
def pair(tmp_path_factory, colour, tiny) -> Path:
    """A finished run of two ranks."""
    folder = tmp_path_factory.mktemp("pair")
    for rank in ranks(2, train(colour, folder / "run", tiny, "--train.warm-up"), folder / "log"):
        assert rank.wait() == 0, rank.said()
    return folder / "run"


def test_two_ranks_do_what_one_does_in_two_parts(pair, tmp_path, colour, tiny):
    """Every part of a batch draws the same numbers wherever it is computed; sums may round differently."""
    one = tmp_path / "one"
    assert main(train(colour, one, tiny, "--train.warm-up", "--train.accumulate", "2")) == 0
    states = last_state(pair), last_state(one)
    for name, tensor in states[0]["averaged"].items():
        torch.testing.assert_close(tensor, states[1]["averaged"][name], rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_both_and_nothing_is_lost(pair, tmp_path, colour, tiny, number):
    """Both ranks exit 143 (130), whichever got the signal; the resumed run is the undisturbed one."""
    run = tmp_path / "run"
    started = ranks(2, train(colour, run, tiny, "--train.warm-up", "--train.images", "16000"), tmp_path / "log")
    until(lambda: (run / "checkpoints" / f"{64:012d}").exists(), started[0])
    started[int(number == signal.SIGINT)].signal(number)
    assert [rank.wait() for rank in started] == [128 + number] * 2, started[0].said()
    assert f"crvae train --resume {run}" in started[0].said()
    assert "Traceback" not in started[0].said() + started[1].said()
    images = last_state(run)["images"]
    total = str(max(160, images + 32))
    for rank in ranks(2, ["train", "--resume", str(run), "--train.images", total], tmp_path / "again"):
        assert rank.wait() == 0, rank.said()
    whole = pair
    if total != "160":
        whole = tmp_path / "whole"
        for rank in ranks(
            2, train(colour, whole, tiny, "--train.warm-up", "--train.images", total), tmp_path / "whole-log"
        ):
            assert rank.wait() == 0, rank.said()
    assert_same_end(whole, run)


def test_another_number_of_ranks_is_refused_unless_inexact(pair, tmp_path, capsys):
    run = shutil.copytree(pair, tmp_path / "run")
    assert main(["train", "--resume", str(run), "--train.images", "176"]) == 2
    said = capsys.readouterr().err
    assert "world was 2, is now 1" in said
    assert "--inexact" in said
    assert last_state(run)["images"] == 160
    assert main(["train", "--resume", str(run), "--train.images", "176", "--inexact"]) == 0
    assert last_state(run)["images"] == 176


def differ() -> None:
    """Makes rank 1's weights drift after the third step, as a broken device would."""
    from crvae.training.optimising import Optimising

    set_rates = Optimising.set_rates

    def drifting(self, images):
        set_rates(self, images)
        if os.environ["RANK"] == "1" and images == 48:
            with torch.no_grad():
                self.parameters[0].add_(1e-3)

    Optimising.set_rates = drifting  # type: ignore[method-assign]


def test_ranks_that_differ_stop_before_anything_is_written(tmp_path, colour, tiny):
    run = tmp_path / "run"
    started = ranks(2, train(colour, run, tiny), tmp_path / "log", prepare=differ)
    assert [rank.wait() for rank in started] == [2, 2], started[0].said()
    for rank in started:
        assert "the ranks' weights differ at 64 images" in rank.said()
        assert "Traceback" not in rank.said()
    assert last_state(run)["images"] == 0


def test_a_batch_that_does_not_divide_is_refused(tmp_path, colour, tiny):
    started = ranks(2, train(colour, tmp_path / "run", tiny, "--discriminator.group", "16"), tmp_path / "log")
    assert [rank.wait() for rank in started] == [2, 2]
    assert "--train.batch must be a multiple of 2 * --discriminator.group (16), got 16" in started[0].said()
    assert not (tmp_path / "run").exists()


def test_ctrl_c_under_torchrun(tmp_path, colour, tiny):
    """The terminal sends SIGINT to the launcher and its ranks alike, and the launcher passes it on: saved all the same."""
    run, log = tmp_path / "run", tmp_path / "log"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "crvae"]
    with log.open("w") as said:
        process = subprocess.Popen(
            [*launch, *train(colour, run, tiny, "--train.images", "160000")], stderr=said, start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while not (run / "checkpoints" / f"{64:012d}").exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(120) != 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert f"crvae train --resume {run}" in log.read_text(), log.read_text()
    reports = (run / "metrics.jsonl").read_text().splitlines()
    assert last_state(run)["images"] >= 32 * len(reports)
