"""CelebA (section 4): the aligned images, the official partition, attributes and identities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np

from crvae.data.images import Box, Form, region
from crvae.data.registry import source
from crvae.data.source import Item, Source, read_file
from crvae.data.sources.index_files import lines
from crvae.data.sources.table import COLUMN
from crvae.errors import UserError

FACE = (15.0, 40.0, 163.0, 188.0)
"""The usual centre crop of the 178x218 aligned images: 148x148 pixels around the face, 15 from the left, 40 from the top."""

PARTS: dict[str, Box] = {"eyes": (52.0, 98.0, 126.0, 126.0), "mouth": (60.0, 138.0, 118.0, 168.0)}
"""Eyes and mouth in the 178x218 aligned images, left, top, right, bottom: around the means of the published landmarks
(eyes at 69, 111 and 108, 111; corners of the mouth at 73, 152 and 105, 152)."""

FILES = ("img_align_celeba", "list_eval_partition.txt", "identity_CelebA.txt", "list_attr_celeba.txt")
"""The folder of images, and what is said of them."""

SPLITS = ("train", "validation", "test")
NOTES = (
    "the official partition has 162,770 training, 19,867 validation and 19,962 test images; the paper prints 163,770 "
    "training images, a misprint (the difference is exactly 1,000)",
)


@dataclass(frozen=True, kw_only=True)
class CelebA(Source):
    """Faces, labelled by `identity` and by the 40 attributes (`no`, `yes`)."""

    images: Path
    files: tuple[str, ...] = field(repr=False)
    partition: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    """`file column`: the labels."""

    @property
    def count(self) -> int:
        return len(self.files)

    @property
    def description(self) -> dict[str, object]:
        listing = hashlib.sha256("\0".join(self.files).encode() + self.partition.tobytes() + self.values.tobytes())
        return {"kind": "celeba", "files": self.count, "listing": listing.hexdigest()}

    def items(self) -> Iterator[Item]:
        for i, file in enumerate(self.files):
            labels = {name: int(value) for name, value in zip(self.columns, self.values[i], strict=True)}
            yield Item(file, None, SPLITS[self.partition[i]], labels, FACE)

    def open(self, item: Item) -> bytes:
        try:
            return read_file(self.images / item.key, self.form.byte_limit)
        except OSError:
            if not self.images.is_dir():
                raise UserError(f"{self.images} has vanished: bring it back and run the same command") from None
            raise


@source("celeba", boxes=True)
def celeba(
    form: Form,
    *,
    root: Annotated[Path | None, "the folder with img_align_celeba and list_eval_partition.txt"] = None,
) -> CelebA:
    """Reads the index files below `root`, flat or in Img/, Eval/ and Anno/ as published.

    Raises UserError naming the file that is missing or wrong.
    """
    if root is None or not root.is_dir():
        got = "" if root is None else f"; {root} is not a folder"
        raise UserError(f"celeba needs --root DIR, the folder with img_align_celeba and list_eval_partition.txt{got}")
    images, partition_file, identity_file, attribute_file = _find(root)
    partition: dict[str, int] = {}
    for file, part in lines(partition_file, 2, option="--root"):
        if part.strip() not in ("0", "1", "2") or "/" in file or file.startswith("."):
            raise UserError(f"{partition_file} says {part.strip()!r} for {file}, not 0, 1 or 2: download it again")
        partition[file] = int(part)
    identity = {file: name.strip() for file, name in lines(identity_file, 2, option="--root")}
    names, attributes = _attributes(attribute_file)
    for table, path in ((identity, identity_file), (attributes, attribute_file)):
        missing = next((file for file in partition if file not in table), None)
        if missing is not None:
            raise UserError(f"{path} has no line for {missing} of {partition_file.name}: download it again")
    if not partition:
        raise UserError(f"{partition_file} lists no images: download it again")
    people = sorted(set(identity.values()), key=lambda name: (len(name), name))
    number = {name: i for i, name in enumerate(people)}
    files = sorted(partition, key=lambda file: hashlib.sha256(file.encode()).digest())
    values = np.array([[number[identity[file]], *attributes[file]] for file in files], dtype=np.int32)
    columns = {"identity": tuple(people)} | dict.fromkeys(names, ("no", "yes"))
    return CelebA(
        name="celeba",
        form=form,
        columns=columns,
        notes=NOTES,
        licences={"celeba": "non-commercial research; see the set's terms"},
        boxes=_boxes(form),
        images=images,
        files=tuple(files),
        partition=np.array([partition[file] for file in files], np.uint8),
        values=values,
    )


def _boxes(form: Form) -> dict[str, tuple[float, float, float, float]]:
    """Eyes and mouth after the crop, as far as it holds them: top, left, bottom, right, as fractions."""
    left, top, right, bottom = region((178, 218), form, FACE)
    width, height, found = right - left, bottom - top, {}
    for name, part in PARTS.items():
        edges = ((part[1] - top) / height, (part[0] - left) / width, (part[3] - top) / height, (part[2] - left) / width)
        upper, first, lower, last = (round(min(max(edge, 0.0), 1.0), 4) for edge in edges)
        found[name] = (upper, first, lower, last)
    return found


def _attributes(path: Path) -> tuple[list[str], dict[str, bytes]]:
    """The names in the second line, and 0 or 1 for each attribute of each file."""
    rows = lines(path, 1, option="--root", header=1)
    names = next(rows, [""])[0].split()
    if not names or not all(COLUMN.fullmatch(name) for name in names) or len(set(names)) != len(names):
        raise UserError(f"{path} line 2 must name the attributes: download it again")
    attributes = {}
    for (line,) in rows:
        file, *values = line.split()
        if len(values) != len(names) or not set(values) <= {"-1", "1"}:
            raise UserError(f"{path} must give -1 or 1 for {len(names)} attributes of {file}: download it again")
        attributes[file] = bytes(value == "1" for value in values)
    return names, attributes


def _find(root: Path) -> list[Path]:
    """Where each of FILES is below `root`. Raises UserError naming all that are not there."""
    found, missing = [], []
    for name in FILES:
        places = (root / name, root / "celeba" / name, *(root / part / name for part in ("Img", "Eval", "Anno")))
        there = next((place for place in places if (place.is_file() if "." in name else place.is_dir())), None)
        missing.append(name) if there is None else found.append(there)
    if missing:
        raise UserError(
            f"--root {root} lacks {', '.join(missing)} (also in Img/, Eval/ and Anno/): it must be the folder that holds"
            " them, unpacked"
        )
    return found
