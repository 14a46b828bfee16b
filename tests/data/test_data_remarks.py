"""Images that are stored and will disappoint are counted in the card: enlarged ones, and nearly black ones."""

from __future__ import annotations

import numpy as np
import pytest
from making import made
from PIL import Image

BLACK = "nearly black, without a value above 16 of 255"
ENLARGED = "pixels where they were cut, and enlarged: they are blurred"


def said(folder, out, **options) -> tuple[str, ...]:
    return made(folder, out, **options).card.notes


def save(folder, images) -> None:
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(images):
        image.save(folder / f"{i}.png")


@pytest.mark.parametrize(
    ("size", "pair", "enlarged"), [((8, 8), None, 0), ((7, 30), None, 4), ((8, 9), 16, 4), ((16, 20), 16, 0)]
)
def test_enlarged_images_are_counted_at_the_largest_stored_size(size, pair, enlarged, picture, tmp_path):
    save(tmp_path / "in", [picture(seed, *size) for seed in range(4)])
    notes = said(tmp_path / "in", tmp_path / "out", **({"pair": pair} if pair else {}))
    assert notes == ((f"4 of 4 images are smaller than {pair or 8}x{pair or 8} {ENLARGED}",) if enlarged else ())


def test_only_the_images_that_are_odd_are_counted(picture, tmp_path):
    dark = [Image.fromarray(np.full((9, 9), value + i, np.uint8)) for i, value in enumerate((3, 12, 20))]
    save(tmp_path / "in", [picture(0, 30, 30), picture(1, 5, 30), *dark])
    first, second = said(tmp_path / "in", tmp_path / "out")
    assert first.startswith(f"1 of 5 images are smaller than 8x8 {ENLARGED}")
    assert second.startswith(f"2 of 5 images are {BLACK}")


@pytest.mark.parametrize(("bits", "black"), [(10, True), (12, True), (14, False), (16, False)])
def test_few_bits_in_files_of_sixteen_are_nearly_black(bits, black, tmp_path):
    rng = np.random.default_rng(bits)
    save(tmp_path / "in", [Image.fromarray(rng.integers(0, 2**bits, (9, 9), np.uint16)) for _ in range(3)])
    notes = said(tmp_path / "in", tmp_path / "out")
    assert (len(notes) == 1 and notes[0].startswith(f"3 of 3 images are {BLACK}")) if black else notes == ()


def test_what_was_skipped_is_not_counted(picture, encoded, tmp_path):
    save(tmp_path / "in", [picture(seed, 5, 5) for seed in range(3)])
    (tmp_path / "in" / "broken.png").write_bytes(encoded(picture(9, 5, 5))[:60])
    assert said(tmp_path / "in", tmp_path / "out")[0].startswith("3 of 3 images are smaller")
