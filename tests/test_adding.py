"""What CONTRIBUTING.md tells how to add, all at once and from outside of the package: each by its registry alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import crvae
from crvae.cli import main
from crvae.data import registry
from crvae.evaluation.registry import GENERATED, SCORES, score
from crvae.models.discriminators import DISCRIMINATORS
from crvae.models.latent import CONSTRUCTIONS
from crvae.models.priors import PRIORS
from crvae.storage.models import load_discriminator
from reference import toys


@pytest.fixture
def registered(monkeypatch):
    """The five entries, gone after the test."""
    monkeypatch.setitem(CONSTRUCTIONS, "pooled", toys.PooledLatent)
    monkeypatch.setitem(DISCRIMINATORS, "patches", toys.Patches)
    monkeypatch.setitem(PRIORS, "centred", toys.Centred)
    monkeypatch.setattr(registry, "SOURCES", registry.SOURCES.copy())
    registry.source("tiles")(toys.tiles)
    before = SCORES.copy()
    score("brightness", needs=(GENERATED,), gives={"brightness": toys.GREY})(toys.brightness)
    yield
    SCORES.clear()
    SCORES.update(before)


def test_toys_of_every_kind_go_through_the_commands_together(registered, tiny, tmp_path, capsys):
    data, run, out = tmp_path / "data", tmp_path / "run", tmp_path / "exported"
    assert main(["prepare", "tiles", str(data), "--how-many", "60", "--size", "32", "--workers", "1"]) == 0

    kinds = ["--model.latent", "pooled", "--discriminator.kind", "patches", "--prior.kind", "centred"]
    sizes = ["--objective.mutual-information", "0", "--prior.images", "64", "--prior.batch", "16"]
    assert main(["train", "emoji-crvae-gan-mi", "--data", str(data), "--out", str(run), *tiny, *kinds, *sizes]) == 0
    model = crvae.load(run)
    assert isinstance(model.latent, toys.PooledLatent)
    assert isinstance(model.prior, toys.Centred)
    assert isinstance(load_discriminator(run / "model"), toys.Patches)
    assert not torch.equal(model.prior.centre, torch.full_like(model.prior.centre, 2.0))  # it learned

    assert main(["export", str(run), str(out)]) == 0
    assert torch.equal(crvae.load(out).sample(3, seed=2), model.sample(3, seed=2))
    assert "toy (pooled latent)" in (out / "README.md").read_text()

    capsys.readouterr()
    options = ["--split", "train", "--images", "24", "--scores", "brightness,kl", "--json"]
    assert main(["evaluate", str(run), "--data", str(data), *options]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert 0 <= scores["brightness"]["value"] <= 255
    assert scores["kl"]["value"] > 0

    options = ["--images", str(data), "--count", "2", "--mask", "lower", "--steps", "3"]
    assert main(["complete", str(run), *options, "--out", str(tmp_path / "completed")]) == 0
    assert (tmp_path / "completed" / "completions.json").is_file()


def test_the_walk_names_files_that_exist():
    root = Path(__file__).parents[1]
    walk = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = walk[walk.index("## To add") : walk.index("## Rules")]
    for thing in ("prior", "discriminator", "latent construction", "source", "score", "trunk"):
        assert f"**a {thing}**" in section
    named = {part for part in section.replace("`", " ").split() if part.startswith(("src/", "tests/"))}
    assert len(named) > 8
    assert [part for part in named if not (root / part.rstrip(".,:;)")).exists()] == []
