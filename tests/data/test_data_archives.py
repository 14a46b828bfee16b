"""Archives that are cut, damaged or put together, and the names in them."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import made

import crvae as crvae_package
from crvae.data.images import Form
from crvae.data.sources.archive import archive
from crvae.errors import UserError
from fuzzing import many

FORM = Form(sizes=(8,))


def tar_of(files: dict[str, bytes], kind: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def tars(encoded, picture) -> list[bytes]:
    """Two archives of six pictures each; the fourth of each begins at byte 3 * 1024."""
    return [tar_of({f"{'ab'[i % 2]}/{n + i}.png": encoded(picture(n + i, 9, 8)) for i in range(6)}) for n in (10, 20)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_tar_that_is_cut_or_damaged_is_refused_with_its_place(packed, tars, refused, tmp_path):
    whole = tars[0]
    header = 3 * 1024
    assert whole[header : header + 8] == b"b/13.png"
    ending = "tar.gz" if packed else "tar"
    for name, data in (
        ("flipped", whole[: header + 3] + bytes([whole[header + 3] ^ 0x20]) + whole[header + 4 :]),
        ("cut in a header", whole[: header + 200]),
        ("cut between files", whole[:header]),
    ):
        path = tmp_path / f"{name}.{ending}"
        path.write_bytes(gzip.compress(data) if packed else data)
        said = refused("prepare", path, tmp_path / "out", "--size", 8)
        assert f"is damaged at{' unpacked' * packed} byte 3,072, after 3 files: download it again" in said
        assert path.name in said
    path = tmp_path / f"whole.{ending}"
    path.write_bytes(gzip.compress(whole) if packed else whole)
    assert made(path, tmp_path / "whole").card.files.used == 6


@pytest.mark.parametrize("packed", [False, True])
def test_several_tars_in_one_file_are_refused(packed, tars, refused, tmp_path):
    path = tmp_path / ("both.tgz" if packed else "both.tar")
    path.write_bytes(b"".join(map(gzip.compress, tars)) if packed else b"".join(tars))
    said = refused("prepare", path, tmp_path / "out", "--size", 8)
    assert "goes on after its end" in said
    assert "tar --ignore-zeros" in said


@lru_cache(maxsize=1)
def _four() -> bytes:
    return tar_of({f"{i}.png": bytes(range(1, 100 * i)) if i < 3 else b"x" * 700 for i in range(4)})


@many(200)
@given(length=st.integers(0, 10_240), at=st.integers(0, 10_239), bits=st.integers(1, 255))
def test_a_tar_is_read_whole_or_not_at_all(length, at, bits, tmp_path_factory):
    """Cut anywhere, or one byte changed anywhere: all four files, or a sentence."""
    path = tmp_path_factory.mktemp("tars") / "a.tar"
    changed = bytearray(_four())
    changed[at] ^= bits
    for data in (_four()[:length], bytes(changed)):
        path.write_bytes(data)
        try:
            found = archive(path, FORM)
        except UserError:
            continue
        assert found.count == 4


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs the command tar")
@pytest.mark.parametrize(
    "command",
    [
        ("tar", "-cf"), ("tar", "-b1", "-cf"), ("tar", "-b512", "-cf"), ("tar", "--format=posix", "-cf"),
        ("tar", "--format=v7", "-cf"), ("tar", "-czf"),
    ],
)  # fmt: skip
def test_what_tar_itself_writes_is_whole(command, fill, tmp_path):
    fill(tmp_path / "set" / "a", 3)
    fill(tmp_path / "set" / "b", 3, 10)
    path = tmp_path / ("set.tgz" if "-czf" in command else "set.tar")
    subprocess.run([*command, path, "-C", tmp_path, "set"], check=True)
    assert made(path, tmp_path / "out").card.files.used == 6


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs the command tar")
def test_tars_that_tar_joined_or_added_to_are_whole(fill, tmp_path):
    for i, name in enumerate("abc"):
        fill(tmp_path / name, 2, 10 * i)
        subprocess.run(["tar", "-cf", tmp_path / f"{name}.tar", "-C", tmp_path, name], check=True)
    subprocess.run(["tar", "--concatenate", "-f", tmp_path / "a.tar", tmp_path / "b.tar"], check=True)
    subprocess.run(["tar", "-rf", tmp_path / "a.tar", "-C", tmp_path, "c"], check=True)
    data = made(tmp_path / "a.tar", tmp_path / "out")
    assert data.card.columns == {"label": ("a", "b", "c")}
    assert data.card.files.used == 6


def unmarked_zip(path: Path, files: dict[bytes, bytes]) -> Path:
    """A ZIP whose names are these bytes, none of them marked as UTF-8."""
    with zipfile.ZipFile(path, "w") as packed:
        for i, data in enumerate(files.values()):
            packed.writestr(f"{i:0{len(list(files)[i])}d}", data)
    raw = path.read_bytes()
    for i, name in enumerate(files):
        raw = raw.replace(f"{i:0{len(name)}d}".encode(), name)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("encoding", "classes", "noted"),
    [
        ("utf-8", ("Katzen", "V\u00f6gel", "\u72ac"), False),
        ("cp437", ("Katzen", "V\u00f6gel"), True),  # right, as the format says
        ("cp932", ("\u732b", "\u72ac"), True),
    ],
)
def test_names_in_a_zip_without_the_mark_of_utf_8(encoding, classes, noted, encoded, picture, tmp_path):
    files = {
        f"{name}/picture-number-{i}.png".encode(encoding): encoded(picture(10 * k + i, 9, 8))
        for k, name in enumerate(classes)
        for i in range(3)
    }
    card = made(unmarked_zip(tmp_path / "a.zip", files), tmp_path / "out").card
    found = card.columns["label"]
    assert found == tuple(
        sorted(classes if encoding != "cp932" else (c.encode("cp932").decode("cp437") for c in classes))
    )
    notes = [note for note in card.notes if "names in the ZIP are not UTF-8" in note]
    assert len(notes) == noted
    assert all(f"{sum(not name.isascii() for name in files)} names" in note for note in notes)


def test_a_member_with_a_size_below_0_does_not_go_round_for_ever(tars, refused, tmp_path):
    header = bytearray(tars[0][:512])
    header[124:136] = (-512).to_bytes(12, "big", signed=True)  # base 256
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    (tmp_path / "back.tar").write_bytes(tars[0][:2048] + bytes(header) + bytes(1024))
    assert "cannot be opened as an archive" in refused("prepare", tmp_path / "back.tar", tmp_path / "out", "--size", 8)


def test_a_member_that_does_not_unpack_is_skipped_whatever_packed_it(encoded, picture, crvae, tmp_path):
    for kind in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path / f"{kind}.zip"
        with zipfile.ZipFile(path, "w", kind) as file:
            for number in range(3):
                file.writestr(f"{number}.png", encoded(picture(number, 9, 8)))
        data = bytearray(path.read_bytes())
        start = 30 + len("0.png")  # behind the first member's header
        data[start : start + 24] = b"\xff" * 24
        path.write_bytes(data)
        code, _, said = crvae("prepare", path, tmp_path / f"out-{kind}", "--size", 8)
        assert code == 0
        assert "1 skipped" in said
        assert re.search(r"skipped: 0\.png cannot be (unpacked|read)", said)


def test_an_archive_that_was_replaced_is_read_anew(encoded, picture, tmp_path):
    found = []
    for first in (0, 20):
        with zipfile.ZipFile(tmp_path / "new.zip", "w") as file:
            for number in range(4):
                file.writestr(f"{number}.png", encoded(picture(first + number, 9, 8)))
        os.replace(tmp_path / "new.zip", tmp_path / "s.zip")
        found.append(crvae_package.prepare(tmp_path / "s.zip", tmp_path / f"out-{first}", size=8).fingerprint)
    assert found[0] != found[1]
