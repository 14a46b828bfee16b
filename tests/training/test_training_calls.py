"""`crvae.train` and `crvae.resume` from several threads: one training at a time, and nothing of another in its draws."""

from __future__ import annotations

import threading

import pytest

import crvae
from crvae.errors import UserError
from crvae.training import launch


@pytest.mark.parametrize("second", ["train", "resume"])
def test_a_process_trains_one_run_at_a_time(tmp_path, colour, trained, monkeypatch, second):
    """The second refuses and makes nothing; when the first has ended, another can begin."""
    begun, end = threading.Event(), threading.Event()

    def first(*_: object):
        begun.set()
        assert end.wait(60)
        return trained

    monkeypatch.setattr(launch, "start", first)
    found: list[crvae.Autoencoder] = []
    thread = threading.Thread(target=lambda: found.append(crvae.train("emoji-vae", colour, tmp_path / "first")))
    thread.start()
    try:
        assert begun.wait(60)
        words = "another training runs in this process: train in a process of its own"
        with pytest.raises(UserError, match=words):
            crvae.resume(trained) if second == "resume" else crvae.train("emoji-vae", colour, tmp_path / "second")
    finally:
        end.set()
        thread.join()
    assert len(found) == 1
    assert not list(tmp_path.iterdir())
    assert crvae.train("emoji-vae", colour, tmp_path / "third") is not None


def test_a_training_that_fails_lets_the_next_one_begin(tmp_path, colour):
    for _ in range(2):
        with pytest.raises(UserError, match="is not a run"):
            crvae.resume(tmp_path)
