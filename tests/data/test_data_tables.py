"""Hub datasets and local Parquet or Arrow files: the same code, here on files that lie on the disk."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
from PIL import Image

from crvae.data import open_data


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def table(picture):
    """20 rows: images, a class, a colour by name, a number."""
    features = datasets.Features(
        {
            "photo": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "colour": datasets.Value("string"),
            "number": datasets.Value("int64"),
        }
    )
    rows = {
        "photo": [picture(i) for i in range(20)],
        "label": [i % 2 for i in range(20)],
        "colour": [("red", "blue", None)[i % 3] for i in range(20)],
        "number": [i % 4 for i in range(20)],
    }
    return datasets.Dataset.from_dict(rows, features=features)


def embedded(table):
    """As `to_parquet` of an encoded set writes it: bytes inside."""
    return table.map(lambda row: row, features=table.features)


def found(path) -> dict[str, tuple[str, np.ndarray]]:
    data, rows = open_data(path), {}
    for name in data.card.splits:
        split = data.split(name)
        every = range(len(split))
        rows |= {
            key: (name, image.permute(1, 2, 0).numpy())
            for key, image in zip(split.keys(every), split.images(every), strict=True)
        }
    return rows


def test_a_parquet_file(table, crvae, tmp_path, picture):
    table.to_parquet(tmp_path / "animals.parquet")
    assert crvae("prepare", tmp_path / "animals.parquet", tmp_path / "out", "--size", 16)[0] == 0
    data = open_data(tmp_path / "out")
    assert data.card.name == "animals"
    # the class, and text and whole numbers of few values, are taken by themselves
    assert data.card.columns == {"label": ("cat", "dog"), "colour": ("blue", "red"), "number": ("0", "1", "2", "3")}
    assert data.card.attributes["colour"].values == {"red": 7, "blue": 7}
    assert data.card.attributes["colour"].unknown == 6
    assert list(data.card.attributes) == ["colour", "number"]
    assert set(data.card.splits) == {"train", "validation"}
    rows = found(tmp_path / "out")
    assert len(rows) == 20
    for i in range(20):
        expected = picture(i).resize((16, 16), Image.Resampling.BICUBIC, box=(5, 0, 35, 30))
        assert np.array_equal(rows[f"train/{i}"][1], np.asarray(expected))


def test_columns_are_chosen_by_name(table, crvae, refused, tmp_path):
    path = tmp_path / "animals.parquet"
    table.to_parquet(path)
    assert crvae("prepare", path, tmp_path / "out", "--size", 8, "--labels", "colour,number")[0] == 0
    data = open_data(tmp_path / "out")
    assert data.card.columns == {"colour": ("blue", "red"), "number": ("0", "1", "2", "3")}
    split = data.split("train")
    every = range(len(split))
    for key, colour, number in zip(
        split.keys(every), split.labels(every, "colour"), split.labels(every, "number"), strict=True
    ):
        i = int(key.split("/")[1])
        assert int(colour) == (1, 0, -1)[i % 3]
        assert int(number) == i % 4
    assert crvae("prepare", path, tmp_path / "none", "--size", 8, "--labels", "none")[0] == 0
    assert open_data(tmp_path / "none").card.columns == {}
    assert "'size'" in refused("prepare", path, tmp_path / "other", "--labels", "size")
    assert "neither text" in refused("prepare", path, tmp_path / "other", "--labels", "photo")


def test_splits_from_file_names_and_from_a_saved_dataset(table, crvae, tmp_path):
    folder = tmp_path / "sharded"
    folder.mkdir()
    table.select(range(8)).to_parquet(folder / "train-00000-of-00002.parquet")
    table.select(range(8, 14)).to_parquet(folder / "train-00001-of-00002.parquet")
    table.select(range(14, 17)).to_parquet(folder / "validation-00000-of-00001.parquet")
    table.select(range(17, 20)).to_parquet(folder / "test-00000-of-00001.parquet")
    saved = tmp_path / "saved"
    parts = {
        "train": table.select(range(14)),
        "validation": table.select(range(14, 17)),
        "test": table.select(range(17, 20)),
    }
    datasets.DatasetDict(parts).save_to_disk(saved)
    for source in (folder, saved):
        assert crvae("prepare", source, tmp_path / f"{source.name}-out", "--size", 8)[0] == 0
        card = open_data(tmp_path / f"{source.name}-out").card
        assert {name: split.count for name, split in card.splits.items()} == {"train": 14, "validation": 3, "test": 3}
    assert open_data(tmp_path / "sharded-out").card.notes[0] == (
        "splits found in names: test (test-00000-of-00001.parquet), train (train-00000-of-00002.parquet,"
        " train-00001-of-00002.parquet), validation (validation-00000-of-00001.parquet)"
    )
    assert open_data(tmp_path / "sharded-out").fingerprint == open_data(tmp_path / "saved-out").fingerprint


def test_rows_without_bytes_never_open_a_path(crvae, tmp_path, picture):
    """A table from elsewhere may name any file of this machine."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture(0).save(tmp_path / "secret.png")
    good = (tmp_path / "secret.png").read_bytes()
    rows = [{"bytes": None, "path": str(tmp_path / "secret.png")}, {"bytes": b"broken", "path": None}, None]
    rows += [{"bytes": good[:-1] + bytes([i]), "path": None} for i in range(3)]
    pq.write_table(pa.table({"image": rows}), tmp_path / "evil.parquet")
    assert crvae("prepare", tmp_path / "evil.parquet", tmp_path / "out", "--size", 8)[0] == 0
    card = open_data(tmp_path / "out").card
    reasons = {skipped.file: skipped.reason for skipped in card.skipped}
    assert reasons["train/0"] == reasons["train/2"] == "has no image bytes in its row"
    assert set(reasons) == {"train/0", "train/1", "train/2"}


def test_prepared_data_can_be_prepared_again_smaller(prepared, crvae, tmp_path):
    assert crvae("prepare", prepared, tmp_path / "small", "--size", 8)[0] == 0
    before, after = open_data(prepared).card, open_data(tmp_path / "small").card
    assert {name: split.count for name, split in before.splits.items()} == {
        name: split.count for name, split in after.splits.items()
    }
    assert before.columns == after.columns


def test_what_cannot_be_loaded_is_one_sentence(refused, tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    assert "bad.parquet" in refused("prepare", tmp_path / "bad.parquet", tmp_path / "out")
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "text.parquet")
    assert "no column of images" in refused("prepare", tmp_path / "text.parquet", tmp_path / "out")
    assert "hub:owner/absent" in refused("prepare", "hub:owner/absent", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_table_is_one_line_and_one_without_rows_says_so(table, refused, crvae, tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no table")
    _, _, err = crvae("prepare", tmp_path / "bad.parquet", tmp_path / "out")
    assert [line for line in err.splitlines() if "magic bytes" in line] == [err.splitlines()[-1]]
    (tmp_path / "some").mkdir()
    table.select([]).to_parquet(tmp_path / "none.parquet")
    table.select([]).to_parquet(tmp_path / "some" / "test.parquet")
    table.to_parquet(tmp_path / "some" / "train.parquet")
    for name, split in (("none.parquet", "train"), ("some", "test")):
        said = refused("prepare", tmp_path / name, tmp_path / "out")
        assert f"{name} has no rows in its {split} split: leave out files without rows" in said
    assert crvae("prepare", tmp_path / "some" / "train.parquet", tmp_path / "out", "--size", 8)[0] == 0
