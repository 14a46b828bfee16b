"""`python -m benchmarks.codec crz=RUN --data DATA --out DIR`: .crz files beside JPEG, WebP, AVIF and JPEG XL of at most as many bytes.

Every classical codec may shrink the picture before it encodes it, and is shown enlarged again. Of all shrinkings and qualities that fit
it gets, image by image, the best one by PSNR in the column of PSNR, by SSIM in that of SSIM, and by the LPIPS-style distance in all
others. `cut`: the first blocks of a .crz file of the finest steps. `on average`: blocks and steps chosen on other images for so many
bytes on average. With `--classifier`: the share of the data's attributes that it sees in what is shown.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pillow_jxl  # noqa: F401  # teaches Pillow JPEG XL
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from crvae.data import open_data
from crvae.evaluation.distance import PerceptualDistance
from crvae.models.model import stage1_of
from crvae.pictures import as_picture, from_8_bit, save_picture, to_8_bit
from crvae.storage.models import load
from crvae.tasks.codec import Codec
from crvae.tasks.crz_file import HEADER, unpack
from crvae.tasks.grids import labelled_grid
from crvae.tasks.inputs import read_images
from crvae.tasks.profiling import posterior_of
from crvae.tasks.rate import psnr
from crvae.tasks.traversal import decode_all
from crvae.training.classifier import Classifier, load_classifier

BUDGETS = (50, 75, 100, 150, 200, 300, 500)
SHARES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)
QUALITIES = (0, 5, 15, 30, 50, 75)
CODECS = {
    "JPEG": {"optimize": True, "subsampling": 2},
    "WEBP": {"method": 6},
    "AVIF": {"speed": 4, "subsampling": "4:2:0"},
    "JXL": {"effort": 9},
}
PICTURED = 10
OTHERS = 128
"""Images that steps are chosen on, for files of so many bytes on average."""


@dataclass(frozen=True)
class Shown:
    """What one codec makes of the images within a number of bytes."""

    fits: Tensor
    """Which images there is a file for."""
    pictures: UInt8[Tensor, "b c h w"]
    """Of those."""
    sizes: list[int]


Best = dict[str, Shown]
"""Measure -> what is best by it."""

Pictures = UInt8[Tensor, "b c h w"]
Measure = Callable[[Pictures, Pictures], Float[Tensor, " b"]]
"""Pictures and the images -> how near each is."""
DISTANCE = "LPIPS-style distance"


def ssim(pictures: Pictures, images: Pictures) -> Float[Tensor, " b"]:
    """Structural similarity of each pair, at most 1."""
    near = structural_similarity_index_measure(pictures.float(), images.float(), data_range=255.0, reduction="none")
    assert isinstance(near, Tensor)
    return near.view(-1)


def measures() -> dict[str, tuple[Measure, int]]:
    """Column -> what it measures, and 1 where more is better, -1 where less is."""
    return {"PSNR, dB": (psnr, 1), "SSIM": (ssim, 1), DISTANCE: (PerceptualDistance(torch.device("cpu")), -1)}


class Judge:
    """Rows of the table: how near pictures are to the images, and the attributes that a classifier sees."""

    def __init__(self, stored: Pictures, classifier: Classifier | None, data: str):
        self.stored = stored
        self.measures = measures()
        self.classifier = classifier
        self.names: list[str] = []
        if classifier is not None:
            split, known = open_data(data).split("validation"), classifier.config.attributes
            self.names = [name for name, values in split.attributes.items() if known.get(name) == list(values)]
            self.truth = split.attribute_values(range(len(stored)), self.names)

    def row(self, codec: str, budget: int | str, best: Best) -> str:
        shown = best[DISTANCE]
        size = f"{sum(shown.sizes) / len(shown.sizes):.0f}" if shown.sizes else ""
        values = [codec, str(budget), str(len(shown.pictures)), size]
        for name, (measure, _) in self.measures.items():
            near = measure(best[name].pictures, self.stored[best[name].fits]).mean()
            values.append(f"{near:.2f}" if near > 2 else f"{near:.4f}")
        if self.names:
            right = self.right(shown)
            values.append(f"{torch.stack(list(right.values())).nanmean():.3f}")
        return f"| {' | '.join(values)} |"

    @torch.no_grad()
    def right(self, shown: Shown) -> dict[str, Float[Tensor, ""]]:
        """The share of pictures in which each attribute is seen right."""
        assert self.classifier is not None
        seen = self.classifier.values(from_8_bit(shown.pictures))
        return {
            name: (seen[name] == truth)[truth >= 0].float().mean()
            for name, truth in zip(self.names, self.truth[shown.fits].T, strict=True)
        }

    def attributes(self, columns: dict[str, Shown]) -> Iterator[str]:
        """A table of the attributes one by one."""
        yield f"| attribute | commonest value | {' | '.join(columns)} |\n|---|{'---:|' * (len(columns) + 1)}"
        each = [self.right(shown) for shown in columns.values()]
        for place, name in enumerate(self.names):
            known = self.truth[:, place][self.truth[:, place] >= 0]
            common = (known == known.mode().values).float().mean()
            yield f"| {name} | {' | '.join(f'{share:.2f}' for share in (common, *(right[name] for right in each)))} |"


def encoded(picture: Image.Image, codec: str, quality: int) -> bytes:
    """The picture as a file of this codec."""
    buffer = io.BytesIO()
    picture.save(buffer, codec, quality=quality, **CODECS[codec])
    return buffer.getvalue()


def candidates(image: Tensor, codec: str) -> list[tuple[int, Tensor]]:
    """Bytes and decoded picture of every shrinking and quality."""
    picture, size, found = as_picture(image), image.shape[-1], []
    for share in SHARES:
        small = picture if share == 1 else picture.resize((round(size * share),) * 2, Image.Resampling.LANCZOS)
        for quality in QUALITIES:
            data = encoded(small, codec, quality)
            if len(data) <= max(BUDGETS):
                shown = Image.open(io.BytesIO(data)).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
                found.append((len(data), torch.frombuffer(bytearray(shown.tobytes()), dtype=torch.uint8)))
    return [(length, flat.view(size, size, 3).permute(2, 0, 1)) for length, flat in found]


def classical(stored: Pictures, codec: str, judge: Judge) -> dict[int, Best]:
    """For each number of bytes the best of what fits, by each measure."""
    chosen: dict[tuple[int, str], list[tuple[int, Tensor] | None]] = {
        (budget, name): [] for budget in BUDGETS for name in judge.measures
    }
    for image in stored:
        found = candidates(image, codec)
        rated = {
            name: (sign * measure(torch.stack([p for _, p in found]), image.expand(len(found), -1, -1, -1))).tolist()
            for name, (measure, sign) in judge.measures.items()
            if found
        }
        for (budget, name), best in chosen.items():
            fitting = [place for place, (length, _) in enumerate(found) if length <= budget]
            best.append(found[max(fitting, key=rated[name].__getitem__)] if fitting else None)
    return {budget: {name: _shown(chosen[budget, name], stored) for name in judge.measures} for budget in BUDGETS}


def _shown(chosen: list[tuple[int, Tensor] | None], stored: Pictures) -> Shown:
    kept = [row for row in chosen if row is not None]
    pictures = torch.stack([picture for _, picture in kept]) if kept else stored[:0]
    return Shown(torch.tensor([row is not None for row in chosen]), pictures, [length for length, _ in kept])


def own(codec: Codec, files: list[bytes]) -> Shown:
    """Files of a header alone do not count."""
    fits = torch.tensor([len(data) > HEADER for data in files])
    files = [data for data in files if len(data) > HEADER]
    shape = stage1_of(codec.model).image_shape
    pictures = [to_8_bit(codec.image(data, "the file")) for data in files]
    stacked = torch.stack(pictures) if pictures else torch.empty(0, *shape, dtype=torch.uint8)
    return Shown(fits, stacked, [len(data) for data in files])


def cut(data: bytes, size: int) -> bytes:
    """As many whole blocks as fit into `size` bytes."""
    return data[: max(end for end in unpack(data, "the file").sizes() if end <= size)]


def picture(stored: Tensor, rows: dict[str, Shown]) -> Image.Image:
    """The first images, and below each what the codecs make of it; white where no file fits. In 256 colours, for a small file."""
    grid = [stored[:PICTURED]]
    for shown in rows.values():
        whole = torch.full_like(stored, 255)
        whole[shown.fits] = shown.pictures
        grid.append(whole[:PICTURED])
    return labelled_grid(torch.stack(grid), ["image", *rows]).quantize(256, dither=Image.Dither.NONE)


def progressive(run: str, name: str, options: argparse.Namespace) -> tuple[dict[str, dict[int, Shown]], Shown]:
    """What the files of one run show, by kind and number of bytes, and its reconstructions without any file."""
    model = load(run)
    x = read_images(options.data, model, option="--data", limit=options.count + OTHERS).x
    count = options.count
    codec, posterior, others = Codec(model), posterior_of(model, x[:count]), posterior_of(model, x[count:])
    whole = codec.compress(posterior)
    steps = {budget: codec.steps_for(others, budget) for budget in BUDGETS}
    print(f"{name}: {sum(map(len, whole)) / count:.0f} bytes with the finest steps\n")
    found = {
        name: {budget: own(codec, codec.compress(posterior, budget)) for budget in BUDGETS},
        f"{name}, on average": {
            budget: own(codec, codec.compress(posterior, None, *chosen)) for budget, chosen in steps.items()
        },
        f"{name}, cut": {budget: own(codec, [cut(data, budget) for data in whole]) for budget in BUDGETS},
    }
    alone = to_8_bit(decode_all(model, posterior.mean))
    return found, Shown(torch.ones(count, dtype=torch.bool), alone, [])


def main() -> None:
    """Prints the tables and writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="NAME=RUN, models of one size")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--classifier")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--shown", type=int, nargs="+", default=[75, 150], choices=BUDGETS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = dict(run.split("=", 1) for run in options.runs)
    x = read_images(options.data, load(next(iter(runs.values()))), option="--data", limit=options.count).x
    stored = to_8_bit(x)
    judge = Judge(stored, load_classifier(options.classifier) if options.classifier else None, options.data)
    results: dict[str, dict[int, Best]] = {}
    alone = {"the images": Shown(torch.ones(len(x), dtype=torch.bool), stored, [])}
    for name, run in runs.items():
        found, alone[f"{name}, without a file"] = progressive(run, name, options)
        results |= {
            kind: {budget: dict.fromkeys(judge.measures, shown) for budget, shown in by_budget.items()}
            for kind, by_budget in found.items()
        }
    results |= {name: classical(stored, name, judge) for name in CODECS}

    columns = [*judge.measures, *(["attributes right"] if judge.names else [])]
    print(f"| codec | at most, bytes | fit | bytes | {' | '.join(columns)} |\n|---|{'---:|' * (3 + len(columns))}")
    for name, by_budget in results.items():
        for budget, best in by_budget.items():
            if best[DISTANCE].sizes:
                print(judge.row(name, budget, best))
    for name, shown in alone.items():
        print(judge.row(name, "", dict.fromkeys(judge.measures, shown)))

    options.out.mkdir(parents=True, exist_ok=True)
    for budget in options.shown:
        rows = {name: by_budget[budget][DISTANCE] for name, by_budget in results.items() if "average" not in name}
        rows = {name: shown for name, shown in rows.items() if shown.fits[:PICTURED].any()}
        save_picture(picture(stored, rows), options.out / f"codecs-{budget}.png")
        if judge.names:
            print(f"\nAt most {budget} bytes:\n")
            print("\n".join(judge.attributes({"the images": alone["the images"]} | rows)))


if __name__ == "__main__":
    main()
