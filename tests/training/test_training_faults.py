"""Checkpoints and the published model when the disk fails: at every write, rename and sync the previous state opens."""

from __future__ import annotations

import builtins
import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from crvae.cli import main
from crvae.errors import UserError
from crvae.files import replaced
from crvae.training import checkpoint

STATE = {"images": 16, "weights": torch.arange(3000.0)}
NEWER = {"images": 32, "weights": torch.arange(3000.0) + 1}


class Faults:
    """Raises an OSError at the n-th call that opens for writing, syncs, renames or makes a folder."""

    def __init__(self, monkeypatch, number: int = errno.EIO):
        self.number, self.calls, self.at = number, 0, 0
        for name in ("fsync", "rename", "replace", "mkdir"):
            monkeypatch.setattr(os, name, self._faulty(getattr(os, name)))
        monkeypatch.setattr(torch, "save", self._faulty(torch.save))
        opened = builtins.open
        monkeypatch.setattr(
            Path, "write_text", self._faulty(lambda path, text, **_: opened(path, "w").write(text) and None)
        )

    def _faulty(self, call):
        def wrapped(*args, **kwargs):
            self.calls += 1
            if self.calls == self.at:
                raise OSError(self.number, os.strerror(self.number))
            return call(*args, **kwargs)

        return wrapped


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_every_call_of_a_save_may_fail(tmp_path, monkeypatch, number):
    faults = Faults(monkeypatch, number)
    checkpoint.save(tmp_path / "counted", 16, STATE, keep=1)
    total = faults.calls
    assert total >= 8
    for at in range(1, total + 1):
        folder = tmp_path / str(at)
        faults.at = 0
        checkpoint.save(folder, 16, STATE, keep=1)
        faults.calls, faults.at = 0, at
        said = ""
        try:
            checkpoint.save(folder, 32, NEWER, keep=1)
        except UserError as error:
            said = str(error)
        assert (os.strerror(number) in said and "older checkpoints are intact" in said) or not said
        faults.at = 0
        images, state, complaints = checkpoint.newest(folder)
        assert images in (16, 32)
        assert torch.equal(state["weights"], (STATE if images == 16 else NEWER)["weights"])
        assert not complaints
        checkpoint.save(folder, 48, STATE, keep=1)  # the next one finds room and leaves nothing behind
        assert [path.name for path in folder.iterdir()] == [f"{48:012d}"]


def test_every_call_of_a_publication_may_fail(tmp_path, monkeypatch):
    model = tmp_path / "model"
    with replaced(model) as folder:
        (folder / "a").write_text("old")
        (folder / "b").write_text("old")
    faults = Faults(monkeypatch)
    for at in range(1, 12):
        faults.calls, faults.at = 0, at
        try:
            with replaced(model) as folder:
                (folder / "a").write_text("new")
                (folder / "b").write_text("new")
        except OSError:
            pass
        faults.at = 0
        found = {(model / name).read_text() for name in ("a", "b")}
        assert found in ({"old"}, {"new"}), at
        with replaced(model) as folder:
            (folder / "a").write_text("old")
            (folder / "b").write_text("old")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def damage_truncated(path: Path) -> None:
    os.truncate(path / "state.pt", 100)


def damage_flipped(path: Path) -> None:
    content = bytearray((path / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "state.pt").write_bytes(content)


def damage_missing(path: Path) -> None:
    (path / "state.pt").unlink()


def damage_manifest(path: Path) -> None:
    (path / "manifest.json").write_text('{"format": 1')


def damage_manifest_kinds(path: Path) -> None:
    (path / "manifest.json").write_text('{"format": "one", "images": 1, "sha256": {"state.pt": 5}}')


def damage_empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


DAMAGES = [damage_truncated, damage_flipped, damage_missing, damage_manifest, damage_manifest_kinds, damage_empty]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, damage):
    checkpoint.save(tmp_path, 16, STATE, keep=3)
    damage(checkpoint.save(tmp_path, 32, NEWER, keep=3))
    images, state, complaints = checkpoint.newest(tmp_path)
    assert images == 16
    assert torch.equal(state["weights"], STATE["weights"])
    assert len(complaints) == 1
    assert f"{32:012d} is damaged" in complaints[0]
    checkpoint.save(tmp_path, 24, NEWER, keep=1)  # the damaged one, of a later moment, does not count as kept
    assert [path.name for path in checkpoint.existing(tmp_path)] == [f"{24:012d}"]
    assert checkpoint.newest(tmp_path)[0] == 24


def test_nothing_whole_is_said_in_one_sentence(tmp_path):
    damage_flipped(checkpoint.save(tmp_path, 16, STATE, keep=3))
    with pytest.raises(UserError, match="holds no whole checkpoint"):
        checkpoint.newest(tmp_path)


def test_the_newest_few_are_kept(tmp_path):
    for images in (0, 16, 32, 48):
        checkpoint.save(tmp_path, images, STATE, keep=2)
    assert [int(path.name) for path in checkpoint.existing(tmp_path)] == [32, 48]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / f".{8:012d}.tmp").mkdir()
    (tmp_path / f".{8:012d}.tmp" / "state.pt").write_bytes(b"x" * 1000)
    (tmp_path / ".DS_Store").touch()  # not ours
    checkpoint.save(tmp_path, 16, STATE, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".DS_Store", f"{16:012d}"]


def test_a_newer_format_is_refused(tmp_path):
    path = checkpoint.save(tmp_path, 16, STATE, keep=2)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(UserError, match="newer than this crvae reads"):
        checkpoint.newest(tmp_path)


def test_a_pickle_with_code_is_not_run(tmp_path):
    """Even where the manifest vouches for it."""
    import hashlib
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = checkpoint.save(tmp_path / "checkpoints", 16, STATE, keep=2)
    for content in (pickle.dumps(Evil()), _torch_saved({"images": Evil()}, tmp_path / "evil.pt")):
        (path / "state.pt").write_bytes(content)
        manifest = {"format": 1, "images": 16, "sha256": {"state.pt": hashlib.sha256(content).hexdigest()}}
        (path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(UserError, match="no whole checkpoint"):
            checkpoint.newest(tmp_path / "checkpoints")
    assert not (tmp_path / "ran").exists()


def _torch_saved(value: object, path: Path) -> bytes:
    torch.save(value, path)
    return path.read_bytes()


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 6 MB; needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_really_full_disk(full_disk):
    """Free space is checked first; where it lies, the write itself fails, in the same sentence."""
    folder = full_disk / "checkpoints"
    checkpoint.save(folder, 16, STATE, keep=3)
    large = {"images": 32, "weights": torch.zeros(1_800_000)}  # 7.2 MB
    with pytest.raises(
        UserError, match=r"10\.3 MiB are needed for a checkpoint and 6\.0 are free\. Free space, then resume"
    ):
        checkpoint.save(folder, 32, large, keep=3)
    spare, checkpoint.SPARE = checkpoint.SPARE, 0
    try:
        with pytest.raises(UserError, match="could not be written") as found:
            checkpoint.save(folder, 32, large, keep=3)
    finally:
        checkpoint.SPARE = spare
    assert "\n" not in str(found.value)
    assert checkpoint.newest(folder)[0] == 16
    assert [path.name for path in folder.iterdir()] == [f"{16:012d}"]


def test_training_onto_a_full_disk_stops_in_one_sentence(full_disk, colour, tiny, capsys):
    """Then room is made, and the run goes on from its last checkpoint."""
    run, filler = full_disk / "run", full_disk / "filler"
    command = ["train", "emoji-vae", "--data", str(colour), "--out", str(run), *tiny]
    assert main([*command, "--train.images", "64"]) == 0
    room = shutil.disk_usage(full_disk).free
    filler.write_bytes(bytes(room - 40_000))
    capsys.readouterr()
    assert main(["train", "--resume", str(run), "--train.images", "1600"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert "Traceback" not in "".join(said)
    assert said[-1].startswith("crvae: ")
    assert checkpoint.newest(run / "checkpoints")[0] == 64
    filler.unlink()
    assert main(["train", "--resume", str(run), "--train.images", "160"]) == 0
    assert checkpoint.newest(run / "checkpoints")[0] == 160
