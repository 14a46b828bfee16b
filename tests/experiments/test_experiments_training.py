"""When a run is finished: after its prior, where it has one; a plan stopped before that goes on with it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from crvae.cli import main
from crvae.data import open_data
from crvae.errors import UserError
from crvae.training.classifier import Classifier, ClassifierConfig, save
from crvae.training.loop import Interrupted
from crvae.training.prior_stage import PriorStage
from experiments import training
from experiments.plan import Plan
from experiments.training import finished

PRIOR = ["--prior.kind", "flow", "--prior.flow.width", "8", "--prior.images", "70", "--prior.batch", "32"]
"""70 latents are three batches: 96."""


@pytest.mark.parametrize("same", [True, False])
def test_the_kept_classifier_is_taken_for_the_very_images_that_it_knows(colour, tmp_path, monkeypatch, same):
    """Another folder of the same name has another classifier trained: both would call their scores alike."""
    monkeypatch.setattr(training, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(training, "RUNS", tmp_path / "runs")
    trained_on = open_data(colour).fingerprint if same else "0" * 64
    config = ClassifierConfig(backbone="small", attributes={"label": ["a", "b"]}, data=trained_on)
    save(tmp_path / "kept" / colour.name, Classifier(config), {})
    asked = []
    monkeypatch.setattr(training.Piece, "run", lambda _, *words, threads: asked.append(words))
    plan = Plan("t", str(colour), {"cpu": 1}, (), "is")
    found = training.classifier(training.Piece(0), plan)
    kept, new = tmp_path / "kept" / colour.name, tmp_path / "runs" / f"classifier-{colour.name}"
    assert found == ("--classifier", str(kept if same else new))
    assert [words[0] for words in asked] == ([] if same else ["classifier"])


def test_a_classifier_that_two_runs_wait_for_is_trained_once(colour, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(training, "RUNS", tmp_path / "runs")
    asked = []

    def train(_, *words, threads):
        asked.append(words)
        time.sleep(0.2)
        (tmp_path / "runs" / f"classifier-{colour.name}").mkdir(parents=True)

    monkeypatch.setattr(training.Piece, "run", train)
    plan = Plan("t", str(colour), {"cpu": 1}, (), "is")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: training.classifier(training.Piece(0), plan), range(4)))
    assert len(asked) == 1
    assert len(set(found)) == 1


def stopped(*_, **__):
    raise Interrupted(15)


def test_a_run_without_a_prior_is_finished_with_its_autoencoder(trained):
    assert finished(trained)


def test_an_autoencoder_that_is_not_trained_to_its_end_is_unfinished(colour, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("crvae.training.loop.Training.publish", stopped)
    assert main(["train", "emoji-vae", "--data", str(colour), "--out", str(tmp_path / "run"), *tiny]) == 143
    assert not finished(tmp_path / "run")


def test_a_plan_that_was_stopped_in_the_priors_phase_goes_on_with_it(colour, tiny, tmp_path, monkeypatch):
    run, words = tmp_path / "run", ["emoji-vae", "--data", str(colour), *tiny, *PRIOR]
    with monkeypatch.context() as patch:
        patch.setattr(
            PriorStage, "publish", stopped
        )  # every line of metrics.jsonl is there, the published prior is not
        assert main(["train", *words, "--out", str(run)]) == 143
    prior = lambda: json.loads((run / "model" / "config.json").read_text())["prior"]["kind"]  # noqa: E731
    assert (prior(), finished(run)) == ("normal", False)

    calls = []
    monkeypatch.setattr(training.Piece, "run", lambda self, *said: calls.append(said) or main(list(said)))
    assert list(run.glob("*/*/state.pt"))
    training.finish(training.Piece(0), run, 0, *words)
    assert calls == [("train", "--resume", str(run))]
    assert (prior(), finished(run)) == ("flow", True)
    assert not list(run.glob("*/*/state.pt")), "its weights are kept, its training states are not"
    training.finish(training.Piece(0), run, 0, *words)
    assert len(calls) == 1, "a finished run is left alone"


def test_what_is_no_run_is_said(tmp_path):
    (tmp_path / "config.yaml").write_text("format: 1\nstage: 7\n")
    with pytest.raises(UserError, match="stage"):
        finished(tmp_path)
