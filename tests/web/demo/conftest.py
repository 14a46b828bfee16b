"""Demo pages of tiny models, served by the real command in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from visitor import Visitor

from crvae.cli import main
from crvae.config.stage2 import UpsamplerConfig
from crvae.models.upsampler import Upsampler
from crvae.storage.models import load, save_upsampler


@contextmanager
def served(log: Path, *args: str) -> Iterator[str]:
    """`crvae demo ARGS`: its address. What it says on standard error goes to `log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "crvae", "demo", *args, "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stderr=output, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        deadline = time.monotonic() + 240
        while not re.search(r"demo: http://127\.0\.0\.1:\d+/", log.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="session")
def dense(tmp_path_factory, colour, tiny) -> Path:
    """A run whose latents have another shape than those of `trained`."""
    out = tmp_path_factory.mktemp("dense") / "dense"
    assert main(["train", "emoji-vae-gan", "--data", str(colour), "--out", str(out), *tiny]) == 0
    return out


@pytest.fixture(scope="session")
def large(tmp_path_factory, trained) -> Path:
    """A Stage2 folder on top of `trained`, its network as it was drawn."""
    folder = tmp_path_factory.mktemp("large") / "large"
    config = UpsamplerConfig(size=32, output_size=64, width=4, blocks=0, residual=True)
    stage1 = load(trained)
    assert not isinstance(stage1, Upsampler)
    save_upsampler(folder, Upsampler(config, stage1), recipe="test", images=0)
    return folder


@pytest.fixture(scope="session")
def marked(tmp_path_factory, colour) -> Path:
    """The same images, with a card that says where their eyes and beaks lie."""
    folder = tmp_path_factory.mktemp("marked") / "data"
    shutil.copytree(colour, folder)
    card = json.loads((folder / "card.json").read_text())
    card["boxes"] = {"beak": [0.5, 0.25, 0.75, 0.5], "eyes": [0.0, 0.0, 0.25, 1.0]}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="session")
def log(tmp_path_factory) -> Path:
    """What the server of `site` says."""
    return tmp_path_factory.mktemp("site") / "log"


@pytest.fixture(scope="session")
def site(log, trained, dense, marked) -> Iterator[str]:
    """Two models side by side; the images to pick are validation images of `marked`."""
    with served(log, str(trained), str(dense), "--images", str(marked)) as url:
        yield url


@pytest.fixture(scope="session")
def large_site(tmp_path_factory, large) -> Iterator[str]:
    """A Stage2 run alone, without images to pick."""
    log = tmp_path_factory.mktemp("large-site") / "log"
    with served(log, str(large)) as url:
        yield url


@pytest.fixture
def visit(browser, site, log):
    """visit(url, device, tab): somebody on the page. In the end nothing was asked of another host, and nothing broke."""
    visitors: list[Visitor] = []
    said = len(log.read_text())

    def come(url: str, device: dict, tab: str = "") -> Visitor:
        visitors.append(Visitor(browser, url, device))
        if tab:
            visitors[-1].open(tab)
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.page.context.close()
        hosts = {address.split("/")[2] for address in visitor.addresses if not address.startswith(("data:", "blob:"))}
        assert hosts == {visitor.host}
        assert visitor.complaints == []
    assert "Traceback" not in log.read_text()[said:]
