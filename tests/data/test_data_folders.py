"""Folders, archives and CSV tables through the real command."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from crvae.data import open_data
from crvae.data.sources.tree import grow, is_image
from crvae.errors import UserError


def everything(data) -> dict[str, tuple[str, bytes]]:
    """Key -> (split, pixels)."""
    found = {}
    for name in data.card.splits:
        split = data.split(name)
        rows = range(len(split))
        for key, image in zip(split.keys(rows), split.images(rows), strict=True):
            found[key] = name, image.numpy().tobytes()
    return found


def test_class_folders_become_labels_and_pixels_are_what_pillow_gives(images, crvae, tmp_path):
    code, out, err = crvae("prepare", images, tmp_path / "out", "--size", 16)
    assert (code, out) == (0, "")
    assert "11 train, 1 validation" in err
    data = open_data(tmp_path / "out")
    assert data.card.columns == {"label": ("cat", "dog")}
    assert sum(split.count for split in data.card.splits.values()) == 12
    for name in ("train", "validation"):
        split = data.split(name)
        rows = range(len(split))
        assert split.images(rows).dtype == torch.uint8
        for key, image, label in zip(split.keys(rows), split.images(rows), split.labels(rows), strict=True):
            assert key.split("/")[0] == split.classes()[label]
            with Image.open(images / key) as original:
                expected = original.resize((16, 16), Image.Resampling.BICUBIC, box=(5, 0, 35, 30))
            assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(expected))


def test_a_tenth_is_validation_by_content_and_copies_stay_on_one_side(crvae, tmp_path, picture):
    source = tmp_path / "many"
    source.mkdir()
    for i in range(600):
        picture(i, 9, 8).save(source / f"{i}.png")
        if i % 50 == 0:
            shutil.copy(source / f"{i}.png", source / f"copy-of-{i}.png")
    assert crvae("prepare", source, tmp_path / "out", "--size", 8)[0] == 0
    data = open_data(tmp_path / "out")
    found = everything(data)
    for key, (split, _) in found.items():
        digest = hashlib.sha256((source / key).read_bytes()).hexdigest()
        assert (split == "validation") == (int(digest, 16) % 10 == 0)
    assert 30 < data.card.splits["validation"].count < 95
    assert data.card.duplicates.images == 12
    assert data.card.duplicates.across_splits == 0
    assert all(
        {a.removeprefix("copy-of-"), b.removeprefix("copy-of-")} == {min(a, b, key=len)}
        for a, b in data.card.duplicates.pairs
    )


def test_two_images_are_enough_for_two_splits(crvae, tmp_path, picture):
    for seed in range(4):
        source = tmp_path / f"two-{seed}"
        source.mkdir()
        for i in range(2):
            picture(seed * 2 + i).save(source / f"{i}.png")
        assert crvae("prepare", source, tmp_path / f"out-{seed}", "--size", 8)[0] == 0
        data = open_data(tmp_path / f"out-{seed}")
        assert [len(data.split(name)) for name in ("train", "validation")] == [1, 1]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train", "val"), {"train", "validation"}),
        (("Train", "VALID", "Test"), {"train", "validation", "test"}),
        (("train", "test"), {"train", "validation", "test"}),
        (("test", "cats"), {"train", "validation", "test"}),
        (("seg_train", "seg_test"), {"train", "validation", "test"}),
        (("train2017", "val2017"), {"train", "validation"}),
        (("train", "cars", "planes"), {"train", "validation"}),
        (("protest", "contrails"), {"train", "validation"}),
    ],
)
def test_split_folders(folders, expected, crvae, tmp_path, picture):
    for f, folder in enumerate(folders):
        for i in range(12):
            path = tmp_path / "images" / folder / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(100 * f + i).save(path)
    assert crvae("prepare", tmp_path / "images", tmp_path / "out", "--size", 8)[0] == 0
    data = open_data(tmp_path / "out")
    assert set(data.card.splits) == expected
    classes = {
        ("test", "cats"): ("a", "b", "cats/a", "cats/b"),
        ("train", "cars", "planes"): tuple(f"{c}/{d}" for c in ("cars", "planes", "train") for d in "ab"),
        ("protest", "contrails"): tuple(f"{c}/{d}" for c in ("contrails", "protest") for d in "ab"),
    }
    assert data.card.columns["label"] == classes.get(folders, ("a", "b"))
    if "test" in folders:
        assert {key.split("/")[0] for key in data.split("test").keys(range(12))} == {"test"}


def test_unusable_files_are_named_and_the_rest_is_prepared(images, encoded, picture, crvae, tmp_path):
    whole = encoded(picture(1, 400, 300), "JPEG")
    (images / "cat" / "empty.png").write_bytes(b"")
    (images / "cat" / "cut.jpg").write_bytes(whole[:2000])
    (images / "cat" / "text.png").write_text("no image")
    (images / "dog" / "named-jpg.jpg").write_bytes(encoded(picture(2), "PNG"))
    (images / "dog" / "large.png").write_bytes(encoded(picture(3, 400, 300)))
    (images / "dog" / ".hidden.png").write_bytes(whole)
    (images / "dog" / "notes.txt").write_text("not looked at")
    (images / "dog" / "gone.png").symlink_to(images / "nowhere.png")
    os.mkfifo(images / "dog" / "pipe.png")
    code, _, err = crvae("prepare", images, tmp_path / "out", "--size", 8, "--pixel-limit", 0.1)
    assert code == 0
    card = open_data(tmp_path / "out").card
    reasons = {skipped.file: skipped.reason for skipped in card.skipped}
    assert set(reasons) == {"cat/empty.png", "cat/cut.jpg", "cat/text.png", "dog/large.png"}
    assert "0.1" in reasons["dog/large.png"]
    assert "cat/empty.png is empty" in err
    assert sum(split.count for split in card.splits.values()) == 13


def test_links_to_folders_are_followed_once(images, crvae, tmp_path):
    (images / "cat" / "loop").symlink_to(images)
    assert crvae("prepare", images, tmp_path / "out", "--size", 8)[0] == 0
    assert sum(split.count for split in open_data(tmp_path / "out").card.splits.values()) == 12


def test_archives_give_what_their_folder_gives(images, crvae, tmp_path):
    (images / "cat" / "broken.png").write_bytes(b"broken")
    with zipfile.ZipFile(tmp_path / "images.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(images.rglob("*.png")):
            file.write(path, path.relative_to(images).as_posix())
    for ending, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        with tarfile.open(tmp_path / f"images.{ending}", mode) as file:
            file.add(images, ".")
    assert crvae("prepare", images, tmp_path / "folder", "--size", 8)[0] == 0
    expected = open_data(tmp_path / "folder")
    for ending in ("zip", "tar", "tar.gz"):
        assert crvae("prepare", tmp_path / f"images.{ending}", tmp_path / ending, "--size", 8)[0] == 0
        data = open_data(tmp_path / ending)
        assert data.fingerprint == expected.fingerprint
        assert data.card.skipped == expected.card.skipped


def test_archives_are_never_unpacked_to_where_they_say(crvae, tmp_path, encoded, picture):
    with tarfile.open(tmp_path / "evil.tar", "w") as file:
        for name, data in (("../../escaped.png", encoded(picture(1))), ("a/ok.png", encoded(picture(2)))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    assert crvae("prepare", tmp_path / "evil.tar", tmp_path / "deep" / "er" / "out", "--size", 8)[0] == 0
    assert not list(tmp_path.rglob("escaped*"))
    assert set(everything(open_data(tmp_path / "deep" / "er" / "out"))) == {"ok.png"}


def test_links_to_folders_in_a_tar_do_not_unfold_endlessly(crvae, tmp_path, encoded, picture):
    """Of 40 folders each links to the one with the files."""
    with tarfile.open(tmp_path / "links.tar", "w") as file:
        for number in range(10):
            info = tarfile.TarInfo(f"files/{number}.png")
            info.size = len(encoded(picture(number)))
            file.addfile(info, io.BytesIO(encoded(picture(number))))
        for number in range(40):
            link = tarfile.TarInfo(f"link{number:02d}")
            link.type, link.linkname = tarfile.SYMTYPE, "files"
            file.addfile(link)
    assert crvae("prepare", tmp_path / "links.tar", tmp_path / "out", "--size", 8)[0] == 0
    card = open_data(tmp_path / "out").card
    assert sum(kind.count for kind in card.not_looked_at if "than the archive" in kind.reason) == 37
    assert not any("nowhere" in kind.reason for kind in card.not_looked_at)


def test_a_zip_bomb_is_skipped(crvae, tmp_path, encoded, picture):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.png", b"\0" * (12 << 20))
        file.writestr("good.png", encoded(picture(1)))
    assert crvae("prepare", tmp_path / "bomb.zip", tmp_path / "out", "--size", 8, "--pixel-limit", 1)[0] == 0
    (skipped,) = open_data(tmp_path / "out").card.skipped
    assert skipped.file == "bomb.png"
    assert "MiB" in skipped.reason


def test_labels_from_a_table(images, crvae, refused, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file,colour,number\ncat/0.png,red,1\ncat/2.png,,2\ndog/1.png,blue,1\n")
    assert crvae("prepare", images, tmp_path / "out", "--size", 8, "--labels", table)[0] == 0
    data = open_data(tmp_path / "out")
    assert data.card.columns == {"colour": ("blue", "red"), "number": ("1", "2")}
    found = {}
    for name in data.card.splits:
        split = data.split(name)
        rows = range(len(split))
        found |= dict(
            zip(
                split.keys(rows),
                zip(split.labels(rows, "colour").tolist(), split.labels(rows, "number").tolist(), strict=True),
                strict=True,
            )
        )
    assert found["cat/0.png"] == (1, 0)
    assert found["cat/2.png"] == (-1, 1)
    assert found["cat/4.png"] == (-1, -1)
    for text, line in (("file\n", 1), ("file,key\n", 1), ("file,a\nnowhere.png,1\n", 2), ("file,a\ncat/0.png\n", 2)):
        table.write_text(text)
        assert f"line {line}" in refused("prepare", images, tmp_path / "other", "--labels", table)
    assert "labels.csv2" in refused("prepare", images, tmp_path / "other", "--labels", tmp_path / "labels.csv2")
    assert crvae("prepare", images, tmp_path / "none", "--size", 8, "--labels", "none")[0] == 0
    assert open_data(tmp_path / "none").card.columns == {}


def test_mistakes_are_one_sentence_and_leave_nothing(images, refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"x")
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "bad.zip").write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "newer.zip", "w") as file:
        file.writestr("a.png", b"x")
    raw = bytearray((tmp_path / "newer.zip").read_bytes())
    raw[raw.index(b"PK\1\2") + 6] = 99  # the version that is needed to extract the member
    (tmp_path / "newer.zip").write_bytes(raw)
    out = tmp_path / "out"
    for args, words in (
        ((tmp_path / "nowhere", out), ("nowhere",)),
        ((tmp_path / "empty", out), ("empty", "no image files")),
        ((tmp_path / "broken", out), ("no usable image", "a.png")),
        ((tmp_path / "file.txt", out), ("file.txt",)),
        ((tmp_path / "bad.zip", out), ("bad.zip",)),
        (
            (tmp_path / "newer.zip", out),
            ("newer.zip", "cannot be opened as an archive", "zip file version 9.9", "unpack it and give the folder"),
        ),
        ((images, images), ("already exists",)),
        ((images, tmp_path / "file.txt" / "out"), ("file.txt", "cannot be written")),
        ((images, out, "--size", 4), ("--size",)),
        ((images, out, "--size", 32, "--pair", 32), ("--pair",)),
        ((images, out, "--workers", 0), ("--workers",)),
        ((images, out, "--pixel-limit", 0), ("--pixel-limit",)),
        ((images, out, "--root", tmp_path), ("--root",)),
        ((images, out, "--crop", "box"), ("--crop",)),
        ((images, out, "--margin", 0.1), ("--margin",)),
        (("emoji", out, "--vendors", "nobody", "--root", tmp_path), ("--vendors", "nobody")),
        (("emoji", out, "--root", tmp_path), ("--root", "@iconify-json")),
        (("mnist", out, "--root", tmp_path), ("train-images-idx3-ubyte",)),
        (("hub:name", out), ("hub:name",)),
    ):
        sentence = refused("prepare", *args)
        assert all(word in sentence for word in words), sentence
    assert not out.exists()
    assert not list(tmp_path.glob(".out*"))


@settings(max_examples=200)
@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20), max_size=8))
@example(["\udd00", "\udcff"])  # a name that is no Unicode; Windows has more of them than Linux
def test_any_names_make_a_tree_or_a_sentence(names):
    names = [*names, *(f"{name}/x.png" for name in names)]
    try:
        tree = grow(dict.fromkeys(names), "SOURCE", None)
    except UserError:
        return
    items = list(tree.items())
    assert sorted(item.at for item in items) == sorted(filter(is_image, set(names)))
    assert all(
        -1 <= label < len(tree.columns["label"]) for item in items for label in item.labels.values() if tree.columns
    )


def test_the_card_is_plain_json_without_a_path_of_this_machine(prepared, tmp_path):
    text = (prepared / "card.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["format"] == 1
    assert [path.name for path in prepared.parent.glob(".prepared*")] == []


def test_one_picture_is_no_source_and_its_folder_is(images, refused, tmp_path):
    picture = next(images.rglob("*.png"))
    assert "is a file, and neither an archive nor a table" in refused("prepare", picture, tmp_path / "out", "--size", 8)
