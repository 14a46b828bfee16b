"""Scores against truth that was worked out in another way: closed forms, loops, toy clouds."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import binom

from crvae.evaluation.features import Compared
from crvae.evaluation.image_scores import fid, inception_score, kid, precision_and_recall
from crvae.evaluation.registry import SCORES
from crvae.evaluation.score import Score
from crvae.intervals import share

ABOUT = {"features": "toy", "features_sha256": "0" * 64, "resizer": "none"}


def exactly(n: int, mu: np.ndarray, covariance: np.ndarray, seed: int) -> torch.Tensor:
    """n points whose empirical mean and (unbiased) covariance are exactly these."""
    points = np.random.default_rng(seed).standard_normal((n, len(mu)))
    points -= points.mean(0)
    points = points @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(points.T))).T)
    return torch.from_numpy(points @ np.linalg.cholesky(covariance).T + mu)


def test_fid_of_gaussians_is_the_closed_form():
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((2, 5, 5))
    one, other = a @ a.T + np.eye(5), b @ b.T + np.eye(5)
    mu, nu = generator.standard_normal((2, 5))
    score = fid(exactly(100, mu, one, 1), exactly(100, nu, other, 2), seed=0, **ABOUT)
    expected = ((mu - nu) ** 2).sum() + np.trace(one + other - 2 * sqrtm(one @ other).real)
    assert score.value == pytest.approx(expected, rel=1e-6)


def test_fid_in_one_dimension():
    score = fid(
        exactly(50, np.array([1.0]), np.array([[4.0]]), 1),
        exactly(50, np.array([3.5]), np.array([[9.0]]), 2),
        0,
        **ABOUT,
    )
    assert score.value == pytest.approx(2.5**2 + (2 - 3) ** 2, rel=1e-6)
    assert score.low < score.value < score.high


def test_fid_of_few_images_in_many_dimensions_is_the_same_number():
    """Fewer images than dimensions are turned into the space that they span; padded with zeros, more of it is empty."""
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(30, 40, generator=generator), torch.randn(30, 40, generator=generator) + 1

    def wide(features):
        return torch.cat([features, torch.zeros(30, 60)], 1)

    turned = torch.linalg.qr(torch.randn(100, 100, generator=generator)).Q
    expected = fid(real, fake, 0, **ABOUT)  # 60 images, 40 dimensions: as they are
    found = fid(wide(real) @ turned, wide(fake) @ turned, 0, **ABOUT)
    assert found.value == pytest.approx(expected.value, rel=1e-3)
    assert found.high == pytest.approx(expected.high, rel=1e-2)


def test_kid_is_the_double_loop_over_pairs():
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(20, 3, generator=generator), torch.randn(20, 3, generator=generator) + 1

    def kernel(x, y):
        return (float(x @ y) / 3 + 1) ** 3

    def between(xs, ys, same):
        values = [kernel(x, y) for i, x in enumerate(xs) for j, y in enumerate(ys) if not (same and i == j)]
        return sum(values) / len(values)

    expected = between(real, real, True) + between(fake, fake, True) - 2 * between(real, fake, False)
    assert kid(real, fake, seed=0, **ABOUT).value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_kid_is_unbiased(shift):
    """The kernel's expectations under N(0, 1) and N(shift, 1) are polynomials of the moments."""
    m = shift
    within = 1 + 3 * m**2 + 3 * (1 + m**2) ** 2 + (m**3 + 3 * m) ** 2
    expected = 4 + within - 2 * (1 + 3 * (1 + m**2))
    generator = torch.Generator().manual_seed(1)
    values = torch.tensor(
        [
            kid(torch.randn(30, 1, generator=generator), torch.randn(30, 1, generator=generator) + m, 0, **ABOUT).value
            for _ in range(150)
        ]
    )
    assert abs(float(values.mean()) - expected) < 4 * float(values.std()) / math.sqrt(len(values))


def test_the_interval_of_kid_holds_zero_for_two_samples_of_one_distribution():
    """There the statistic's first-order variation vanishes: the hard case for a jackknife."""
    generator = torch.Generator().manual_seed(0)
    tries, missed = 100, 0
    for _ in range(tries):
        score = kid(torch.randn(30, 5, generator=generator), torch.randn(30, 5, generator=generator), 0, **ABOUT)
        missed += not score.low <= 0 <= score.high
    assert missed <= 5


def test_kid_averages_blocks_of_random_images():
    """Two clusters in order: blocks of neighbours would compare one cluster with the other."""
    real = torch.cat([torch.zeros(1001, 2), torch.ones(1001, 2) * 3])
    assert abs(kid(real, real.flip(0), seed=0, **ABOUT).value) < 0.5
    assert kid(real, torch.ones(2002, 2) * 3, seed=0, **ABOUT).value > 5


def test_inception_score_of_known_posteriors():
    sure = 100.0 * torch.eye(5).repeat(8, 1)
    assert inception_score(sure, 0, **ABOUT).value == pytest.approx(5)
    assert inception_score(torch.zeros(40, 5), 0, **ABOUT).value == pytest.approx(1)
    assert inception_score(sure[:1].repeat(40, 1), 0, **ABOUT).value == pytest.approx(1)
    p = 0.9
    logits = torch.tensor([[p, 1 - p], [1 - p, p]]).log().repeat(20, 1)
    expected = math.exp(p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5))
    assert inception_score(logits, 0, **ABOUT).value == pytest.approx(expected)


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    inception_score(torch.randn(40, 5, generator=torch.Generator().manual_seed(0)), 0, **ABOUT)
    assert torch.equal(torch.rand(1), expected)


def test_precision_and_recall_on_toy_clouds():
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(40, 2, generator=generator), torch.randn(40, 2, generator=generator) + 100
    real = torch.cat([left, right])
    same = precision_and_recall(real, real.clone(), 0, **ABOUT)
    assert (same["precision"].value, same["recall"].value) == (1, 1)
    far = precision_and_recall(real, real + 1000, 0, **ABOUT)
    assert (far["precision"].value, far["recall"].value) == (0, 0)
    dropped = precision_and_recall(real, torch.cat([left, left + 1e-3]), 0, **ABOUT)  # one of two modes
    assert dropped["precision"].value == 1
    assert dropped["recall"].value == 0.5
    for score in (same, far, dropped):
        assert all(0 <= part.low <= part.value <= part.high <= 1 for part in score.values())


@pytest.mark.parametrize(("near", "count"), [(0.0, 40), (0.02, 100), (0.2, 40), (0.9, 40)])
def test_the_interval_of_precision_holds_the_mean_of_many_draws(near, count):
    """A share `near` of the generated images is like the real ones, the others are far from them."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(80):
        real, fake = torch.randn(2, count, 4, generator=generator)
        far = torch.rand(count, generator=generator) >= near
        fake[far] += 5 * torch.randn(int(far.sum()), 4, generator=generator) + 40
        found.append(precision_and_recall(real, fake, 0, **ABOUT)["precision"])
    truth = sum(score.value for score in found) / len(found)
    missed = sum(not score.low <= truth <= score.high for score in found)
    assert missed <= binom.ppf(0.999, len(found), 0.05)
    assert all(0 <= score.low < score.high <= 1 for score in found)


def test_at_the_ends_of_the_scale_an_interval_is_wilsons():
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(40, 2, generator=generator)
    for fake, value in ((real + 1000, 0), (real / 1000, 1)):  # all far away, all in the middle
        score = precision_and_recall(real, fake, 0, **ABOUT)["precision"]
        expected = share(40 * value, 40)
        assert (score.value, score.low, score.high) == (value, expected["low"], expected["high"])
        assert score.interval == "jackknife of 10 groups, widened to hold Wilson's score"


def test_precision_is_a_share_of_generated_images_and_recall_of_real_ones():
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(200, 2, generator=generator), torch.randn(20, 2, generator=generator) + 1000
    found = precision_and_recall(real, fake, 0, **ABOUT)
    assert (found["precision"].high, found["recall"].high) == (share(0, 20)["high"], share(0, 200)["high"])


def test_a_score_as_json_has_no_number_that_json_lacks():
    score = Score(
        "a", math.nan, -math.inf, 1.0, "i", "lower", "u", "p", "1", 2, 0, details={"per_step": [math.nan, 1.0]}
    )
    found = score.json()
    assert (found["value"], found["low"], found["high"]) == (None, None, 1.0)
    assert found["details"] == {"per_step": [None, 1.0]}


def test_the_inception_score_tells_that_of_the_real_images_too():
    real, fake = 100.0 * torch.eye(5).repeat(8, 1), 100.0 * torch.eye(5)[:2].repeat(20, 1)
    evidence = SimpleNamespace(once=lambda _: Compared(real, fake, ABOUT), request=SimpleNamespace(seed=0))
    score = SCORES["is"].compute(evidence)["is"]  # type: ignore[arg-type]
    assert score.value == pytest.approx(2)
    assert score.details["of_real_images"] == pytest.approx(5)


def test_kid_compares_blocks_of_at_most_so_many_images(monkeypatch):
    sizes = []
    monkeypatch.setattr("crvae.evaluation.image_scores.BLOCK", 10)
    monkeypatch.setattr("torchmetrics.image.kid.poly_mmd", lambda a, b: sizes.append(len(a)) or torch.zeros(()))
    kid(torch.zeros(25, 2), torch.zeros(25, 2), 0, **ABOUT)
    assert sizes[:3] == [9, 9, 7]
    assert max(sizes) <= 10


def test_precision_and_recall_are_the_double_loop_over_third_neighbours():
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(30, 2, generator=generator), torch.randn(30, 2, generator=generator) + 1.5

    def covered(points, references) -> float:
        radii = [sorted(math.dist(a, b) for b in references.tolist())[3] for a in references.tolist()]  # 0: itself
        near = [
            any(math.dist(p, r) <= radius for r, radius in zip(references.tolist(), radii, strict=True))
            for p in points.tolist()
        ]
        return sum(near) / len(near)

    found = precision_and_recall(real, fake, 0, **ABOUT)
    assert 0 < covered(fake, real) < 1
    assert found["precision"].value == pytest.approx(covered(fake, real))
    assert found["recall"].value == pytest.approx(covered(real, fake))
