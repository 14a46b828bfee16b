"""The verdicts of docs/evidence.md: one rule, and pages that say what the results say."""

from __future__ import annotations

import json

import pytest
from scipy import stats

from experiments import verdicts
from experiments.compared import Table
from experiments.comparisons import PAGES, completions, filled, written
from experiments.verdicts import Comparison, verdict, with_interval


@pytest.mark.parametrize(
    ("ours", "theirs", "score", "expected"),
    [
        ([3.0, 3.1, 3.2], [1.0, 1.2, 1.1], "is", "**yes**"),
        ([3.0, 3.1, 3.2], [1.0, 1.2, 1.1], "kid", "**no**"),
        ([1.0, 1.2, 1.1], [3.0, 3.1, 3.2], "kid", "**yes**"),
        ([1.1, 1.1, 3.0], [1.0, 1.0, 1.0], "is", "rather yes"),
        ([1.1, 1.1, 3.0], [1.0, 1.0, 1.0], "lpips", "rather no"),
        ([1.1, 0.9, 3.0], [1.0, 1.0, 1.0], "is", "not shown"),
        ([1.1, 1.0, 3.0], [1.0, 1.0, 1.0], "is", "not shown"),  # one seed says nothing
        ([1.01, 1.02, 1.01], [1.0, 1.0, 1.0], "is", "not shown"),  # sure, but small
        ([1.1, 3.0], [1.0, 1.0], "is", "not shown"),  # two seeds agree in every second case by chance
    ],
)
def test_a_verdict_is_of_the_differences_seed_by_seed(ours, theirs, score, expected):
    assert verdict(ours, theirs, score) == expected


def test_a_verdict_agrees_with_the_paired_t_test():
    ours, theirs = [1.00, 1.30, 1.12], [1.45, 1.52, 1.60]
    sure = stats.ttest_rel(ours, theirs).pvalue < 0.05
    assert (verdict(ours, theirs, "kid") == "**yes**") == sure


def test_seeds_are_matched_by_their_numbers_whatever_order_a_table_lists_them_in(tmp_path, monkeypatch):
    monkeypatch.setattr(verdicts, "RESULTS", tmp_path)
    for name, seeds, scores in (("a", [0, 1, 2], [1.0, 2.0, 3.0]), ("b", [2, 1, 0], [2.5, 1.5, 0.5])):
        (tmp_path / name).mkdir()
        kept = {"seeds": seeds, "scores": {"row": {"N(0, I)": [{"is": {"value": value}} for value in scores]}}}
        (tmp_path / name / "scores.json").write_text(json.dumps(kept))
    table = Table({"is": "inception score"}, [Comparison("faces", "N(0, I)", ("a", "row"), ("b", "row"))])
    assert "| **yes** |" in written(table)  # 0.5 with each seed; by place it would be -1.5, 0.5 and 2.5


def test_scores_of_two_networks_are_not_compared(tmp_path, monkeypatch):
    """Two trainings of one classifier differ as much as two models do."""
    monkeypatch.setattr(verdicts, "RESULTS", tmp_path)
    for name, network in (("a", "1" * 64), ("b", "2" * 64)):
        (tmp_path / name).mkdir()
        scores = [{"is": {"value": value, "features_sha256": network}} for value in (1.0, 2.0, 3.0)]
        kept = {"seeds": [0, 1, 2], "scores": {"row": {"N(0, I)": scores}}}
        (tmp_path / name / "scores.json").write_text(json.dumps(kept))
    table = Table({"is": "inception score"}, [Comparison("faces", "N(0, I)", ("a", "row"), ("b", "row"))])
    with pytest.raises(ValueError, match="is of faces is of 2 networks"):
        written(table)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.621, 1.652, 1.583], "1.62 (1.53 to 1.70)"),
        ([0.0332, 0.0325, 0.0338], "0.0332 (0.0316 to 0.0348)"),
        ([12.0, 11.4, 12.6], "12.0 (10.5 to 13.5)"),
        ([0.0, 0.0, 0.0], "0.00 (0.00 to 0.00)"),
        ([2.83, 8.06, 2.86], "2.83, 8.06, 2.86"),  # an interval from -2.9 on would say less
    ],
)
def test_a_value_is_written_with_its_interval(values, expected):
    assert with_interval(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.621, 1.652, 1.583], "1.62 ± 0.09"),
        ([0.0332, 0.0325, 0.0338], "0.0332 ± 0.0016"),
        ([6.0, 6.2, 5.8], "6.0 ± 0.5"),
        ([0.0, 0.0, 0.0], "0.00 ± 0.00"),
    ],
)
def test_a_short_interval_is_half_of_the_long_one(values, expected):
    assert with_interval(values, short=True).replace("\u00a0", " ") == expected


def test_preferences_are_means_over_masks():
    line = next(line for line in completions().splitlines() if line.startswith("| emoji |"))
    assert line == "| emoji | 66% (58 to 75) | 67% (59 to 75) | 49% (45 to 53) | 50% (41 to 59) | 58% |"


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_a_page_says_what_the_results_say(path):
    page = path.read_text()
    assert filled(page, PAGES[path]) == page, "run python -m experiments.comparisons"


def test_a_page_without_a_place_for_a_table_is_refused():
    with pytest.raises(SystemExit, match="no place for the table dense"):
        filled("# Evidence\n", {"dense": lambda: ""})
