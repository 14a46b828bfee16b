"""A run with a prior that lost files, and Ctrl-C while one prior takes another's place: what is said helps."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

import crvae
from crvae.cli import main
from crvae.training import resuming
from reference.same import assert_same_end

PRIOR = ["--prior.flow.width", "8", "--prior.batch", "16", "--prior.images", "64", "--prior.checkpoint-images", "32"]
OTHER = ["--prior.kind", "autoregressive", "--prior.autoregressive.width", "4"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, trained) -> Path:
    run = tmp_path_factory.mktemp("prior") / "whole"
    shutil.copytree(trained, run)
    assert main(["prior", str(run), *PRIOR]) == 0
    return run


def test_a_finished_run_without_its_model_is_published_again(tmp_path, whole):
    """All of its checkpoints are there, the prior's too."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "model")
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_end(whole, run)
    for file in sorted((whole / "model").iterdir()):
        assert (run / "model" / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_prior_whose_checkpoints_are_all_damaged_names_the_remedy(tmp_path, whole, capsys):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for state in (run / "prior").glob("*/state.pt"):
        state.write_bytes(b"")
    assert main(["train", "--resume", str(run)]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith(f"remove {run}/prior, then run: crvae train --resume {run}")
    assert "holds no whole checkpoint" in said
    shutil.rmtree(run / "prior")
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_end(whole, run)


@pytest.mark.parametrize(
    ("moment", "advice"),
    [
        ("open_data", "the same command can be typed again"),
        ("forget_prior", "the same command can be typed again"),
        ("Run.configure", "the same command can be typed again"),
        ("has_prior_stage", "crvae train --resume"),
        ("prior_training", "crvae train --resume"),
    ],
)
def test_ctrl_c_advises_what_ends_with_the_new_prior(tmp_path, whole, monkeypatch, capsys, moment, advice):
    """Until the configuration holds the new prior, `crvae train --resume` would end with the old one."""
    run, again = tmp_path / "run", ["prior", str(tmp_path / "run"), *PRIOR, *OTHER]
    shutil.copytree(whole, run)

    def stop(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        owner, name = (resuming.Run, "configure") if "." in moment else (resuming, moment)
        if moment == "has_prior_stage":  # `check` asks it too, before
            patch.setattr(resuming, "check", lambda *_, **__: None)
        patch.setattr(owner, name, stop)
        assert main(again) == 130
    said = capsys.readouterr().err
    assert advice in said
    assert len([word for word in ("typed again", "--resume") if word in said]) == 1
    assert main(["train", "--resume", str(run)] if "--resume" in advice else again) == 0
    assert crvae.load(run).prior.config.kind == "autoregressive"
