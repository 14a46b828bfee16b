"""A source of one's own: one class and one decorated function, outside of the package."""

from __future__ import annotations

import pytest

from crvae.data import open_data, prepare_source, registry
from crvae.data.registry import source
from crvae.errors import UserError
from reference import toys


@pytest.fixture
def tiles():
    source("tiles")(toys.tiles)
    yield
    del registry.SOURCES["tiles"]


def test_a_toy_source_is_prepared_by_name_with_its_own_option(tiles, crvae, capsys, tmp_path):
    code, _, err = crvae("prepare", "tiles", tmp_path / "out", "--how-many", 15, "--size", 8, "--workers", 1)
    assert code == 0
    assert "laid by hand" in err
    data = open_data(tmp_path / "out")
    assert {name: split.count for name, split in data.card.splits.items()} == {"train": 12, "validation": 3}
    assert data.card.attributes["shade"].values == {"even": 8, "odd": 7}
    assert sorted(data.split("train").images(range(12))[:, 0, 0, 0].tolist()) == [i for i in range(15) if i % 5]
    card = prepare_source("tiles", tmp_path / "again", size=8, workers=1, how_many=15)
    assert card.fingerprint == data.fingerprint


def test_help_says_who_understands_an_option(tiles, crvae):
    code, out, _ = crvae("prepare", "--help")
    assert code == 0
    assert "tiles: how many tiles to lay" in " ".join(out.replace("│", " ").split())


def test_options_of_other_sources_are_refused(tiles, refused, images, tmp_path):
    for args, option in (
        (("tiles", tmp_path / "out", "--root", tmp_path), "--root"),
        (("mnist", tmp_path / "out", "--how-many", 3), "--how-many"),
        ((images, tmp_path / "out", "--how-many", 3), "--how-many"),
        (("hub:a/b", tmp_path / "out", "--take", "tables"), "--take"),
        (("birds", tmp_path / "out", "--image-column", "x"), "--image-column"),
    ):
        assert f"{option} does not apply to {args[0]}" in refused("prepare", *args)
    with pytest.raises(UserError, match="--style does not apply to tiles"):
        prepare_source("tiles", tmp_path / "out", style="x")
    assert "mnist" in refused("prepare", "tile", tmp_path / "out")


def test_options_that_share_a_name_share_a_type():
    kinds: dict[str, object] = {}
    for registered in registry.all_sources().values():
        for name, option in registered.options.items():
            assert kinds.setdefault(name, option.kind) == option.kind
            assert option.help
