"""A preparation that is killed, watched, repeated or crowded ends with the same bytes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crvae.data import open_data


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """4,300 small images: three runs."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("many")
    for i in range(4300):
        Image.new("RGB", (8 + i % 3, 8), (i % 256, i // 256, 7)).save(folder / f"{i:05d}.bmp")
    (folder / "broken.bmp").write_bytes(b"BM")
    return folder


@pytest.fixture(scope="module")
def whole(many, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run(command(many, out, 1), check=True, capture_output=True)
    return out


def command(source: Path, out: Path, workers: int) -> list[str]:
    return [sys.executable, "-m", "crvae", "prepare", str(source), str(out), "--size", "8", "--workers", str(workers)]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_number_of_workers_does_not_matter(many, whole, tmp_path):
    subprocess.run(command(many, tmp_path / "out", 2), check=True, capture_output=True)
    assert content(tmp_path / "out") == content(whole)
    assert len(list(whole.glob("train-*.parquet"))) == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_preparation_goes_on(number, code, many, whole, tmp_path):
    out, work = tmp_path / "out", tmp_path / ".out.preparing"
    process = subprocess.Popen(command(many, out, 1), stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (work / "chunk-000000.json").exists():
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in err
    assert not out.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("chunk-*.json")}
    assert len(kept) >= 1
    (work / ".train-000001.parquet.123").write_bytes(b"half a file of a killed process")
    before = (work / "train-000000.parquet").stat().st_mtime_ns
    subprocess.run(command(many, out, 1), check=True, capture_output=True)
    assert (out / "train-000000.parquet").stat().st_mtime_ns == before, "finished work was done again"
    assert content(out) == content(whole)
    assert not work.exists()


def test_another_request_does_not_go_on_with_it(images, refused, crvae, tmp_path):
    work = tmp_path / ".out.preparing"
    work.mkdir()
    (work / "request.json").write_text("{}")
    assert "interrupted preparation" in refused("prepare", images, tmp_path / "out", "--size", 8)
    (work / "request.json").unlink()
    assert crvae("prepare", images, tmp_path / "out", "--size", 8)[0] == 0


def test_two_at_once_are_refused(images, refused, tmp_path):
    work = tmp_path / ".out.preparing"
    work.mkdir()
    lock = os.open(work / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        assert "another process" in refused("prepare", images, tmp_path / "out", "--size", 8)
    finally:
        os.close(lock)


def test_a_full_disk_is_one_sentence_and_the_work_is_kept(many, whole, tmp_path):
    """A limit on file sizes stands for the full disk: writes fail with an OSError in the same places."""
    out = tmp_path / "out"
    limited = ["bash", "-c", 'ulimit -f 64; trap "" XFSZ; exec "$@"', "bash", *command(many, out, 1)]
    process = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert process.returncode == 2, process.stderr
    assert "cannot be written" in process.stderr
    assert "Traceback" not in process.stderr
    assert not out.exists()
    subprocess.run(command(many, out, 1), check=True, capture_output=True)
    assert content(out) == content(whole)


def test_a_vanished_folder_stops_in_words(tmp_path, images, crvae, monkeypatch):
    from crvae.data.images import Form
    from crvae.data.sources.folder import Folder, folder
    from crvae.errors import UserError

    source = folder(images, Form(sizes=(8,)))
    assert isinstance(source, Folder)
    item = next(source.items())
    images.rename(tmp_path / "moved")
    with pytest.raises(UserError, match="vanished"):
        source.open(item)


def test_the_same_images_at_another_place_have_the_same_fingerprint(images, prepared, crvae, tmp_path):
    images.rename(tmp_path / "elsewhere")
    assert crvae("prepare", tmp_path / "elsewhere", tmp_path / "again", "--size", 8, "--pair", 16)[0] == 0
    assert open_data(tmp_path / "again").fingerprint == open_data(prepared).fingerprint
    assert crvae("prepare", tmp_path / "elsewhere", tmp_path / "other", "--size", 8)[0] == 0
    assert open_data(tmp_path / "other").fingerprint != open_data(prepared).fingerprint
