"""The registry of scores: what it tells is what is computed, and a score from elsewhere needs no more than its function."""

from __future__ import annotations

import json

import pytest

import crvae.cli.evaluate
from crvae.cli import main
from crvae.errors import UserError
from crvae.evaluation import comparison
from crvae.evaluation.evaluate import evaluate
from crvae.evaluation.registry import GENERATED, SCORES, STAGE1, Need, Request, in_order, score
from reference import toys

SOME = ["--split", "train", "--images", "24"]


@pytest.fixture(autouse=True)
def restored():
    """What a test registers is gone after it."""
    before = SCORES.copy()
    yield
    SCORES.clear()
    SCORES.update(before)


@pytest.fixture
def brightness():
    """A toy score, registered from here."""
    score("brightness", needs=(GENERATED,), gives={"brightness": toys.GREY})(toys.brightness)


def test_a_score_from_elsewhere_is_computed_compared_and_documented(brightness, trained, colour, tmp_path, capsys):
    options = ["--data", str(colour), *SOME, "--scores", "brightness,kl"]
    assert main(["evaluate", str(trained), *options, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert list(scores) == ["brightness", "kl", "active_units"]
    assert 0 <= scores["brightness"]["low"] <= scores["brightness"]["value"] <= 255

    assert main(["compare", str(trained), *options, "--out", str(tmp_path / "report")]) == 0
    assert "| brightness, of 255 |" in (tmp_path / "report" / "report.md").read_text()

    described = crvae.cli.evaluate._scores()
    assert "brightness: how bright the images are; " in described
    assert "leaves out" not in described


def test_what_is_computed_is_what_was_registered(trained, colour):
    """Keys and directions; units too, but for those that count."""
    asked = tuple(name for name in SCORES if name != "is")
    request = Request(str(colour), asked, split="train", images=24, samples=2)
    found = evaluate(str(trained), request)["scores"]
    registered = {key: measure for name in asked for key, measure in SCORES[name].gives.items()}
    assert set(found) == set(registered)
    for key, measure in registered.items():
        assert found[key].better == measure.better
        assert found[key].unit == measure.unit or found[key].unit.startswith("of "), key


def test_keys_belong_to_one_score():
    keys = [key for kind in SCORES.values() for key in kind.gives]
    assert len(keys) == len(set(keys))
    assert {kind.name for kind in in_order()} == set(SCORES)
    assert all(
        measure.better in ("higher", "lower", "neither") for k in SCORES.values() for measure in k.gives.values()
    )


def test_what_takes_long_is_left_out_and_images_come_first():
    names = [kind.name for kind in in_order()]
    assert names[-2:] == ["elbo", "nll"]
    assert names.index("is") < names.index("reconstruction")
    assert [kind.name for kind in SCORES.values() if kind.long] == ["elbo", "nll"]


def test_a_need_is_told_in_words_and_bounds_the_images(brightness, trained, colour, capsys):
    nothing = Need(lambda request, subject: "" if request.seed else "a seed: give one", least=30)

    @score("seeded", needs=(STAGE1, nothing), gives={})
    def compute(evidence):
        """nothing"""
        return {}

    options = ["--data", str(colour), *SOME, "--scores", "seeded"]
    assert main(["evaluate", str(trained), *options]) == 2
    assert "--scores seeded needs a seed: give one" in capsys.readouterr().err
    assert main(["evaluate", str(trained), *options, "--seed", "1"]) == 2
    assert "at least 30" in capsys.readouterr().err


def test_what_is_compared_is_counted_once_and_the_smallest_is_named(trained, colour, tmp_path, capsys, monkeypatch):
    """A score of the runs alone may need more images than the smallest folder has, in which that score is not computed."""
    few = tmp_path / "few"
    assert main(["sample", str(trained), "--count", "20", "--out", str(few)]) == 0
    counted, count = [], comparison.asked

    def counting(subjects, request):
        found = count(subjects, request)
        counted.append(([subject.name for subject in subjects], found.count, found.left_out))
        return found

    def stop(*_, **__):
        raise UserError("all that is asked for is known")

    monkeypatch.setattr(comparison, "asked", counting)
    monkeypatch.setattr(comparison, "cost", stop)
    score("wide", needs=(STAGE1, Need(lambda request, subject: "", least=30)), gives={})(toys.brightness)
    options = ["--data", str(colour), "--split", "train", "--out", str(tmp_path / "report")]
    for runs in ([str(few), str(trained)], [str(trained), str(few)]):
        capsys.readouterr()
        assert main(["compare", *runs, *options]) == 2
        assert "all that is asked for is known" in capsys.readouterr().err
    assert counted == [([str(few), str(trained)], 20, ["wide"]), (runs, 20, ["wide"])]
    assert main(["compare", *runs, *options, "--scores", "kid", "--images", "19"]) == 2
    assert "kid needs at least 20: leave it out of --scores" in capsys.readouterr().err
    assert main(["compare", *runs, *options, "--images", "21"]) == 2
    assert f"crvae: --images 21: {few} has only 20 images" in capsys.readouterr().err


def test_what_two_scores_share_is_made_once(trained, colour, monkeypatch):
    calls = []
    from crvae.evaluation import likelihood

    monkeypatch.setattr(likelihood, "likelihood_scores", lambda *a, **k: calls.append(1) or {"elbo": 1, "nll": 2})
    request = Request(str(colour), ("nll", "elbo"), split="train", images=24)
    assert evaluate(str(trained), request)["scores"] == {"elbo": 1, "nll": 2}
    assert calls == [1]
