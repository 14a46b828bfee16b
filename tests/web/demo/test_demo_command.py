"""What a user can mend is one sentence before anything is served; Ctrl-C ends the server without a trace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from crvae.cli import main
from crvae.config.stage1 import ModelConfig
from crvae.models import Autoencoder
from crvae.storage.models import save


@pytest.fixture
def refused(capsys):
    def ask(*args: object) -> str:
        assert main(["demo", *map(str, args)]) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        told = [line for line in said.splitlines() if not line.startswith("loading ")]  # what it does is said at once
        assert len(told) == 1
        return said

    return ask


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_does_not_exist(refused, trained, port):
    assert "--port must be from 1 to 65535" in refused(trained, "--port", port)


def test_a_port_that_is_taken(refused, trained):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "cannot be used" in refused(trained, "--port", taken.getsockname()[1])


def test_no_run(refused, trained, tmp_path):
    assert "neither a run nor an exported folder" in refused(tmp_path / "none")
    assert "neither a run nor an exported folder" in refused(trained, tmp_path / "none")
    assert "RUN" in refused()


def test_images_that_are_not_there(refused, trained, tmp_path):
    assert "--images" in refused(trained, "--images", tmp_path / "none")


def test_two_kinds_of_image(refused, trained, tmp_path):
    model = Autoencoder(ModelConfig(latent="dense", size=28, channels=1, width=1, latent_channels=8, steps=4))
    save(tmp_path / "grey", model, recipe="test", images=0)
    said = refused(trained, tmp_path / "grey")
    assert "3 channels of 32 by 32 pixels and 1 channels of 28 by 28 pixels" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_in_order(trained, tmp_path, number):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "crvae", "demo", str(trained), "--port", str(port)]
        (tmp_path / "temporary").mkdir()
        env = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
        process = subprocess.Popen(command, stderr=output, preexec_fn=_hear_interrupts, env=env)
    deadline = time.monotonic() + 240
    while "demo: http" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    assert list((tmp_path / "temporary").glob("crvae-demo-*"))
    process.send_signal(number)
    assert process.wait(60) == 0
    assert "stopped" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not list((tmp_path / "temporary").glob("crvae-demo-*"))


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes ignore it in some set-ups
