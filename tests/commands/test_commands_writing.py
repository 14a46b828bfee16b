"""No command leaves anything under a final name where it cannot write: a full disk, a read-only folder, no folder at all."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from crvae.cli import main
from reference.commands import NEW, WRITING
from reference.refusal import refused


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own; skips where this process may not mount one."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill_up(folder: Path) -> None:
    """Takes the last byte of a file system."""
    with contextlib.suppress(OSError), (folder / ".filler").open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass


def hashes(folder: Path) -> dict[str, str]:
    """Path -> hash of every file that is not hidden."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("kind", NEW)
def test_a_full_disk_leaves_nothing(kind, words, tmp_path, capsys):
    with mounted(tmp_path / "full", "size=4k") as out:
        fill_up(out)
        said = refused(words(kind, out), capsys)
        assert "No space left" in said
        assert not [path for path in out.iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize("kind", NEW)
def test_a_read_only_folder_is_one_sentence(kind, words, tmp_path, capsys):
    with mounted(tmp_path / "sealed", "size=1m,ro") as out:
        said = refused(words(kind, out), capsys)
        assert str(out) in said


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize("place", ["/proc", "long"])
def test_places_where_nothing_can_be_made(kind, place, words, tmp_path, capsys):
    args = words(kind, Path("/proc") if place == "/proc" else tmp_path)
    if place == "long":
        args = [re.sub(rf"^({re.escape(str(tmp_path))}/)\w+", rf"\1{'n' * 300}", arg) for arg in args]
    refused(args, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [kind for kind in WRITING if kind not in NEW])
@pytest.mark.parametrize("how", ["full", "sealed"])
def test_what_is_changed_in_place_stays_as_it_was(kind, how, words, lay, tmp_path, capsys):
    with mounted(tmp_path / "disk", "size=64m") as out:
        lay(kind, out)
        before = hashes(out)
        if how == "full":
            fill_up(out)
        else:
            subprocess.run(["mount", "-o", "remount,ro", out], check=True)
        said = refused(words(kind, out), capsys)
        assert str(out) in said or "No space left" in said
        assert hashes(out) == before
        if how == "full":
            (out / ".filler").unlink()
            assert main(words(kind, out)) == 0


@pytest.mark.parametrize("command", ["reconstruct", "progressive", "profile", "encode", "encode-run"])
def test_what_a_command_reads_it_does_not_replace(command, trained, painted, tmp_path, capsys):
    painted(tmp_path / "in", 3, 32)
    shutil.copytree(trained / "model", tmp_path / "model")
    picture, model = tmp_path / "in" / "001.png", tmp_path / "model"
    (tmp_path / "link.png").symlink_to(picture)
    out, args = {
        "reconstruct": (picture, ["reconstruct", model, "--data", picture, "--out"]),
        "progressive": (tmp_path / "link.png", ["traverse", model, "progressive", "--images", picture, "--out"]),
        "profile": (picture, ["traverse", model, "profile", "--images", tmp_path / "in", "--out"]),
        "encode": (tmp_path / "z.safetensors", ["encode", model, "--images", tmp_path]),
        "encode-run": (model / "model.safetensors", ["encode", model, "--images", picture]),
    }[command]
    if not out.exists():
        out.write_bytes(b"another")
    before = out.read_bytes()
    assert main([*map(str, args), str(out)]) == 2
    assert "which the command reads. Choose another name" in capsys.readouterr().err
    assert out.read_bytes() == before
