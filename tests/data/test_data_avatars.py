"""Drawn faces: toy packages whose every face can be worked out by hand, and the real ones where they are installed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crvae.data import open_data
from crvae.data.images import Form
from crvae.data.sources import avatars, npm

MODULES = npm.cache() / "npm" / "node_modules"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


@pytest.fixture
def dicebear(tmp_path):
    """Toy packages under the names and versions of the real ones."""
    for name in ("core", "collection", "personas"):
        folder = tmp_path / "npm" / "node_modules" / "@dicebear" / name
        (folder / "lib").mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("toy_avatars.mjs"), folder / "lib" / "index.js")
        (folder / "package.json").write_text(json.dumps({"version": avatars.VERSION, "type": "module"}))
    return tmp_path / "npm"


def attributes(path) -> dict[int, tuple[str, dict[str, str]]]:
    """Seed -> (split, attribute -> value)."""
    data, found = open_data(path), {}
    for name in data.card.splits:
        split = data.split(name)
        every = range(len(split))
        codes = {column: split.labels(every, column).tolist() for column in data.card.columns}
        for i, key in enumerate(split.keys(every)):
            own = {column: data.card.columns[column][codes[column][i]] for column in codes}
            found[int(key)] = name, own
    return found


@needs_node
def test_attributes_say_what_is_drawn_and_no_more(dicebear, crvae, tmp_path):
    options = ("--root", dicebear, "--style", "personas", "--count", 60, "--size", 32, "--pair", 64, "--workers", 1)
    assert crvae("prepare", "avatars", tmp_path / "out", *options)[0] == 0
    card = open_data(tmp_path / "out").card
    found = attributes(tmp_path / "out")
    # the one nose tells nothing; hair is not seen under a hat, nor its colour
    assert set(card.columns) == {"eyes", "mouth", "glasses", "hat", "hat_color", "hair", "hair_color", "skin"}
    assert card.columns["glasses"] == ("none", "round")
    hair = ("220000", "004400", "000066", "888800", "ff00ff")
    hats = ("330000", "005500", "000077", "999900", "ff00cc")
    for seed, (_, own) in found.items():
        hat = seed % 4 == 0
        assert own == {
            "eyes": ("open", "shut")[seed % 2],
            "mouth": ("sad", "glad", "flat")[seed % 3],
            "glasses": "none" if seed % 3 else "round",
            "hat": "tall" if hat else "none",
            "hat_color": hats[seed % 5] if hat else "none",
            "hair": "none" if hat else ("long", "short")[seed % 2],
            "hair_color": "none" if hat else hair[seed % 5],
            "skin": ("aa5500", "ffddbb")[seed % 2],
        }
    # eyes and mouth are where they are drawn, of 64 units
    assert card.boxes["eyes"] == pytest.approx((24 / 64, 20 / 64, 28 / 64, 44 / 64), abs=1e-4)
    assert card.boxes["mouth"] == pytest.approx((40 / 64, 28 / 64, 46 / 64, 34 / 64), abs=1e-4)
    assert card.licences["personas"] == "CC BY 4.0, Draftbit"
    image = open_data(tmp_path / "out").split("train").images([0], size=64)[0]
    assert tuple(image[:, 2, 2].tolist()) == (0xD1, 0xD4, 0xF9)


@needs_node
def test_faces_that_come_again_are_left_out_and_counted(dicebear, crvae, tmp_path):
    options = ("--root", dicebear, "--style", "personas", "--count", 90, "--size", 16, "--workers", 1)
    assert crvae("prepare", "avatars", tmp_path / "out", *options)[0] == 0
    card = open_data(tmp_path / "out").card
    drawn: dict[tuple[int, ...], int] = {}
    for seed in range(90):
        drawn.setdefault((seed % 2, seed % 3, seed % 4 == 0, seed % 5), seed)
    assert len(drawn) == 45
    assert sorted(attributes(tmp_path / "out")) == sorted(drawn.values())
    assert card.notes[0].startswith("45 seeds drew a face that a smaller one had drawn, and are left out: 31, 33, 35")
    assert card.duplicates.images == 0


def test_of_every_six_seeds_one_validates_whatever_the_count():
    validating = [seed for seed in range(12_000) if avatars.split_of(seed) == "validation"]
    assert len(validating) == 2000
    for seed in validating[:200]:
        six = range(seed - seed % 6, seed - seed % 6 + 6)
        assert min(six, key=lambda s: hashlib.sha256(str(s).encode()).hexdigest()) == seed


@needs_node
def test_mistakes_are_one_sentence(dicebear, refused, tmp_path, monkeypatch):
    out = tmp_path / "out"
    options = ("prepare", "avatars", out, "--root", dicebear, "--count", 20)
    assert "--style knows avataaars, adventurer" in refused(*options, "--style", "manga")
    assert "--count" in refused("prepare", "avatars", out, "--count", 3)
    assert "@dicebear/avataaars" in refused(*options)
    package = dicebear / "node_modules" / "@dicebear" / "core" / "package.json"
    package.write_text('{"version": "8.0.0"}')
    assert f"8.0.0: install @dicebear/core@{avatars.VERSION}" in refused(*options, "--style", "personas")
    package.write_text(json.dumps({"version": avatars.VERSION}))
    (dicebear / "node_modules" / "@dicebear" / "personas" / "lib" / "index.js").write_text("throw new Error('broken');")
    assert "Node.js could not draw" in refused(*options, "--style", "personas")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Node.js, which is missing" in refused(*options, "--style", "personas")
    assert not out.exists()


@pytest.mark.skipif(npm.version(MODULES / "@dicebear" / "core") != avatars.VERSION, reason="not in the cache")
@pytest.mark.parametrize("style", avatars.STYLES)
def test_the_real_styles(style):
    """Each draws, varies, names its own licence as its package does, and comes out the same again."""
    form = Form(sizes=(64,))
    source, again = (avatars.avatars(form, root=MODULES, style=style, count=24) for _ in range(2))
    items = list(source.items())
    assert items == list(again.items())
    assert len(source.columns) >= 5
    first, second = (np.asarray(of.open(items[0]).resize((64, 64), Image.Resampling.BICUBIC)) for of in (source, again))
    assert (first == second).all()
    assert first.std() > 20
    licence = (MODULES / "@dicebear" / style / "LICENSE").read_text().splitlines()
    designer = next(line for line in licence if line.startswith("Designer: "))
    assert designer.removeprefix("Designer: ").startswith(avatars.STYLES[style].designer)
    terms = next(line for line in licence if line.startswith("License: ")).removeprefix("License: ")
    assert terms.lower().startswith(avatars.STYLES[style].licence.lower())
    for top, left, bottom, right in source.boxes.values():
        assert 0.2 < top < bottom < 0.9
        assert 0.1 < left < right < 0.9
    assert source.boxes["eyes"][0] < source.boxes["mouth"][0]
