"""The stream of batches depends on the seed and the images seen, and on nothing else."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crvae.data import batches, open_data, preparation, rows
from crvae.data import prepared as prepared_module
from crvae.data.images import Form
from crvae.data.indices import evenly
from crvae.data.sources.folder import folder
from crvae.errors import UserError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """37 training images of 8 and 16 pixels whose first pixel says which they are, in shards of at most 7."""
    from PIL import Image

    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out") / "data"
    for split, count in (("train", 37), ("validation", 3)):
        (source / split).mkdir()
        for i in range(count):
            image = Image.new("RGB", (16, 16), (i, 255 - i, 0))
            image.paste((i, 255 - i, 255), (8, 0, 16, 16))
            image.save(source / split / f"{i}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CHUNK", 7)
        preparation.write_prepared(folder(source, Form(sizes=(8, 16), resample="area")), out, workers=1)
    return out


@pytest.fixture(params=["resident", "sharded"])
def train(path, request, monkeypatch):
    if request.param == "sharded":
        monkeypatch.setattr(prepared_module, "RESIDENT_BYTES", 0)
    split = open_data(path).split("train")
    assert split.resident == (request.param == "resident")
    assert len(split.card.shards) > 4
    return split


def names(images: torch.Tensor) -> list[int]:
    """Which image each is."""
    return images[:, 0, 0, 0].tolist()


def mirrored(images: torch.Tensor) -> list[bool]:
    return (images[:, 2, 0, 0] == 255).tolist()


def take(count: int, *args, **options) -> list:
    stream = batches(*args, **options)
    found = list(itertools.islice(stream, count))
    stream.close()
    return found


def test_every_epoch_is_a_permutation_of_its_own_and_no_batch_is_short(train):
    found = take(37, train, batch=5, seed=3, start=0, flip=False)
    assert all(images.shape == (5, 3, 8, 8) and images.dtype == torch.uint8 for images in found)
    seen = names(torch.cat(found))
    epochs = [seen[i : i + 37] for i in range(0, 5 * 37, 37)]
    assert all(sorted(epoch) == list(range(37)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert not any(map(any, map(mirrored, found)))


def test_another_seed_is_another_order(train):
    orders = [names(torch.cat(take(7, train, batch=5, seed=seed, start=0, flip=False))) for seed in range(3)]
    assert len(set(map(tuple, orders))) == 3


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_stream_goes_on_bit_for_bit_from_any_position(path, data):
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans()):
            patch.setattr(prepared_module, "RESIDENT_BYTES", 0)
        train = open_data(path).split("train")
        batch = data.draw(st.integers(1, 37))
        start = data.draw(st.integers(0, 150))
        seed = data.draw(st.integers(0, 2**32 - 1))
        whole = torch.cat(take((start + 3 * batch) // batch + 1, train, batch=batch, seed=seed, start=0, flip=True))
        resumed = torch.cat(take(3, train, batch=batch, seed=seed, start=start, flip=True))
        assert torch.equal(resumed, whole[start : start + 3 * batch])


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_global_batch_in_contiguous_parts(train, world):
    options = {"batch": 12, "seed": 1, "start": 30, "flip": True}
    whole = take(8, train, **options)
    parts = [take(8, train, **options, rank=rank, world=world) for rank in range(world)]
    for i, images in enumerate(whole):
        assert torch.equal(torch.cat([part[i] for part in parts]), images)


def test_mirroring_is_fair_new_in_every_epoch_and_the_same_at_both_sizes(train):
    found = take(37 * 4, train, batch=37, seed=0, start=0, flip=True, sizes=(8, 16))
    epochs = []
    for small, large in found:
        assert small.shape == (37, 3, 8, 8)
        assert large.shape == (37, 3, 16, 16)
        assert names(small) == names(large)
        assert mirrored(small) == mirrored(large)
        epochs.append(dict(zip(names(small), mirrored(small), strict=True)))
    share = np.mean([list(epoch.values()) for epoch in epochs])
    assert 0.46 < share < 0.54
    assert len({tuple(sorted(epoch.items())) for epoch in epochs}) == len(epochs)
    plain = take(3, train, batch=37, seed=0, start=0, flip=False)
    assert [names(images) for images in plain] == [names(small) for small, _ in found[:3]]


def test_large_data_are_read_one_shard_after_the_other(path, monkeypatch):
    monkeypatch.setattr(prepared_module, "RESIDENT_BYTES", 0)
    train = open_data(path).split("train")
    where = {
        name: shard
        for shard in range(len(train.card.shards))
        for name in names(train.images(range(train.first[shard], train.first[shard + 1])))
    }
    (images,) = take(1, train, batch=37, seed=5, start=0, flip=False)
    order = [where[name] for name in names(images)]
    assert [shard for shard, _ in itertools.groupby(order)] != sorted(set(order))
    assert len(list(itertools.groupby(order))) == len(train.card.shards)


def test_what_is_asked_for_must_fit(train):
    with pytest.raises(UserError, match=r"--train.batch 38 .*37 images"):
        batches(train, batch=38, seed=0, start=0, flip=False)
    with pytest.raises(UserError, match="multiple"):
        batches(train, batch=9, seed=0, start=0, flip=False, world=2)
    with pytest.raises(UserError, match="--pair 32"):
        batches(train, batch=4, seed=0, start=0, flip=False, sizes=(8, 32))


def test_an_error_of_the_background_thread_is_raised_in_training(path, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(prepared_module, "RESIDENT_BYTES", 0)
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    train = open_data(copy).split("train")
    for shard in train.card.shards[1:]:
        (copy / shard.file).unlink()
    stream = batches(train, batch=4, seed=0, start=0, flip=False)
    with pytest.raises(UserError, match=r"parquet is missing"):
        list(itertools.islice(stream, 20))


def test_a_closed_stream_leaves_no_thread(train):
    stream = batches(train, batch=4, seed=0, start=0, flip=False)
    next(stream)
    assert any(thread.name == "crvae-batches" for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name == "crvae-batches" for thread in threading.enumerate())


def test_python_ends_quietly_with_a_stream_open(path):
    import subprocess
    import sys

    code = (
        "import sys; from crvae.data import *; train = open_data(sys.argv[1]).split('train'); "
        "s = batches(train, batch=4, seed=0, start=0, flip=True); next(s)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_rows_all_over_a_split_lie_inside_it_however_large_it_is():
    for length in (1, 7, 443, 20_000_000, 123_456_789):
        rows = evenly(length, 2048)
        assert len(rows) == min(2048, length)
        assert (int(rows[0]), int(rows[-1])) == (0, length - 1)
        assert len(rows) == 1 or int(rows.diff().min()) > 0
