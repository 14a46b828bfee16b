"""One damaged byte of prepared data is a sentence: it reaches neither the decoder, which it can crash, nor the labels."""

from __future__ import annotations

import hashlib
import shutil

import fsspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import made, picture

from crvae.data import open_data
from crvae.errors import UserError
from fuzzing import many

DAMAGED = (
    r"train-000000\.parquet is damaged, or not the file that card\.json describes: copy it or prepare the data again"
)


def flip(path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def shard_of(prepared):
    return prepared / "train-000000.parquet"


def label_byte(path) -> int:
    """Where the first label lies, in the column's last bytes: whole numbers of 64 bits, as they are."""
    column = pq.ParquetFile(path).metadata.row_group(0)
    (part,) = [column.column(i) for i in range(column.num_columns) if column.column(i).path_in_schema == "label"]
    return part.data_page_offset + part.total_compressed_size - 8 * column.num_rows


def test_a_damaged_picture_does_not_reach_the_decoder(prepared, crvae):
    path = shard_of(prepared)
    flip(path, path.read_bytes().index(b"IDAT") + 6)
    with pytest.raises(UserError, match=DAMAGED):
        open_data(prepared).split("train").images([0])
    code, _, err = crvae("prepare", "--inspect", prepared)
    assert code == 2
    assert "train-000000.parquet is damaged" in err.splitlines()[-1]


def test_a_damaged_label_is_not_believed(prepared):
    path = shard_of(prepared)
    before = open_data(prepared).split("train").labels(range(4)).tolist()
    flip(path, label_byte(path))
    assert pq.read_table(path)["label"].to_pylist()[:4] != before, "this byte is no label"
    for read in ("labels", "keys", "images"):
        with pytest.raises(UserError, match=DAMAGED):
            getattr(open_data(prepared).split("train"), read)(range(4))


def test_damage_is_found_on_any_filesystem_and_whole_data_are_hashed_once(prepared, monkeypatch):
    memory = fsspec.filesystem("memory")
    memory.put(str(prepared), "/damage/whole", recursive=True)
    hashed = []
    real = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda data=b"": hashed.append(len(data)) or real(data))
    data = open_data("memory://damage/whole")
    for _ in range(3):
        split = data.split("train")
        split.labels(range(len(split)))
        split.images(range(len(split)))
    assert hashed == [shard_of(prepared).stat().st_size]
    flip(shard_of(prepared), 100)
    memory.put(str(prepared), "/damage/broken", recursive=True)
    with pytest.raises(UserError, match=DAMAGED):
        open_data("memory://damage/broken").split("train").labels([0])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    for i in range(4):
        (folder / "pictures" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        picture(i, 9, 8).save(folder / "pictures" / "ab"[i % 2] / f"{i}.png")
    made(folder / "pictures", folder / "out")
    return folder / "out"


@many(40)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(place, bit, small):
    path = shard_of(small)
    whole = path.read_bytes()
    content = bytearray(whole)
    content[int(place * len(content))] ^= 1 << bit
    try:
        path.write_bytes(content)
        with pytest.raises(UserError, match=DAMAGED):
            open_data(small).split("train").images([0])
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_damaged_data_are_not_prepared_again(prepared, refused, tmp_path, damage):
    shutil.copytree(prepared, tmp_path / "data")
    shard = next((tmp_path / "data").glob("*.parquet"))
    if damage == "missing":
        shard.unlink()
    else:
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data if damage == "changed" else data[:100])
    said = refused("prepare", tmp_path / "data", tmp_path / "again", "--size", 8)
    assert f"{shard} {'is missing' if damage == 'missing' else 'is damaged, or not the file'}" in said
    assert not (tmp_path / "again").exists()
