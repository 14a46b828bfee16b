"""Prepared data opens as it was written, from anywhere, and says in a sentence what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from making import made
from PIL import Image

from crvae.data import batches, open_data
from crvae.errors import UserError


def test_hashes_counts_and_labels_are_those_of_the_files(prepared):
    data = open_data(prepared)
    for name, split in data.card.splits.items():
        assert split.count == sum(shard.count for shard in split.shards)
        labels = data.split(name).labels(range(split.count))
        assert split.classes["label"] == tuple(torch.bincount(labels, minlength=2).tolist())
        for shard in split.shards:
            assert hashlib.sha256((prepared / shard.file).read_bytes()).hexdigest() == shard.sha256
    assert len(data.fingerprint) == 64


@pytest.mark.parametrize("name", ["a::b", "file:a", "memory:", "a#b", "a?b*"])
def test_a_folder_is_found_whatever_it_is_called(name, prepared, tmp_path, monkeypatch):
    shutil.copytree(prepared, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (name, tmp_path / name):
        assert open_data(path).split("train").images([0]).shape[0] == 1


def test_the_fingerprint_follows_the_content(prepared, tmp_path):
    card = json.loads((prepared / "card.json").read_text())
    shutil.copytree(prepared, tmp_path / "copy")
    card["source"] = {"elsewhere": True}
    (tmp_path / "copy" / "card.json").write_text(json.dumps(card))
    assert open_data(tmp_path / "copy").fingerprint == open_data(prepared).fingerprint
    card["splits"]["train"]["shards"][0]["sha256"] = "0" * 64
    (tmp_path / "copy" / "card.json").write_text(json.dumps(card))
    assert open_data(tmp_path / "copy").fingerprint != open_data(prepared).fingerprint


def test_indices_may_come_in_any_order_and_kind(prepared):
    split = open_data(prepared).split("train")
    whole = split.images(range(len(split)))
    rows = [3, 0, 3, 1]
    for indices in (rows, tuple(rows), np.array(rows), torch.tensor(rows)):
        assert torch.equal(split.images(indices), whole[rows])
        assert torch.equal(split.labels(indices), split.labels(range(len(split)))[rows])
    assert split.images([]).shape == (0, 3, 8, 8)
    assert split.images([0], size=16).shape == (1, 3, 16, 16)
    split.everything()
    assert torch.equal(split.images(rows), whole[rows])
    for wrong in ([-1], [len(split)]):
        with pytest.raises(IndexError):
            split.images(wrong)


def everywhere(split, indices) -> list:
    """What a split gives at `indices`, in every way that takes them."""
    return [
        split.images(indices).tolist(),
        split.labels(indices).tolist(),
        split.keys(indices),
        split.attribute_values(indices).tolist(),
        split[indices].tolist(),
    ]


def test_a_mask_of_bools_selects_as_in_numpy(prepared):
    split = open_data(prepared).split("train")
    rows = [1, 3, 4]
    mask = np.isin(np.arange(len(split)), rows)
    for indices in (mask, mask.tolist(), tuple(mask.tolist()), torch.from_numpy(mask)):
        assert everywhere(split, indices) == everywhere(split, rows)
    assert split[~np.ones(len(split), bool)].shape == (0, 3, 8, 8)
    for empty in ([], (), np.array([]), torch.tensor([])):
        assert split.images(empty).shape == split[empty].shape == (0, 3, 8, 8)
    wrong = [mask[:-1], [True], [], mask[None], True]
    for indices in (np.array(index, bool) for index in wrong):
        for given in (indices, torch.from_numpy(indices)):
            for take in (split.images, split.labels, split.keys, split.attribute_values, split.__getitem__):
                with pytest.raises(IndexError, match=rf"mask of bools must have the shape \({len(split)},\)"):
                    take(given)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([0.0, 1.9], "float64"),
        (np.float32([1]), "float32"),
        (torch.tensor([1.0], requires_grad=True), "float64"),
        (torch.tensor([1.0], dtype=torch.bfloat16), "float64"),
        (torch.tensor(1.0), "float64"),
        (1.0, "float64"),
        ([True, 2], "bools among numbers"),
        ([np.int64(0), np.True_], "bools among numbers"),
        (["0"], "<U1"),
        (None, "other values"),
        ([[0], [1, 2]], "other values"),
        ([0, None], "other values"),
    ],
)
def test_indices_of_other_kinds_are_refused(wrong, says, prepared):
    split = open_data(prepared).split("train")
    for take in (split.images, split.labels, split.keys, split.attribute_values, split.__getitem__):
        with pytest.raises(TypeError, match=f"^indices must be whole numbers, .* got {says}"):
            take(wrong)


def test_a_number_of_numpy_or_torch_gives_one_image(prepared):
    split = open_data(prepared).split("train")
    for kind in (np.int64, np.uint8, np.array, torch.tensor):
        assert torch.equal(split[kind(3)], split[3])
        assert torch.equal(split[kind([3])] if kind is torch.tensor else split[np.array([3])], split[3:4])
    assert torch.equal(split[np.int64(-1)], split[len(split) - 1])
    assert torch.equal(split[torch.tensor(-1)], split[len(split) - 1])
    for index in (np.int64(len(split)), torch.tensor(-len(split) - 1)):
        with pytest.raises(IndexError, match="got index"):
            split[index]
    for index in (True, np.False_, torch.tensor(True)):
        with pytest.raises(IndexError, match="a mask of bools"):
            split[index]


def test_hugging_face_opens_the_shards_with_images_and_class_names(prepared, monkeypatch, tmp_path):
    import datasets

    files = {
        name: [str(prepared / shard.file) for shard in split.shards]
        for name, split in open_data(prepared).card.splits.items()
    }
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    row = loaded["train"][0]
    assert row["image"].size == (8, 8)
    assert row["image_16"].size == (16, 16)
    assert loaded["train"].features["label"].names == ["cat", "dog"]
    assert np.array_equal(np.asarray(row["image"]), open_data(prepared).split("train").images([0])[0].permute(1, 2, 0))


def test_data_are_read_from_any_filesystem(prepared):
    memory = fsspec.filesystem("memory")
    memory.put(str(prepared), "/bucket/data", recursive=True)
    remote, local = open_data("memory://bucket/data"), open_data(prepared)
    assert remote.fingerprint == local.fingerprint
    options = {"batch": 5, "seed": 0, "start": 7, "flip": True, "sizes": (8, 16)}
    a, b = (batches(data.split("train"), **options) for data in (remote, local))
    for _ in range(4):
        assert all(torch.equal(x, y) for x, y in zip(next(a), next(b), strict=True))
    a.close()
    b.close()


def test_what_is_not_there_is_named(prepared, images, tmp_path):
    for path, words in (
        (tmp_path / "nowhere", "do not exist"),
        (images, "not prepared data"),
        ("nosuch://x", "cannot be opened"),
    ):
        with pytest.raises(UserError, match=words):
            open_data(path)
    data = open_data(prepared)
    with pytest.raises(UserError, match="'tset'"):
        data.split("tset")
    with pytest.raises(UserError, match="'vendor'"):
        data.split("train").labels([0], "vendor")
    with pytest.raises(UserError, match="--pair 64"):
        data.split("train").images([0], size=64)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card.update(format=2), "format 2, newer.*upgrade crvae"),
        (lambda card: card.update(format="x"), "damaged"),
        (lambda card: card.update(size=0), "damaged"),
        (lambda card: card.update(size=1 << 40), "damaged"),
        (lambda card: card.update(channels=2), "damaged"),
        (lambda card: card.update(unknown=1), "damaged"),
        (lambda card: card["splits"]["train"].update(count=5000), "damaged"),
        (lambda card: card["splits"]["train"]["shards"][0].update(file="../../etc/passwd"), "damaged"),
        (lambda card: card["splits"]["train"]["shards"][0].update(file="/train-000000.parquet"), "damaged"),
    ],
)
def test_a_card_from_elsewhere_is_only_data(change, words, prepared):
    card = json.loads((prepared / "card.json").read_text())
    change(card)
    (prepared / "card.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=words):
        open_data(prepared).split("train")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": 1e999}'])
def test_a_card_that_is_none(text, prepared):
    (prepared / "card.json").write_bytes(text)
    with pytest.raises(UserError, match="damaged"):
        open_data(prepared)


def _rewrite(prepared, change) -> None:
    """Changes the images of the first training shard, and its hash in the card."""
    path = next(prepared.glob("train-*.parquet"))
    table = pq.read_table(path)
    column = [{"bytes": change(row["bytes"]), "path": None} for row in table["image"].to_pylist()]
    place = table.schema.get_field_index("image")
    pq.write_table(
        table.set_column(place, table.schema.field("image"), pa.array(column, table.schema.field("image").type)), path
    )
    card = json.loads((prepared / "card.json").read_text())
    card["splits"]["train"]["shards"][0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (prepared / "card.json").write_text(json.dumps(card))


def test_stored_images_are_checked_before_they_are_decoded(prepared, encoded, picture):
    large = encoded(picture(0, 9, 8))
    for change in (
        lambda png: large,
        lambda png: png[:40],
        lambda png: png[: len(png) // 2],
        lambda png: png[:60] + png[-12:],
        lambda png: b"",
        lambda png: None,
        lambda png: b"\x89PNG" + b"x" * 100,
    ):
        _rewrite(prepared, change)
        with pytest.raises(UserError, match="damaged"):
            open_data(prepared).split("train").images([0])


def test_a_damaged_shard_is_named(prepared):
    path = next(prepared.glob("train-*.parquet"))
    whole = path.read_bytes()
    for data in (b"", b"PAR1", whole[:-100], whole[:50] + b"\0" * 50 + whole[100:]):
        path.write_bytes(data)
        with pytest.raises(UserError, match=rf"{path.name}|damaged"):
            open_data(prepared).split("train").images([0, 1, 2, 3])


def test_inspection_shows_every_split_and_class(prepared, crvae, refused, tmp_path):
    code, out, _ = crvae("prepare", "--inspect", prepared)
    assert code == 0
    assert all(word in out for word in ("cat", "dog", "train", "validation", "8x8 and 16x16"))
    with Image.open(prepared / "contact-sheet.png") as sheet:
        rows = sum(count > 0 for split in open_data(prepared).card.splits.values() for count in split.classes["label"])
        assert sheet.height == rows * (16 + 2)
        assert np.asarray(sheet)[:, 210:].std() > 10
    code, out, _ = crvae("prepare", "--inspect", prepared, "--json", "--sheet", tmp_path / "a.png")
    assert json.loads(out)["splits"].keys() == {"train", "validation"}
    assert (tmp_path / "a.png").exists()
    assert "--sheet" in refused("prepare", "--inspect", prepared, "--sheet", tmp_path / "a.gif")
    assert "--sheet" in refused("prepare", "--inspect", prepared, "--sheet", tmp_path / "no" / "a.png", "--json")
    assert "not exist" in refused("prepare", "--inspect", tmp_path / "nowhere")


def test_inspection_shows_images_without_a_class_and_no_empty_rows(crvae, encoded, picture, tmp_path):
    folder = tmp_path / "pictures"
    (folder / "few").mkdir(parents=True)
    for number in range(12):
        (folder / f"{number}.png").write_bytes(encoded(picture(number)))
    (folder / "few" / "one.png").write_bytes(encoded(picture(99)))
    assert crvae("prepare", folder, tmp_path / "out", "--size", 8)[0] == 0
    code, out, _ = crvae("prepare", "--inspect", tmp_path / "out")
    assert code == 0
    card = open_data(tmp_path / "out").card
    line = next(line for line in out.splitlines() if "(none)" in line)
    assert sum(map(int, re.findall(r"\d+", line))) == 12
    with Image.open(tmp_path / "out" / "contact-sheet.png") as sheet:
        assert sheet.height == sum(1 + any(split.classes["label"]) for split in card.splits.values()) * (8 + 2)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("tenth", [True, False])
def test_a_single_content_trains_wherever_its_hash_would_put_it(tenth, copies, encoded, picture, tmp_path):
    from crvae.data.rows import by_content

    folder = tmp_path / "one"
    folder.mkdir()
    pictures = (encoded(picture(seed, 9, 8)) for seed in range(100))
    wanted = "validation" if tenth else "train"
    content = next(file for file in pictures if by_content(hashlib.sha256(file).hexdigest()) == wanted)
    for i in range(copies):
        (folder / f"{i}.png").write_bytes(content)
    data = made(folder, tmp_path / "out")
    assert {name: split.count for name, split in data.card.splits.items()} == {"train": copies}
    assert "all images are the same file, so there is one split, train: nothing is held out" in data.card.notes
    with pytest.raises(UserError, match="no 'validation' split, only train: prepare more images that differ"):
        data.split("validation")
    (folder / "other.png").write_bytes(encoded(picture(200, 9, 8)))
    more = made(folder, tmp_path / "more")
    assert set(more.card.splits) == {"train", "validation"}
    assert more.card.notes == ()
    with pytest.raises(UserError, match="choose one of these"):
        more.split("test")
