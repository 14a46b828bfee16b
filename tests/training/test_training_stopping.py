"""A second signal, and a bar that ends where training does."""

from __future__ import annotations

import os
import signal
import time

import pytest

from crvae.cli import main
from crvae.training import loop, reporting
from crvae.training.reporting import Reporter


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_training_with_its_own_code(tmp_path, colour, tiny, monkeypatch, capsys, number):
    def twice(self, images: int) -> None:
        os.kill(os.getpid(), number)
        time.sleep(0)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(loop, "IMPATIENCE", -1.0)
    monkeypatch.setattr(Reporter, "advance", twice)
    run = tmp_path / "run"
    assert main(["train", "emoji-vae", "--data", str(colour), "--out", str(run), *tiny]) == 128 + number
    said = capsys.readouterr().err
    assert f"crvae train --resume {run}" in said
    assert "everything is saved" not in said


def test_the_bar_ends_at_what_is_seen(tmp_path, colour, tiny, monkeypatch, capsys):
    """60 images are 64 in batches of 16; the prior's 20 latents are 32."""
    bars: list[tuple[str, int, int, str]] = []

    class Bar:
        def update(self, title: str, done: int, total: int, note: str) -> None:
            bars.append((title, done, total, note))

    monkeypatch.setattr(reporting, "in_notebook", lambda: True)
    monkeypatch.setattr(reporting, "NotebookBar", Bar)
    prior = ["--prior.kind", "flow", "--prior.flow.width", "8", "--prior.batch", "16", "--prior.images", "20"]
    options = [*tiny, "--train.images", "60", *prior]
    assert main(["train", "emoji-vae", "--data", str(colour), "--out", str(tmp_path / "run"), *options]) == 0
    assert all(done <= total for _, done, total, _ in bars)
    last = {title: note.partition(",")[0] for title, _, _, note in bars}
    assert last == {"training": "64 of 64 images", "fitting the prior": "32 of 32 latents"}
