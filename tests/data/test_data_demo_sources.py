"""The packages themselves, where they are installed: counts that anyone can compare."""

from __future__ import annotations

import pytest

from crvae.data.images import Form
from crvae.data.sources import digits, emoji, npm

MODULES = npm.cache() / "npm" / "node_modules"


@pytest.mark.skipif(
    not (MODULES / "@iconify-json" / "noto").is_dir(), reason="npm's emoji packages are not in the cache"
)
def test_the_real_emoji_are_split_by_concept():
    source = emoji.emoji(Form(sizes=(64,)), root=MODULES)
    assert source.columns["vendor"] == ("noto", "twemoji", "fluent-emoji-flat")
    assert len(source.columns["label"]) == 9
    assert len(source.drawings) > 5000
    share = sum(item.split == "validation" for item in source.items()) / source.count
    assert 0.07 < share < 0.1
    sides: dict[str, set[str | None]] = {}
    for vendor, folder in source.folders.items():
        names = {icon: emoji.concept(points) for points, icon in emoji._json(folder / "chars.json").items()}
        for item in source.items():
            if item.key.startswith(vendor + "/"):
                sides.setdefault(names[item.key.split("/")[1]], set()).add(item.split)
    assert all(len(splits) == 1 for splits in sides.values())


@pytest.mark.skipif(not digits.FASHION_ROOT.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist():
    source = digits.fashion_mnist(Form(sizes=(28,), channels=1), None)
    assert source.count == 70_000
    assert [len(part.images) for part in source.parts] == [50_000, 10_000, 10_000]
