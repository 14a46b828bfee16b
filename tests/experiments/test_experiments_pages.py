"""The tables of the experiments' pages: which number stands in which cell, worked out by hand from made-up results."""

from __future__ import annotations

import pytest
import torch

from experiments import completion, order, views


def cells(lines: list[str], *first: str) -> list[str]:
    """The last cells of the row that begins with these."""
    start = f"| {' | '.join(first)} | "
    (row,) = [line for line in lines if line.startswith(start)]
    return row.removeprefix(start).removesuffix(" |").split(" | ")


def test_several_seeds_have_an_interval_and_one_has_none():
    assert views.over_seeds([1.0, 2.0, 3.0]) == "2 (-0.484 to 4.48)"  # 4.302653 / sqrt(3) to each side
    assert views.over_seeds([0.12345]) == "0.123"


def test_scores_stand_under_their_model_and_beside_their_view():
    def score(name: str, value: float) -> dict:
        return {"name": name, "value": value, "details": {"of_real_images": 9.5}}

    def seed(value: float) -> dict:
        return {"kid": score("KID", value), "is": score("IS", value + 1)}

    scores = {
        "dense": {"own prior": [seed(1.0)], "N(0, I)": [seed(2.0)]},
        "recurrent": {"own prior": [seed(3.0)], "N(0, I)": [seed(4.0)]},
    }
    lines = views.score_table(scores)
    assert "| samples from | score | dense | recurrent |" in lines
    assert cells(lines, "own prior", "KID") == ["1", "3"]
    assert cells(lines, "N(0, I)", "KID") == ["2", "4"]
    assert cells(lines, "N(0, I)", "IS") == ["3", "5"]
    assert "Inception score of the held-out images themselves: 9.5." in lines


def test_attributes_are_told_beyond_chance():
    known = {"chance": 0.5, "first": [{"value": v} for v in (0.6, 0.75, 0.8, 1.0)]}
    known["block"] = [{"value": v} for v in (0.6, 0.9, 0.55, 0.5)]
    found = {"dense": [{"known": {"hair": known}, "decided": {"hair": {"lead": {"value": 0.25}}}}]}
    lines = views.attribute_table(found)
    measures = ("all blocks", "first two", "best block", "lead over the second")
    assert [cells(lines, "hair", measure) for measure in measures] == [["1"], ["0.5"], ["0.8"], ["0.25"]]


def test_rates_and_profiles_tell_each_block_of_each_model():
    rates = {
        name: [[{"blocks": t, "nats": {"mean": value + t}, "bytes": {"mean": 10.0 * value + t}} for t in (0, 1)]]
        for name, value in (("dense", 1.0), ("recurrent", 5.0))
    }
    lines = order.rate_table(rates)
    assert cells(lines, "nats", "1") == ["2", "6"]
    assert cells(lines, "bytes", "0") == ["10", "50"]
    resampled = {
        "change": [{"mean": 0.5}, {"mean": 0.25}],
        "bands": [[{"mean": 3.0}, {"mean": 1.0}], [{"mean": 0.0}, {"mean": 2.0}]],
    }
    lines = order.profile_table({"dense": [{"steps": 2, "kl": [7.0, 8.0], "resampled": resampled}]})
    for measure, first, second in (
        ("nats", "7", "8"),
        ("change, mean squared", "0.5", "0.25"),
        ("coarse share", "0.75", "0"),
    ):
        assert (cells(lines, measure, "1"), cells(lines, measure, "2")) == ([first], [second])


def test_a_preference_counts_ties_half():
    ours, theirs = torch.tensor([1.0, 2.0, 3.0, 5.0]), torch.tensor([1.0, 2.0, 4.0, 1.0])
    found = completion.preferred(ours, theirs)
    assert (found["share"], found["decided"]) == (0.5, 2)
    half = 3.182446 * torch.tensor([0.5, 0.5, 0.0, 1.0]).std().item() / 2
    assert found["high"] - found["share"] == pytest.approx(half, rel=1e-5)
    assert completion.preferred(ours + 9, theirs)["share"] == 1
