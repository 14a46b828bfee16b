"""Studies of three models that a test can tell apart by colour, without the key."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crvae.web.study.questions import create

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

COLOURS = {"vae-gan": 0, "crvae-gan": 1, "crvae-gan-mi": 2}
"""Model -> the colour channel in which its images are brightest."""


def paint(folder: Path, model: str, count: int) -> None:
    """`count` images of one model, each its own: a gradient in the model's colour."""
    folder.mkdir(parents=True)
    for number in range(count):
        image = np.full((16, 16, 3), 40, dtype=np.uint8)
        image[:, :, COLOURS[model]] = np.linspace(150, 255, 16)[None] - number
        Image.fromarray(image).save(folder / f"{number:03d}.png")


def model_of(image: Image.Image) -> str:
    """The model that painted an image, scrambled or not."""
    return list(COLOURS)[int(np.asarray(image, dtype=float).mean((0, 1)).argmax())]


@pytest.fixture
def sample_runs(tmp_path) -> list[str]:
    """Folders of samples of the three models."""
    for model in COLOURS:
        paint(tmp_path / "samples" / model, model, 20)
    return [str(tmp_path / "samples" / model) for model in COLOURS]


@pytest.fixture
def completion_runs(tmp_path) -> list[str]:
    """Folders as `crvae complete` writes them, of two models."""
    for model in ("vae-gan", "crvae-gan"):
        for mask in ("lower", "right-half"):
            paint(tmp_path / "completions" / model / mask, model, 12)
    return [str(tmp_path / "completions" / model) for model in ("vae-gan", "crvae-gan")]


@pytest.fixture
def study(tmp_path, sample_runs) -> Path:
    """A study of samples by three models: 16 questions, 1 repeated, 2 for attention."""
    create(sample_runs, "sample", 16, 0, tmp_path / "study")
    return tmp_path / "study"
