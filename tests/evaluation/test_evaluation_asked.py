"""What is known before anything is scored: scores that lack images, missing networks, what a file says of a model."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import crvae
from crvae.cli import main
from crvae.errors import UserError
from crvae.evaluation import comparison
from crvae.evaluation.generated import open_subject

SOME = ["--split", "train", "--images", "24"]


def test_scores_that_need_more_images_are_left_out_by_default_and_named(trained, colour, tmp_path, capsys):
    """The validation split of `colour` is tiny."""
    assert main(["evaluate", str(trained), "--data", str(colour), "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert set(found["scores"]) == {"mse", "psnr", "lpips", "kl", "active_units"}
    assert found["left_out"] == ["kid", "fid", "prdc"]
    few = f"as there are only {found['images']} images: kid (needs 20), fid (needs 20), prdc (needs 20)"
    assert f"crvae: left out, {few}\n" in said.err
    assert main(["evaluate", str(trained), "--data", str(colour), "--scores", "kl"]) == 0
    assert "left out" not in capsys.readouterr().err
    scores = crvae.evaluate(trained, colour, classifier="nowhere")
    assert "left out, as there are only" in capsys.readouterr().err
    assert "is (needs 20)" in scores.left_out


def test_a_model_that_was_loaded_with_another_prior_is_scored_under_that_name(trained, colour):
    options = {"scores": "kl", "split": "train", "images": 24}
    for word in ("own", "normal"):
        assert crvae.evaluate(crvae.load(trained, prior=word), colour, **options).json()["prior"] == word
        assert crvae.evaluate(trained, colour, prior=word, **options).json()["prior"] == word


def test_compare_asks_for_its_networks_before_it_measures(trained, colour, tmp_path, capsys, monkeypatch):
    def missing(*_):
        raise UserError("no such network here")

    monkeypatch.setattr(comparison, "cost", lambda *_, **__: pytest.fail("measured"))
    words = ["compare", str(trained), "--data", str(colour), *SOME, "--out", str(tmp_path / "report"), "--scores"]
    assert main([*words, "kid", "--features", "classifier"]) == 2
    assert "--features classifier needs --classifier" in capsys.readouterr().err
    assert main([*words, "is", "--classifier", str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err
    monkeypatch.setattr("crvae.evaluation.features.feature_extractor", missing)
    for scores in ("kid", "kl,prdc"):
        assert main([*words, scores]) == 2
        assert "no such network here" in capsys.readouterr().err
    monkeypatch.setattr("crvae.evaluation.features.PerceptualDistance", missing)
    assert main([*words, "reconstruction"]) == 2
    assert "no such network here" in capsys.readouterr().err
    monkeypatch.setattr(comparison, "PerceptualDistance", missing)
    assert main([*words, "kl"]) == 2  # the run has snapshots
    assert "no such network here" in capsys.readouterr().err


@pytest.mark.parametrize(("written", "seen"), [(160, 160), ("many", 0), (None, 0), ([1], 0)])
def test_what_a_configuration_says_of_its_images_is_a_number_or_nothing(written, seen, trained, tmp_path):
    model = shutil.copytree(trained / "model", tmp_path / "model")
    body = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(body | {"images": written}))
    about = comparison._about("model", open_subject(str(model), torch.device("cpu")))
    assert (about.images_seen, about.size) == (seen, 32)
