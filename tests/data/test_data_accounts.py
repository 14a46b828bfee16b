"""What strangers feed `prepare`: names, archives, copies; every file is accounted for."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import contents, made

from crvae.data import open_data
from crvae.data.accounts import LABELS_READ, Tally, describe, printable, unread
from crvae.data.sources.tree import grow
from crvae.errors import UserError
from fuzzing import many


def test_composed_and_decomposed_names_are_one_class(fill, tmp_path):
    for i, (split, form) in enumerate((("train", "NFC"), ("val", "NFD"))):
        fill(tmp_path / "set" / split / unicodedata.normalize(form, "B\u00e4renklau"), 4, 10 * i)
        fill(tmp_path / "set" / split / "Rose", 4, 50 + 10 * i)
    assert made(tmp_path / "set", tmp_path / "out").card.columns == {"label": ("B\u00e4renklau", "Rose")}


def test_one_set_as_folder_zip_and_tar_is_the_same(fill, tmp_path, encoded, picture):
    """With links, a name with backslashes, a damaged picture, a table of labels and files that are none."""
    root = tmp_path / "set"
    fill(root / "red", 5)
    fill(root / "blue", 4, 40)
    (root / "red" / "broken.png").write_bytes(b"broken")
    (root / "notes.txt").write_text("none")
    (root / "red" / "metadata.csv").write_text("file_name,hair\n000.png,long\n001.png,short\n")
    (root / "copies").mkdir()
    for i in range(3):
        os.link(root / "red" / f"{i:03d}.png", root / "copies" / f"{i}.png")
    (root / "copies" / "soft.png").symlink_to("../blue/000.png")
    (root / "copies" / "nowhere.png").symlink_to("../gone.png")
    expected = made(root, tmp_path / "folder")
    assert expected.card.files.repeated == 4
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            info = zipfile.ZipInfo("x")
            info.filename = str(path.relative_to(root)).replace("/", "\\")  # as a Windows program wrote it
            file.writestr(info, path.read_bytes())
    for ending, mode, top in (("tar", "w", "."), ("tar.gz", "w:gz", "set"), ("tgz", "w:gz", "a/b")):
        with tarfile.open(tmp_path / f"set.{ending}", mode) as file:
            file.add(root, top)
    for ending in ("zip", "tar", "tar.gz", "tgz"):
        data = made(tmp_path / f"set.{ending}", tmp_path / f"out-{ending}")
        assert contents(data) == contents(expected), ending
        assert data.fingerprint == expected.fingerprint, ending
        assert data.card.skipped == expected.card.skipped
        assert data.card.attributes == expected.card.attributes
        lost = sum(kind.count for kind in data.card.not_looked_at if "link" in kind.reason)
        assert lost == (0 if ending == "zip" else 1)


def test_names_that_come_twice_in_an_archive_are_counted(tmp_path, encoded, picture):
    with tarfile.open(tmp_path / "a.tar", "w") as tar, zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for i, name in enumerate(("x.png", "./x.png", "y.png")):
            info = tarfile.TarInfo(name)
            info.size = len(data := encoded(picture(i)))
            tar.addfile(info, io.BytesIO(data))
            packed.writestr(name, data)
    for name in ("a.tar", "a.zip"):
        card = made(tmp_path / name, tmp_path / f"out {name}").card
        assert card.files.found == 3
        assert [(kind.count, kind.reason) for kind in card.not_looked_at] == [
            (1, "name that comes twice in the archive")
        ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_named(fill, tmp_path):
    fill(tmp_path / "set" / "a", 3)
    fill(tmp_path / "set" / "locked", 3, 10).chmod(0)
    try:
        card = made(tmp_path / "set", tmp_path / "out").card
    finally:
        (tmp_path / "set" / "locked").chmod(0o755)
    assert [(kind.count, kind.first) for kind in card.not_looked_at] == [(1, ("locked",))]


def test_an_unreadable_folder_is_tallied(tmp_path, monkeypatch):
    from crvae.data.sources.folder import files_below

    def walk(top, followlinks, onerror):
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "locked")))
        yield from ()

    monkeypatch.setattr(os, "walk", walk)
    tally = Tally()
    assert list(files_below(tmp_path, tally)) == []
    assert describe(tally) == ["1 not looked at: folder that cannot be read (locked)"]


def test_a_folder_can_hold_what_was_prepared_from_it(fill, tmp_path):
    root = fill(tmp_path / "set", 6)
    first = made(root, root / "prepared" / "small")
    (root / ".other.preparing").mkdir()
    (root / ".other.preparing" / "train-000000.parquet").write_bytes(b"interrupted")
    (root / "greetings").mkdir()
    (root / "greetings" / "card.json").write_text("none of ours")
    second = made(root, root / "again")
    assert contents(second) == contents(first)
    counted = {kind.reason: kind.first for kind in second.card.not_looked_at}
    assert counted == {
        "prepared data": (".other.preparing", "prepared/small"),
        "ending .json": ("greetings/card.json",),
    }


def test_a_phones_folder_is_counted_by_ending(fill, tmp_path, crvae):
    root = fill(tmp_path / "phone", 2, names="IMG_{}.JPG")
    for i in range(16):
        (root / f"IMG_{i:04d}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    fill(root, 4, 20, "IMG_{}")
    fill(root, 1, 30, "tweet.jpg_large")
    fill(root, 1, 40, "photo.mpo")
    (root / "really-heic.jpg").write_bytes(b"\0\0\0\x18ftypheic")
    for i in range(2):
        (root / f"IMG_{i}.cls").write_text("cat")
    card = made(root, tmp_path / "out").card
    assert {kind.reason: kind.count for kind in card.not_looked_at} == {
        "ending .heic": 16, "no ending": 4, "ending .cls": 2, "ending .jpg_large": 1,
    }  # fmt: skip
    assert card.files.model_dump() == {"found": 27, "used": 3, "repeated": 0, "skipped": 1, "not_looked_at": 23}
    assert "2 .cls (use --labels" in card.notes[0]
    code, _, err = crvae("prepare", root, tmp_path / "again", "--size", 8)
    assert code == 0
    assert "16 not looked at: ending .heic (IMG_0000.HEIC, IMG_0001.HEIC" in err
    code, out, _ = crvae("prepare", "--inspect", tmp_path / "again")
    assert "16 not looked at: ending .heic" in out


def test_a_table_of_labels_that_was_read_is_not_called_not_looked_at(fill, tmp_path, crvae):
    root = fill(tmp_path / "set", 6)
    lines = [f"{path.name},{('red', 'grey')[i % 2]}" for i, path in enumerate(sorted(root.glob("*.png")))]
    (root / "metadata.csv").write_text("\n".join(["file_name,hair", *lines]))
    (root / "notes.txt").write_text("a note")
    code, _, err = crvae("prepare", root, tmp_path / "out", "--size", 8)
    assert code == 0
    assert "1 read: table of labels (metadata.csv)" in err
    assert "1 not looked at: ending .txt (notes.txt)" in err
    assert "not looked at: table of labels" not in err
    card = open_data(tmp_path / "out").card
    assert {kind.reason for kind in card.not_looked_at} == {LABELS_READ, "ending .txt"}
    assert unread(card.not_looked_at) == 1
    code, out, _ = crvae("prepare", "--inspect", tmp_path / "out")
    assert code == 0
    assert "1 read: table of labels (metadata.csv)" in out


def test_tables_of_labels_are_called_read_where_they_were(fill, tmp_path):
    root = fill(tmp_path / "set", 4)
    text = "file,hair\n" + "".join(f"{i:03d}.png,{('red', 'grey')[i % 2]}\n" for i in range(4))
    (root / "labels.csv").write_text(text)
    (root / "more").mkdir()
    (root / "more" / "labels.csv").write_text(text)
    (root / "metadata.csv").write_text("nonsense\n1\n")
    card = made(root, tmp_path / "out", labels=str(root / "more" / ".." / "labels.csv")).card
    assert set(describe(card.not_looked_at)) == {
        "1 read: table of labels (labels.csv)",
        "2 not looked at: ending .csv (metadata.csv, more/labels.csv)",
    }
    card = made(root, tmp_path / "without").card
    assert set(describe(card.not_looked_at)) == {
        "2 not looked at: ending .csv (labels.csv, more/labels.csv)",
        "1 not looked at: table of labels that cannot be used (metadata.csv)",
    }


def test_all_copies_move_together_in_a_small_set(tmp_path, encoded, picture):
    for seed in range(12):
        root = tmp_path / f"set-{seed}"
        root.mkdir()
        for i in range(9):
            (root / f"{i}.png").write_bytes(encoded(picture(3 * seed + i % 3, 9, 8)))
        card = made(root, tmp_path / f"out-{seed}").card
        assert card.duplicates.across_splits == 0
        assert card.duplicates.images == 6
        assert set(card.splits) == {"train", "validation"}
        assert card.files.model_dump() == {"found": 9, "used": 3, "repeated": 6, "skipped": 0, "not_looked_at": 0}


def test_names_that_are_no_utf_8_are_shown_and_kept_apart(fill, tmp_path, crvae):
    root = fill(tmp_path / "set" / "dogs", 3).parent
    fill(root / "x", 3, 10)
    os.rename(os.fsencode(root / "x"), os.fsencode(root) + b"/V\xf6gel")
    os.rename(os.fsencode(root / "dogs" / "000.png"), os.fsencode(root / "dogs") + b"/caf\xe9.png")
    (Path(os.fsdecode(os.fsencode(root) + b"/br\xe9.png"))).write_bytes(b"broken")
    code, _, err = crvae("prepare", root, tmp_path / "out", "--size", 8)
    assert code == 0
    assert r"br\xe9.png is not an image" in err
    assert open_data(tmp_path / "out").card.columns == {"label": (r"V\xf6gel", "dogs")}


@pytest.mark.parametrize("packed", ["folder", "zip", "tar"])
def test_every_file_of_a_random_tree_is_accounted_for(packed, tmp_path, encoded, picture):
    """used + repeated + skipped + not looked at = files there, counted the slow way."""
    for seed in range(12):
        draw = random.Random(seed)
        root = tmp_path / f"{packed}-{seed}"
        for i in range(draw.randint(1, 40)):
            parts = draw.choices(
                ("a", "b [x]", "train", "test", "val", ".hidden", "\u00e4", "images to predict"), k=draw.randint(0, 3)
            )
            ending = draw.choice((".png", ".png", ".PNG", ".jpg", ".heic", "", ".txt", ".mpo", ".cls", ".csv"))
            path = root.joinpath(*parts, f"{draw.choice(('', '.', 'test_'))}{i}{ending}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(draw.choice((encoded(picture(draw.randrange(15), 9, 8)), b"broken", b"")))
        there = sum(path.is_file() for path in root.rglob("*"))
        source = root if packed == "folder" else shutil.make_archive(str(root), packed, root)
        try:
            data = made(source, tmp_path / f"out-{packed}-{seed}")
        except UserError as error:
            data, refused = None, str(error)
        if data is None:
            assert "no usable image" in refused or "no image files" in refused
            continue
        assert data.card.files.found == there
        assert (
            sum(split.count for split in data.card.splits.values())
            == data.card.files.used + data.card.duplicates.images
        )
        card = json.loads((tmp_path / f"out-{packed}-{seed}" / "card.json").read_text())
        assert card["files"]["found"] == there


@pytest.mark.fuzz
def test_ten_thousand_odd_lists_of_names_are_a_tree_or_a_sentence():
    """None uncounted: every name is a picture of the tree, or tallied."""
    draw = random.Random(7)
    pieces = [
        "train",
        "Test",
        "val",
        "dev.",
        "a",
        "\u00e4",
        "a\u0308",
        "[x]",
        "..",
        ".",
        "",
        " ",
        "\\",
        "\udce9",
        "\ud83d",
        "\x1b[31m",
        "metadata.csv",
        "con",
        "x" * 300,
    ]
    endings = [".png", ".JPG", ".jpg_large", "", ".heic", ".cls", ".\u0661", ".png/"]
    for _ in range(10_000):
        names = {
            "/".join(draw.choices(pieces, k=draw.randint(1, 4))) + draw.choice(endings)
            for _ in range(draw.randint(1, 6))
        }
        tally = Tally()
        try:
            tree = grow(sorted(names), "SOURCE", None, tally)
        except UserError as error:
            tree, refused = None, str(error)
        if tree is None:
            assert "no image files" in refused
            assert sum(kind.count for kind in tally) == len(names)
            continue
        assert len(tree.pictures) + sum(kind.count for kind in tree.not_looked_at) == len(names)
        for item in tree.items():
            item.key.encode()
            assert printable(item.key) == item.key
        assert all(printable(line).encode() for line in (*tree.notes, *describe(tree.not_looked_at)))


@many(60)
@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), min_size=1, max_size=8, unique=True
    )
)
def test_archives_with_any_member_names_are_read_or_refused_in_words(names, tmp_path_factory, encoded, picture):
    folder = tmp_path_factory.mktemp("archives")
    names = [f"{name}.png" for name in names]
    with (
        tarfile.open(folder / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar,
        zipfile.ZipFile(folder / "a.zip", "w") as packed,
    ):
        for i, name in enumerate(names):
            data = encoded(picture(i, 9, 8))
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            packed.writestr(zipfile.ZipInfo(name), data)
    for file in ("a.tar", "a.zip"):
        try:
            card = made(folder / file, folder / f"out-{file}").card
        except UserError:
            continue
        assert card.files.found <= len(names)
        assert card.files.skipped == 0


def test_copies_within_a_split_and_across_are_told_apart_whatever_their_shards(fill, tmp_path, monkeypatch):
    monkeypatch.setattr("crvae.data.rows.CHUNK", 1)  # a shard for every image
    fill(tmp_path / "set" / "train", 3)
    fill(tmp_path / "set" / "val", 1, 9)
    shutil.copyfile(tmp_path / "set" / "train" / "000.png", tmp_path / "set" / "train" / "copy.png")
    shutil.copyfile(tmp_path / "set" / "train" / "001.png", tmp_path / "set" / "val" / "copy.png")
    card = made(tmp_path / "set", tmp_path / "out").card
    assert len(card.splits["train"].shards) == 4
    assert (card.duplicates.images, card.duplicates.across_splits) == (2, 1)
    assert {frozenset(pair) for pair in card.duplicates.pairs} == {
        frozenset(("train/000.png", "train/copy.png")),
        frozenset(("train/001.png", "val/copy.png")),
    }
