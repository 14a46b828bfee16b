"""Miniature copies of published datasets, each in its exact layout, drawn from a fixed seed; and the command itself."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from making import picture
from PIL import Image

from crvae.cli import main

torch.set_num_threads(1)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(name="picture")
def _picture():
    return picture


@pytest.fixture(name="encoded")
def _encoded():
    return encoded


@pytest.fixture
def crvae(capsys):
    """Runs the real command; returns its exit code and what it printed on standard output and standard error."""

    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(arg) for arg in args])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


@pytest.fixture
def refused(crvae):
    """Runs a command that must be refused: exit 2, one sentence, no stack trace. Returns the sentence."""

    def run(*args: object) -> str:
        code, out, err = crvae(*args)
        lines = [line for line in err.splitlines() if line.strip()]
        assert code == 2, err
        assert out == ""
        assert lines[-1].startswith("crvae: ")
        assert "Traceback" not in err
        return lines[-1]

    return run


@pytest.fixture
def images(tmp_path):
    """A folder of 12 images in two classes."""
    for i in range(12):
        path = tmp_path / "images" / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path)
    return tmp_path / "images"


@pytest.fixture
def prepared(images, crvae, tmp_path):
    """The same images, prepared at 8 and 16 pixels."""
    assert crvae("prepare", images, tmp_path / "prepared", "--size", 8, "--pair", 16)[0] == 0
    return tmp_path / "prepared"


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def cub(tmp_path):
    """CUB-200-2011: six images of two species; image 6 is the same file as Birdsnap's first."""
    root = tmp_path / "CUB_200_2011"
    names = [f"001.Black_footed_Albatross/Black_Footed_Albatross_000{i}_18.jpg" for i in (1, 2, 3)]
    names += [f"059.Heermann_Gull/Heermann_Gull_000{i}_7.jpg" for i in (1, 2, 3)]
    for i, name in enumerate(names, 1):
        write(root / "images" / name, encoded(picture(300 if i == 6 else i, 50, 40), "JPEG"))
    write(root / "images.txt", "".join(f"{i} {name}\n" for i, name in enumerate(names, 1)))
    write(root / "classes.txt", "1 001.Black_footed_Albatross\n59 059.Heermann_Gull\n")
    write(root / "image_class_labels.txt", "".join(f"{i} {1 if i < 4 else 59}\n" for i in range(1, 7)))
    write(root / "bounding_boxes.txt", "".join(f"{i} 10.0 12.0 20.0 16.0\n" for i in range(1, 7)))
    write(root / "train_test_split.txt", "".join(f"{i} {i % 2}\n" for i in range(1, 7)))
    return root


@pytest.fixture
def nabirds(tmp_path):
    """NABirds: identifiers with hyphens, numbered class folders, plumages in brackets, names with spaces."""
    root = tmp_path / "nabirds"
    keys = [f"0000139e-21dc-4d0c-bfe1-4cae3c85c82{i}" for i in range(4)]
    paths = [f"0{817 + i % 2}/{key.replace('-', '')}.jpg" for i, key in enumerate(keys)]
    for i, path in enumerate(paths):
        write(root / "images" / path, encoded(picture(200 + i, 60, 44), "JPEG"))
    write(root / "images.txt", "".join(f"{key} {path}\n" for key, path in zip(keys, paths, strict=True)))
    write(root / "classes.txt", "0 Birds\n817 Heermann's Gull (Adult)\n818 Oak Titmouse\n")
    write(root / "image_class_labels.txt", "".join(f"{key} {817 + i % 2}\n" for i, key in enumerate(keys)))
    write(root / "bounding_boxes.txt", "".join(f"{key} 5 6 40 30\n" for key in keys))
    write(root / "train_test_split.txt", "".join(f"{key} {int(i != 3)}\n" for i, key in enumerate(keys)))
    write(root / "hierarchy.txt", "817 0\n818 0\n")
    return root


@pytest.fixture
def birdsnap(tmp_path):
    """Birdsnap 1.1: tab-separated with headers, corners in place of widths, 17 parts, one image never downloaded."""
    root = tmp_path / "birdsnap"
    head = ["url", "md5", "path", "species_id", "bb_x1", "bb_y1", "bb_x2", "bb_y2", "back_x", "back_y"]
    lines = ["\t".join(head)]
    for i in range(4):
        path = f"Heermanns_Gull/{i}.jpg" if i < 3 else "Black_footed_Albatross/3.jpg"
        if i != 2:
            write(root / "download" / "images" / path, encoded(picture(300 + i, 50, 40), "JPEG"))
        lines.append(
            "\t".join(
                ["http://flickr.example/x.jpg", "0" * 32, path, "1" if i < 3 else "2", "4", "5", "44", "36", "", ""]
            )
        )
    write(root / "images.txt", "\n".join(lines) + "\n")
    species = "id\tcommon\tscientific\tdir\n1\tHeermann's Gull\tLarus heermanni\tHeermanns_Gull\n"
    write(root / "species.txt", species + "2\tBlack-footed Albatross\tPhoebastria nigripes\tBlack_footed_Albatross\n")
    write(root / "test_images.txt", "path\nHeermanns_Gull/1.jpg\n")
    return root


@pytest.fixture
def celeba(tmp_path):
    """CelebA: eight aligned images, as torchvision unpacks it; a count in the first line of the attributes."""
    root = tmp_path / "celeba-root"
    files = [f"{i:06d}.jpg" for i in range(1, 9)]
    for i, file in enumerate(files):
        write(root / "img_align_celeba" / file, encoded(picture(500 + i, 178, 218), "JPEG", quality=95))
    write(
        root / "list_eval_partition.txt",
        "".join(f"{file} {(0, 0, 0, 0, 0, 1, 2, 2)[i]}\n" for i, file in enumerate(files)),
    )
    write(
        root / "identity_CelebA.txt", "".join(f"{file} {(2880, 2937, 8692)[i % 3]}\n" for i, file in enumerate(files))
    )
    rows = "".join(f"{file} {'-1 ' if i % 2 else ' 1 '} 1  -1\n" for i, file in enumerate(files))
    write(root / "list_attr_celeba.txt", f"{len(files)}\n5_o_Clock_Shadow Smiling Young \n" + rows)
    return root


@pytest.fixture
def lsun(tmp_path):
    """LSUN bedroom: two LMDBs whose keys are hexadecimal hashes and whose values are WebP files, one of them broken."""
    import lmdb

    root = tmp_path / "lsun-root"
    for split, count in (("train", 9), ("val", 3)):
        folder = root / f"bedroom_{split}_lmdb"
        folder.mkdir(parents=True)
        with lmdb.open(str(folder), map_size=1 << 24) as database, database.begin(write=True) as change:
            for i in range(count):
                value = (
                    b"RIFFbroken"
                    if (split, i) == ("train", 4)
                    else encoded(picture(700 + i + 50 * count, 64, 48), "WEBP")
                )
                change.put(f"{i * 7919 % 10007:040x}".encode(), value)
    return root


@pytest.fixture
def iconify(tmp_path):
    """Three Iconify packages with the same five drawings: two genders of one concept, a skin tone, one without a category."""
    root = tmp_path / "packages"
    for vendor, colour in (("noto", "#f00"), ("twemoji", "#0f0"), ("fluent-emoji-flat", "#00f")):
        folder = root / "@iconify-json" / vendor
        body = f'<rect width="16" height="16" fill="{colour}"/>'
        icons = {name: {"body": body} for name in ("man", "woman", "man-dark", "cat", "stray", "tall")}
        icons["tall"] = {"body": f'<rect width="16" height="20" fill="{colour}"/>', "height": 20}
        categories = {"Animals & Nature": ["cat", "tall"], "People & Body": ["man", "woman", "man-dark"]}
        chars = {
            "1f468": "man",
            "1f469-fe0f": "woman",
            "1f468-1f3ff": "man-dark",
            "1f408": "cat",
            "2600": "stray",
            "2195": "tall",
        }
        write(folder / "icons.json", json.dumps({"prefix": vendor, "icons": icons, "width": 16, "height": 16}))
        write(folder / "metadata.json", json.dumps({"categories": categories}))
        write(folder / "chars.json", json.dumps(chars))
        write(folder / "package.json", json.dumps({"version": "1.0.0"}))
    return root


@pytest.fixture
def fill(encoded, picture):
    """Writes distinct pictures into a folder."""

    def fill(folder: Path, count: int, seed: int = 0, names: str = "{:03d}.png") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            (folder / names.format(i)).write_bytes(encoded(picture(seed + i, 9, 8)))
        return folder

    return fill
