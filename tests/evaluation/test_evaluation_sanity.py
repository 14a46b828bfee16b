"""Do the scores order what everyone can order? Real images beside real ones, blurred, noisy, and an untrained model's.

On emoji this prints the table of docs/research/scores.md: `make sanity`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torchvision.transforms.functional import gaussian_blur

from crvae.data import open_data
from crvae.evaluation.features import feature_extractor
from crvae.evaluation.image_scores import fid, kid, precision_and_recall
from crvae.evaluation.score import Score
from crvae.models.autoencoder import Autoencoder
from crvae.pictures import from_8_bit, to_8_bit
from crvae.recipes import RECIPES

EMOJI = Path("data/emoji64")


def blurred(images: torch.Tensor, deviation: float) -> torch.Tensor:
    return gaussian_blur(images, [2 * round(3 * deviation) + 1] * 2, [deviation] * 2)


def noisy(images: torch.Tensor, deviation: float) -> torch.Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return to_8_bit(from_8_bit(images) + deviation * noise)


def untrained(count: int) -> torch.Tensor:
    torch.manual_seed(0)
    return to_8_bit(Autoencoder(RECIPES["emoji-crvae-gan"].config.model).eval().sample(count))


def table(images: torch.Tensor) -> dict[str, dict[str, Score]]:
    """Scores of what is made of every second image, against the others."""
    extractor = feature_extractor("efficientnet-lite0", torch.device("cpu"))
    about = {"features": extractor.name, "features_sha256": extractor.sha256, "resizer": extractor.resizer}
    reference, other = images[0::2], images[1::2]
    real = extractor(reference)
    made = {
        "the other half": other,
        "blurred, deviation 0.7 pixels": blurred(other, 0.7),
        "blurred, deviation 1.5 pixels": blurred(other, 1.5),
        "noisy, deviation 0.1 of [-1, 1]": noisy(other, 0.1),
        "noisy, deviation 0.4 of [-1, 1]": noisy(other, 0.4),
        "an untrained model's samples": untrained(len(other)),
    }
    rows = {}
    for name, candidates in made.items():
        fake = extractor(candidates)
        rows[name] = {"kid": kid(real, fake, 0, **about), "fid": fid(real, fake, 0, **about)}
        rows[name] |= precision_and_recall(real, fake, 0, **about)
    return rows


def assert_ordered(rows: dict[str, dict[str, Score]]) -> None:
    half, little, blur, faint, noise, untrained_model = rows.values()
    for score in ("kid", "fid"):
        for better, worse in ((half, little), (little, blur), (half, faint), (faint, noise), (blur, untrained_model)):
            assert better[score].value < worse[score].value
    assert half["kid"].low <= 0  # the same distribution: no distance can be told
    assert half["precision"].value > 0.5
    assert half["recall"].value > 0.5
    assert untrained_model["recall"].value < 0.05


def shapes(count: int) -> torch.Tensor:
    """Discs, boxes and stripes in random places and colours on white, 64 pixels."""
    generator = np.random.default_rng(0)
    images = []
    for _ in range(count):
        image = Image.new("RGB", (64, 64), "white")
        draw = ImageDraw.Draw(image)
        for _ in range(3):
            x, y, size = (int(value) for value in generator.integers((4, 4, 12), (40, 40, 28)))
            colour = tuple(int(value) for value in generator.integers(0, 256, 3))
            kind = (draw.ellipse, draw.rectangle, draw.arc)[int(generator.integers(3))]
            kind(
                [x, y, x + size, y + size],
                **({"fill": colour} if kind != draw.arc else {"start": 0, "end": 300, "fill": colour}),
            )
        images.append(np.array(image))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def test_the_scores_order_drawn_shapes():
    assert_ordered(table(shapes(80)))


@pytest.mark.slow
def test_the_scores_order_emoji(capsys):
    """`make sanity`, after `crvae prepare emoji data/emoji64`."""
    split = open_data(EMOJI).split("train")
    rows = table(split.images(torch.arange(800) * len(split) // 800))
    with capsys.disabled():
        print("\n| 400 images, against 400 others | KID | FID | precision | recall |\n|---|---:|---:|---:|---:|")
        for name, row in rows.items():
            cells = [f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})" for score in row.values()]
            print(f"| {name} | " + " | ".join(cells) + " |")
    assert_ordered(rows)
    *others, untrained_model = rows.values()
    for score in ("kid", "fid"):
        assert untrained_model[score].low > max(row[score].high for row in others)
