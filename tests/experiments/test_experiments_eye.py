"""The pairs that are rated by eye: both sides are what the key says, blindly; agreement is counted as by hand."""

from __future__ import annotations

import json

import pytest
import torch

from crvae.config.stage1 import ModelConfig
from crvae.models import Autoencoder
from crvae.storage.models import save
from experiments import eye

KEY = {"kinds": [["a", "own"], ["a", "normal"], [eye.REAL, "own"]], "pairs": [[0, 1], [2, 0], [1, 2], [0, 2]]}


@pytest.fixture
def rated(tmp_path):
    (tmp_path / "key.json").write_text(json.dumps(KEY))
    found = [{"good": value, "bad": -value} for value in (1.0, 0.0, 2.0)]
    (tmp_path / "scores.json").write_text(json.dumps(found))
    return tmp_path


def test_a_score_agrees_where_the_better_model_was_chosen(rated):
    (rated / "ratings.txt").write_text("0 left\n1 left\n2 right\n3 same\n")
    table = eye.agreement(rated)
    assert (table["rated"], table["told_apart"]) == (4, 3)
    assert (table["scores"]["good"]["value"], table["scores"]["bad"]["value"]) == (1, 0)
    (rated / "ratings.txt").write_text("0 right\n3 right\n")
    assert eye.agreement(rated)["scores"]["good"]["value"] == 0.5


def test_equal_scores_agree_by_half_whichever_side_was_chosen(rated):
    (rated / "scores.json").write_text(json.dumps([{"flat": 0.0}, {"flat": 0.0}, {"flat": 1.0}]))
    for side, value in (("left", 0.5), ("right", 0.5)):
        (rated / "ratings.txt").write_text(f"0 {side}\n")
        found = eye.agreement(rated)["scores"]["flat"]
        assert (found["value"], found["ties"]) == (value, 1)


def test_hard_pairs_are_of_two_models_with_the_same_prior(rated):
    key = {"kinds": [*KEY["kinds"], ["b", "own"], ["b", "normal"]], "pairs": [[0, 3], [1, 4], [0, 2], [0, 1], [3, 4]]}
    (rated / "key.json").write_text(json.dumps(key))
    (rated / "scores.json").write_text(json.dumps([{"good": value} for value in (1.0, 0.0, 2.0, 3.0, 0.5)]))
    (rated / "ratings.txt").write_text("0 right\n1 left\n2 right\n3 left\n4 left\n")
    assert eye.agreement(rated)["scores"]["good"]["hard"] == {"both clear": 1, "both from N(0, I)": 0}


def test_pairs_that_share_a_kind_are_not_independent():
    """Ten pairs of the same two kinds say no more than one: beside another pair of the same size, the interval is wide."""
    pairs = [[0, 1]] * 10 + [[2, 3]] * 10
    found = eye._share(torch.tensor([True] * 10 + [False] * 10), pairs, kinds=4)
    assert (found["low"], found["value"], found["high"]) == (0, 0.5, 1)


def test_another_word_is_refused(rated):
    (rated / "ratings.txt").write_text("0 left\n1 better\n")
    with pytest.raises(SystemExit, match="1 better"):
        eye.agreement(rated)


def test_sheets_hold_every_pair_and_the_key_names_both_sides(monkeypatch, tmp_path, colour):
    monkeypatch.setattr(eye, "PAIRS", 5)
    monkeypatch.setattr(eye, "ON_A_SHEET", 3)
    torch.manual_seed(0)
    model = Autoencoder(ModelConfig(latent="recurrent", size=32, width=1, latent_channels=8, steps=4, residual=True))
    save(tmp_path / "model", model.eval(), recipe="test", images=1)
    eye.pairs([str(tmp_path / "model")], str(colour), tmp_path / "eye")
    key = json.loads((tmp_path / "eye" / "key.json").read_text())
    assert key["kinds"] == [[str(tmp_path / "model"), "own"], [str(tmp_path / "model"), "normal"], [eye.REAL, "own"]]
    assert len(key["pairs"]) == 5
    assert all(left != right for left, right in key["pairs"])
    assert sorted(path.name for path in (tmp_path / "eye").glob("*.png")) == ["sheet-000.png", "sheet-003.png"]
