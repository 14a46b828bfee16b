"""Places that are not as usual: file systems without locks, long and odd names, full and read-only folders, `~` and `.`."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crvae.data import open_data
from crvae.data.sources import npm, rows_of_tables, scratch
from crvae.errors import UserError
from crvae.workplace import workplace


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
@pytest.mark.parametrize(("module", "call", "words"), [(fcntl, "flock", "has no locks"), (os, "fsync", "cannot sync")])
def test_a_file_system_that_cannot_is_warned_of_once(module, call, words, code, images, crvae, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    if (call, code) == ("fsync", errno.ENOLCK):
        return
    monkeypatch.setattr(module, call, refuse)
    exit_code, _, err = crvae("prepare", images, tmp_path / "out", "--size", 8)
    assert exit_code == 0
    assert err.count(words) == 1
    assert open_data(tmp_path / "out").card.files.used == 12


def test_the_home_folder_is_meant_by_a_tilde(images, crvae, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert crvae("prepare", "~/images", "~/made/out", "--size", 8)[0] == 0
    assert open_data(tmp_path / "made" / "out").card.files.used == 12
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("out", [".", "./", "..", "/", ""])
def test_a_place_that_exists_is_one_sentence(out, images, refused, tmp_path, monkeypatch):
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "below")
    assert "already exists" in refused("prepare", images, out, "--size", 8)
    assert list((tmp_path / "here").rglob(".*preparing")) == []


@pytest.mark.parametrize("name", ["\u6e2c" * 80, "a [b] c", "caf\udce9", "x" * 250, "-dash"])
def test_long_and_odd_names_of_folders(name, images, crvae, tmp_path):
    source = tmp_path / name
    images.rename(source)
    out = tmp_path / "made" / name
    code, _, err = crvae("prepare", source, out, "--size", 8)
    assert code == 0, err
    assert open_data(out).card.files.used == 12
    assert [path.name for path in out.parent.iterdir()] == [name]


def test_a_terminal_of_another_alphabet_is_no_accident(images, tmp_path):
    (images / "cat" / "\u732b.png").write_bytes(b"broken")
    command = [sys.executable, "-m", "crvae", "prepare", str(images), str(tmp_path / "out"), "--size", "8"]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert rb"\u732b.png is not an image" in done.stderr


def test_only_what_a_preparation_wrote_is_deleted(images, refused, crvae, tmp_path):
    work = tmp_path / ".out.preparing"
    (work / "mine").mkdir(parents=True)
    for name in ("chunk-notes.json", "train-000000.parquet.copy", "my lock"):
        (work / name).write_text("mine")
    for name in (".card.json.123", ".chunk-000000.json.0a1b2c3d.tmp"):
        (work / name).write_text("of a killed process")
    assert crvae("prepare", images, tmp_path / "out", "--size", 8)[0] == 0
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"mine", "chunk-notes.json", "train-000000.parquet.copy", "my lock"} <= left
    assert not {"lock", "request.json", "chunk-000000.json", ".card.json.123", ".chunk-000000.json.0a1b2c3d.tmp"} & left
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_bytes(b"x")
    work = tmp_path / ".none.preparing"
    work.mkdir()
    (work / "mine").write_text("mine")
    assert "no usable image" in refused("prepare", broken, tmp_path / "none", "--size", 8)
    assert [path.name for path in work.iterdir()] == ["mine"]


def test_errors_of_the_disk_and_of_the_network_have_different_cures(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    wrapped = RuntimeError("An error occurred while generating the dataset")
    wrapped.__cause__ = full
    assert "HF_HOME" in rows_of_tables._cure(wrapped, "hub:a/b")
    assert "network" in rows_of_tables._cure(ConnectionError("offline"), "hub:a/b")
    assert "network" not in rows_of_tables._cure(ValueError("bad magic"), "table.parquet")
    assert "TMPDIR" in str(scratch.no_room(full))
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for message, word in (
        ("npm ERR! code ENOSPC", "CRVAE_CACHE"),
        ("npm ERR! code EACCES", "CRVAE_CACHE"),
        ("npm ERR! network", "network"),
    ):
        (binaries / "npm").write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
        (binaries / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", f"{binaries}:{os.environ['PATH']}")
        monkeypatch.setenv("CRVAE_CACHE", str(tmp_path / "cache"))
        with pytest.raises(UserError, match=word):
            npm.install(["nothing"], None)
    monkeypatch.setenv("CRVAE_CACHE", "/proc/nowhere")
    with pytest.raises(UserError, match="CRVAE_CACHE"):
        npm.install(["nothing"], None)


def test_a_full_temporary_folder_is_named(tmp_path, images, refused, monkeypatch):
    import shutil
    import tempfile

    packed = shutil.make_archive(str(tmp_path / "a"), "gztar", images)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert "TMPDIR" in refused("prepare", packed, tmp_path / "out")


def test_suggested_commands_quote_names_with_spaces(tmp_path):
    (tmp_path / "my photos").mkdir()
    with pytest.raises(UserError, match=r"`crvae prepare '.*my photos' OUT`"):
        open_data(tmp_path / "my photos")
    with pytest.raises(UserError, match=r"`crvae prepare SOURCE '.*no where'`"):
        open_data(tmp_path / "no where")


def test_names_in_brackets_are_shown(crvae, tmp_path, encoded, picture):
    for i, name in enumerate(("[raw]", "[/b]", "[red]x")):
        path = tmp_path / "[set]" / name / f"{i} [old].png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(picture(i, 9, 8)))
        path.with_name("broken [old].png").write_bytes(b"x")
    code, _, err = crvae("prepare", tmp_path / "[set]", tmp_path / "[out]", "--size", 8)
    assert code == 0
    assert "[raw]/broken [old].png is not" in err
    assert "[out]: " in err
    code, out, _ = crvae("prepare", "--inspect", tmp_path / "[out]")
    assert all(name in out for name in ("[raw]", "[/b]", "[red]x", "broken [old].png"))


def test_the_working_folder_is_short_enough_for_any_name():
    for name in ("a", "\u6e2c" * 80, "x" * 255):
        assert len(os.fsencode(workplace(Path(name), "preparing").name)) <= 255
    assert workplace(Path("dir/a"), "preparing") == Path("dir/.a.preparing")
