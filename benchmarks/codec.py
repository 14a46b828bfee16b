"""`python -m benchmarks.codec RUN --data DATA --out DIR`: .crz files beside JPEG, WebP, AVIF and JPEG XL of at most as many bytes.

Every classical codec may shrink the picture before it encodes it, and is shown enlarged again. Of all shrinkings and qualities that fit
it gets, image by image, the one with the lowest LPIPS-style distance. `decoded`: .crz files that show the autoencoder's own limit.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import pillow_jxl  # noqa: F401  # teaches Pillow JPEG XL
import torch
from PIL import Image
from torch import Tensor

from crvae.evaluation.distance import PerceptualDistance
from crvae.pictures import as_picture, from_8_bit, save_grid, to_8_bit
from crvae.storage.models import load
from crvae.tasks.codec import Codec
from crvae.tasks.inputs import read_images
from crvae.tasks.profiling import posterior_of
from crvae.tasks.rate import psnr

BUDGETS = (60, 100, 150, 200, 300, 500)
SHARES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)
QUALITIES = (0, 5, 15, 30, 50, 75)
CODECS = {
    "JPEG": {"optimize": True, "subsampling": 2},
    "WEBP": {"method": 6},
    "AVIF": {"speed": 4, "subsampling": "4:2:0"},
    "JXL": {"effort": 9},
}


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


def classical(stored: Tensor, codec: str, distance: PerceptualDistance) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
    """Budget -> which images fit at all, the pictures of those, their bytes."""
    best: dict[int, list[tuple[float, int, Tensor] | None]] = {budget: [] for budget in BUDGETS}
    for image in stored:
        found = candidates(image, codec)
        far = (
            distance(torch.stack([p for _, p in found]), image.expand(len(found), -1, -1, -1)).tolist() if found else []
        )
        rated = [(d, length, picture) for d, (length, picture) in zip(far, found, strict=True)]
        for budget in BUDGETS:
            best[budget].append(min((r for r in rated if r[1] <= budget), key=lambda r: r[0], default=None))
    results = {}
    for budget, chosen in best.items():
        fits = torch.tensor([row is not None for row in chosen])
        kept = [row for row in chosen if row is not None]
        pictures = torch.stack([row[2] for row in kept]) if kept else stored[:0]
        results[budget] = (fits, pictures, torch.tensor([row[1] for row in kept], dtype=torch.float))
    return results


def main() -> None:
    """Prints the table and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--shown", type=int, default=150, choices=BUDGETS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load(options.run)
    x = read_images(options.data, model, option="--data", limit=options.count).x
    stored, distance, codec, posterior = (
        to_8_bit(x),
        PerceptualDistance(torch.device("cpu")),
        Codec(model),
        posterior_of(model, x),
    )
    print("| codec | at most, bytes | fit | bytes | PSNR, dB | LPIPS-style distance |\n|---|---:|---:|---:|---:|---:|")
    columns = [stored[:8]]
    files = {budget: codec.compress(posterior, budget) for budget in BUDGETS}
    results = {"crz": {}} | {name: classical(stored, name, distance) for name in CODECS}
    for budget, written in files.items():
        shown = to_8_bit(torch.stack([codec.image(data, "the file") for data in written]))
        results["crz"][budget] = (
            torch.ones(len(x), dtype=torch.bool),
            shown,
            torch.tensor([float(len(d)) for d in written]),
        )
    for name, by_budget in results.items():
        for budget, (fits, pictures, sizes) in by_budget.items():
            if not fits.any():
                print(f"| {name} | {budget} | 0 | | | |")
                continue
            near, far = psnr(pictures, stored[fits]).mean(), distance(pictures, stored[fits]).mean()
            print(f"| {name} | {budget} | {int(fits.sum())} | {sizes.mean():.0f} | {near:.2f} | {far:.4f} |")
        fits, pictures, _ = by_budget[options.shown]
        whole = torch.full_like(stored, 255)
        whole[fits] = pictures
        columns.append(whole[:8])
    own = to_8_bit(model.decode(posterior.mean))
    print(
        f"| the autoencoder alone | | {len(x)} | | {psnr(own, stored).mean():.2f} | {distance(own, stored).mean():.4f} |"
    )
    options.out.mkdir(parents=True, exist_ok=True)
    save_grid(from_8_bit(torch.cat(columns)), options.out / "codecs.png")


if __name__ == "__main__":
    main()
