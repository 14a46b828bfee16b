"""Birds (section 4): CUB-200-2011, NABirds and Birdsnap, each in its published layout, as one dataset of regions of interest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from crvae.data.images import Box, Form
from crvae.data.registry import source
from crvae.data.source import Item, Source, read_file
from crvae.data.sources.index_files import lines, number
from crvae.errors import UserError

PAPER = "the paper counts 106,474 training and 5,974 validation images"
WHY = (
    "the three published sets hold 49,829 (Birdsnap) + 48,562 (NABirds) + 11,788 (CUB-200-2011) = 110,179 images, fewer than "
    "the paper's 112,448 in all, so the paper must have counted some more than once or used another list; its 5,974 looks "
    "like CUB's 5,794 test images with two digits exchanged. Here the official training images train, the official test "
    "images validate."
)
COUNTS = {"cub": 11_788, "nabirds": 48_562, "birdsnap": 49_829}


@dataclass(frozen=True)
class _Bird:
    dataset: str
    path: str
    species: str
    box: Box
    split: str


@dataclass(frozen=True, kw_only=True)
class Birds(Source):
    """All images of the chosen sets, labelled by species (`label`) and by origin (`dataset`)."""

    roots: dict[str, Path]
    birds: tuple[_Bird, ...] = field(repr=False)

    @property
    def count(self) -> int:
        return len(self.birds)

    @property
    def description(self) -> dict[str, object]:
        listing = hashlib.sha256("\n".join(map(repr, self.birds)).encode())
        return {"kind": "birds", "sets": list(self.roots), "files": self.count, "listing": listing.hexdigest()}

    def items(self) -> Iterator[Item]:
        species = {name: i for i, name in enumerate(self.columns["label"])}
        origin = {name: i for i, name in enumerate(self.columns["dataset"])}
        for bird in self.birds:
            labels = {"label": species[bird.species], "dataset": origin[bird.dataset]}
            yield Item(f"{bird.dataset}/{bird.path}", bird.path, bird.split, labels, bird.box)

    def open(self, item: Item) -> bytes:
        root = self.roots[item.key.split("/", 1)[0]]
        try:
            return read_file(root / str(item.at), self.form.byte_limit)
        except OSError:
            if not root.is_dir():
                raise UserError(f"{root} has vanished: bring it back and run the same command") from None
            raise


@source("birds", boxes=True, margin=0.25)
def birds(
    form: Form,
    *,
    cub: Annotated[Path | None, "the folder CUB_200_2011"] = None,
    nabirds: Annotated[Path | None, "the folder nabirds"] = None,
    birdsnap: Annotated[Path | None, "the folder birdsnap, its images in download/images"] = None,
) -> Birds:
    """Reads the index files of any subset of the three. Raises UserError naming the file that is missing or wrong.

    The margin of 0.25 makes the square 1.5 times as wide as the box, as StackGAN's Birds are cropped.
    """
    given = {"cub": cub, "nabirds": nabirds, "birdsnap": birdsnap}
    roots = {name: root for name, root in given.items() if root is not None}
    if not roots:
        raise UserError("birds needs --cub DIR, --nabirds DIR or --birdsnap DIR: one of them at least")
    found: list[_Bird] = []
    counts = []
    for name, root in roots.items():
        if not root.is_dir():
            raise UserError(f"--{name} {root} is not a folder. Pass the one that holds images.txt")
        read = list(_birdsnap(root) if name == "birdsnap" else _caltech(name, root))
        if not read:
            raise UserError(f"{root / 'images.txt'} lists no images: download it again")
        counts.append(f"{len(read):,} of {COUNTS[name]:,} ({name})")
        found += read
    found.sort(key=lambda bird: hashlib.sha256(f"{bird.dataset}/{bird.path}".encode()).digest())
    spelling: dict[str, str] = {}
    for bird in sorted(found, key=lambda bird: (bird.dataset == "cub", bird.dataset, bird.species)):
        spelling.setdefault(same_species(bird.species), bird.species)  # CUB last: it drops apostrophes and hyphens
    unified = tuple(replace(bird, species=spelling[same_species(bird.species)]) for bird in found)
    train = sum(bird.split == "train" for bird in unified)
    notes = (f"listed: {', '.join(counts)}: {train:,} training and {len(unified) - train:,} validation; {PAPER}", WHY)
    columns = {"label": tuple(sorted({bird.species for bird in unified})), "dataset": tuple(roots)}
    licences = dict.fromkeys(roots, "non-commercial research; see the set's terms")
    return Birds(name="birds", form=form, columns=columns, notes=notes, licences=licences, roots=roots, birds=unified)


def same_species(name: str) -> str:
    """What two spellings of one species share: letters without case, apostrophes dropped with their s."""
    return "".join(re.findall(r"[a-z]", re.sub("['\u2019]s?\\b", "", name.lower())))


def _caltech(name: str, root: Path) -> Iterator[_Bird]:
    """CUB-200-2011 and NABirds: images.txt, image_class_labels.txt, classes.txt, bounding_boxes.txt, train_test_split.txt."""
    option = f"--{name}"
    classes = dict(lines(root / "classes.txt", 2, option=option))
    labels = dict(lines(root / "image_class_labels.txt", 2, option=option))
    boxes = {key: rest for key, *rest in lines(root / "bounding_boxes.txt", 5, option=option)}
    training = dict(lines(root / "train_test_split.txt", 2, option=option))
    for key, path in lines(root / "images.txt", 2, option=option):
        for table, file in (
            (labels, "image_class_labels.txt"),
            (boxes, "bounding_boxes.txt"),
            (training, "train_test_split.txt"),
        ):
            if key not in table:
                raise UserError(f"{root / file} has no line for image {key} of images.txt: download it again")
        species = classes.get(labels[key].strip())
        if species is None:
            raise UserError(
                f"{root / 'classes.txt'} has no class {labels[key].strip()}, which image {key} has: download it again"
            )
        x, y, width, height = (number(v, root / "bounding_boxes.txt", f"image {key}") for v in boxes[key])
        if training[key].strip() not in ("0", "1"):
            raise UserError(f"{root / 'train_test_split.txt'} must say 0 or 1 for image {key}: download it again")
        split = "train" if training[key].strip() == "1" else "validation"
        yield _Bird(
            name, f"images/{_inside(path.strip(), root)}", _readable(species), (x, y, x + width, y + height), split
        )


def _birdsnap(root: Path) -> Iterator[_Bird]:
    """Birdsnap 1.1: species.txt, images.txt, test_images.txt (tab-separated, with headers); images in download/images."""
    option = "--birdsnap"
    species = {
        key: common for key, common, *_ in lines(root / "species.txt", 3, option=option, header=1, separator="\t")
    }
    test = {path.strip() for (path,) in lines(root / "test_images.txt", 1, option=option, header=1)}
    folder = "download/images" if (root / "download" / "images").is_dir() else "images"
    for _, _, path, key, *rest in lines(root / "images.txt", 8, option=option, header=1, separator="\t"):
        if key not in species:
            raise UserError(f"{root / 'species.txt'} has no species {key}, which {path} has: download it again")
        box = [number(value.split("\t")[0], root / "images.txt", path) for value in rest[:4]]
        split = "validation" if path in test else "train"
        yield _Bird(
            "birdsnap",
            f"{folder}/{_inside(path, root)}",
            _readable(species[key]),
            (box[0], box[1], box[2], box[3]),
            split,
        )


def _readable(species: str) -> str:
    """`001.Black_footed_Albatross` as `Black footed Albatross`, `Mallard (Breeding male)` as `Mallard`."""
    name = re.sub(r"^\d+\.", "", species.strip()).replace("_", " ")
    return " ".join(re.sub(r"\([^)]*\)", "", name).split())


def _inside(path: str, root: Path) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise UserError(f"{root / 'images.txt'} names {path!r}, which lies outside of the folder: download it again")
    return path
