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
from making import made

from crvae.data import open_data
from crvae.errors import UserError


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


@pytest.fixture
def interrupted(monkeypatch, fill, encoded, picture, tmp_path):
    """Prepares 8 pictures, 2 a chunk, of which the first is done; the function makes the source of a folder."""
    import zipfile

    import datasets

    from crvae.data import preparation, rows

    monkeypatch.setattr(rows, "CHUNK", 2)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    folder, write_chunk = fill(tmp_path / "pictures", 8), preparation.write_chunk
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\n" + "".join(f"{i:03d}.png,{i % 2}\n" for i in range(8)))

    def source(kind: str) -> tuple[Path, dict[str, object]]:
        names = sorted(path.name for path in folder.iterdir())
        if kind == "zip":
            with zipfile.ZipFile(tmp_path / "some.zip", "w") as file:
                for name in names:
                    file.write(folder / name, name)
            return tmp_path / "some.zip", {}
        if kind == "parquet":
            rows = {"image": [(folder / name).read_bytes() for name in names]}
            datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "some.parquet")
            return tmp_path / "some.parquet", {}
        return folder, {"labels": str(labels)} if kind == "labels" else {}

    def stop(source: object, chunk: int, *args: object, **options: object) -> None:
        if chunk:
            raise KeyboardInterrupt
        write_chunk(source, chunk, *args, **options)

    def run(kind: str) -> tuple[Path, dict[str, object]]:
        given, options = source(kind)
        with monkeypatch.context() as patched:
            patched.setattr(preparation, "write_chunk", stop)
            with pytest.raises(KeyboardInterrupt):
                made(given, tmp_path / "out", **options)
        assert (tmp_path / ".out.preparing" / "chunk-000000.json").exists()
        return given, options

    return run


@pytest.mark.parametrize("kind", ["labels", "folder", "zip", "parquet"])
def test_what_was_corrected_after_an_interruption_is_not_mixed_with_what_was_done(kind, interrupted, tmp_path):
    given, options = interrupted(kind)
    if kind == "labels":
        table = tmp_path / "labels.csv"
        table.write_text(table.read_text().replace("000.png,0", "000.png,1"))
    else:
        file = given / "000.png" if kind == "folder" else given
        before = file.stat()
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # the same size
    with pytest.raises(UserError, match="the source has changed"):
        made(given, tmp_path / "out", **options)


@pytest.mark.parametrize("kind", ["labels", "folder", "zip", "parquet"])
def test_what_was_left_alone_goes_on(kind, interrupted, tmp_path):
    given, options = interrupted(kind)
    again, whole = made(given, tmp_path / "out", **options), made(given, tmp_path / "whole", **options)
    assert again.fingerprint == whole.fingerprint
