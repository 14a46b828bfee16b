"""Intervals: closed forms worked out in another way, and how often they hold the truth."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from scipy.stats import binom

from crvae.errors import UserError
from crvae.intervals import jackknife, mean, share, widened


def test_a_mean_has_the_interval_of_students_t():
    found = mean(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert found["value"] == 2.5
    from_the_table = 3.182446  # 0.975, 3 degrees
    assert found["high"] - found["value"] == pytest.approx(from_the_table * math.sqrt(5 / 3) / 2)
    assert found["value"] - found["low"] == pytest.approx(found["high"] - found["value"])


def test_a_single_value_says_nothing_of_how_it_varies():
    found = mean(torch.tensor([3.0]))
    assert (found["value"], found["low"], found["high"]) == (3.0, -math.inf, math.inf)


@pytest.mark.parametrize(("hits", "of"), [(0, 20), (7, 20), (20, 20), (1, 1), (1900, 2000)])
def test_a_share_has_wilsons_interval(hits, of):
    z, p = 1.959964, hits / of
    centre, half = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    found = share(hits, of)
    assert found["value"] == p
    assert found["low"] == pytest.approx((centre - half) / (1 + z * z / of), abs=1e-6)
    assert found["high"] == pytest.approx((centre + half) / (1 + z * z / of), abs=1e-6)


def test_a_widened_interval_holds_both():
    (found,) = jackknife(lambda part: (float(part.mean()),), torch.zeros(20, 1))
    assert found["low"] == found["high"] == 0  # no group changes it
    wide = widened(found, share(1, 20))
    assert (wide["value"], wide["low"], wide["high"]) == (0, 0, share(1, 20)["high"])
    assert wide["interval"] == "jackknife of 10 groups, widened to hold Wilson's score"
    assert widened(share(1, 20), found)["low"] == 0


@pytest.mark.parametrize("method", ["jackknife", "mean"])
def test_intervals_hold_the_truth_about_95_times_in_100(method):
    generator = torch.Generator().manual_seed(0)
    hits, tries = 0, 300
    for _ in range(tries):
        sample = torch.randn(60, 1, generator=generator).exp()  # skewed
        if method == "mean":
            found = mean(sample.flatten())
        else:
            (found,) = jackknife(lambda part: (float(part.log().var()),), sample)  # a variance: 1
        truth = math.exp(0.5) if method == "mean" else 1.0
        hits += found["low"] <= truth <= found["high"]
    assert binom.ppf(0.0001, tries, 0.87) <= hits <= tries


@pytest.mark.parametrize("call", [lambda: mean(torch.ones(3)), lambda: share(1, 2)])
def test_without_scipy_one_sentence_says_what_to_install(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UserError, match=r"crvae\[eval\]"):
        call()


def test_the_jackknife_of_a_mean_is_students_t_over_the_means_of_its_groups():
    """Of equally large groups the two are one: 2.262157 is the table's for 9 degrees of freedom."""
    sample = torch.randn(60, 1, generator=torch.Generator().manual_seed(0)).double()
    (found,) = jackknife(lambda part: (float(part.mean()),), sample)
    groups = torch.stack([sample[group::10].mean() for group in range(10)])
    half = 2.262157 * float(groups.std()) / math.sqrt(10)
    assert found["value"] == pytest.approx(float(sample.mean()))
    assert found["high"] - found["value"] == pytest.approx(half, rel=1e-5)
    assert found["value"] - found["low"] == pytest.approx(half, rel=1e-5)
