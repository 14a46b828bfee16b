"""A report grows by a seed whose runs alone are at hand; what cannot stand beside it is refused, and leaves it as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from crvae.training.classifier import Classifier, ClassifierConfig, load_classifier, save
from experiments import classifiers, results, training, views
from experiments.growing import Kept, kept
from experiments.plan import Plan, Row

VIEW = "N(0, I)"
PLAN = Plan("a small one", "data/x", {"cpu": 160}, (Row("dense", "a"), Row("recurrent", "b")), "is", views={VIEW: ()})


@pytest.fixture
def measured(monkeypatch, tmp_path) -> dict[str, str]:
    """Runs that say their seed; `judge`, `images` and `option` are those of the next ones."""
    at_hand = {"judge": "one", "images": "443", "option": ""}

    def scored(piece, plan, run: Path, view: str) -> dict:
        kid = {"name": "KID", "value": float(run.name[-1]) + 10 * (run.name[0] == "r")}
        return {"kid": kid | {"features_sha256": at_hand["judge"], "images": int(at_hand["images"])}}

    def sampled(piece, run: Path, prior: str) -> Path:
        out = tmp_path / f"{run.name}.png"
        Image.new("L", (8, 8), int(run.name[-1])).save(out)
        return out

    def provenance(runs) -> list[dict]:
        return [
            {"command": f"crvae train {run.name[:-1]} {at_hand['option']}--train.seed {run.name[-1]}"} for run in runs
        ]

    monkeypatch.setattr(training, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(views, "scored", scored)
    monkeypatch.setattr(views, "sampled", sampled)
    monkeypatch.setattr(results, "provenance", provenance)
    return at_hand


def made(seeds: list[int], before: Kept) -> None:
    runs = {(row.name, seed): Path(f"{row.name}-{seed}") for seed in seeds for row in PLAN.rows}
    views.report(PLAN, "small", "cpu", seeds, training.Piece(0), runs, before)


def test_a_seed_is_added_to_those_whose_runs_are_gone(measured, tmp_path):
    made([0, 2], Kept())
    made([1], kept("small", [1], PLAN))
    out = tmp_path / "results" / "small"
    found = json.loads((out / "scores.json").read_text())
    assert found["seeds"] == [0, 2, 1]
    assert [seed["kid"]["value"] for seed in found["scores"]["recurrent"][VIEW]] == [10, 12, 11]
    report = (out / "report.md").read_text()
    assert "Seeds: 0, 2, 1." in report
    assert f"| {VIEW} | KID | 1 (-1.48 to 3.48) | 11 (8.52 to 13.5) |" in report
    commands = [run["command"] for run in json.loads((out / "provenance.json").read_text())["runs"]]
    assert [command[-1] for command in commands] == list("002211")
    with Image.open(out / "dense.png") as picture:
        assert picture.getpixel((0, 0)) == 0, "of the first seed"


@pytest.mark.parametrize(
    ("change", "seeds", "says"),
    [
        ({}, [0], "has seed 0 already"),
        ({"judge": "another"}, [1], "other rows, views, classifiers"),
        ({"images": "1000"}, [1], "numbers of images"),
        ({"option": "--model.width 8 "}, [1], "other options"),
    ],
)
def test_what_cannot_stand_beside_a_report_leaves_it_as_it_was(measured, tmp_path, change, seeds, says):
    made([0], Kept())
    before = {path.name: path.read_bytes() for path in (tmp_path / "results" / "small").iterdir()}
    measured |= change
    with pytest.raises(SystemExit, match=says):
        made(seeds, kept("small", seeds, PLAN))
    assert {path.name: path.read_bytes() for path in (tmp_path / "results" / "small").iterdir()} == before


def test_only_a_report_of_seeds_grows(measured):
    with pytest.raises(SystemExit, match="leave --add out"):
        kept("small", [1], PLAN)


def test_a_classifier_is_kept_as_small_as_its_report_says(measured, monkeypatch, tmp_path):
    """Rounded weights, read back as they were tested."""
    monkeypatch.setattr(training, "KEPT", tmp_path / "kept")
    config = ClassifierConfig(backbone="small", attributes={"label": ["a", "b"]})
    save(training.RUNS / "classifier-colour", Classifier(config), {})
    written = training.RUNS / "classifier-colour"
    monkeypatch.setattr(classifiers, "open_data", lambda path: None)
    monkeypatch.setattr(classifiers, "held_out_images", lambda data: None)
    seen = {}
    monkeypatch.setattr(
        classifiers, "held_out_report", lambda model, split, progress: seen.update(model.state_dict()) or {"right": 1}
    )
    folder = classifiers.keep("data/colour")
    assert (folder / "model.safetensors").stat().st_size < 0.52 * (written / "model.safetensors").stat().st_size
    loaded = load_classifier(folder).state_dict()
    assert all(torch.equal(loaded[name], seen[name]) for name in seen)
    assert json.loads((folder / "report.json").read_text()) == {"right": 1}


def test_a_run_is_measured_once_by_each_classifier(monkeypatch, tmp_path):
    """Scores by a classifier that has been trained anew since are not taken for its own."""
    monkeypatch.setattr(training, "RUNS", tmp_path)
    monkeypatch.setattr(training, "classifier", lambda piece, plan: ("--classifier", str(tmp_path)))
    asked = []

    def read(piece, *words: str, threads: int) -> str:
        asked.append(words)
        return json.dumps({"scores": len(asked)})

    monkeypatch.setattr(training.Piece, "read", read)
    found = []
    for weights in (b"one", b"one", b"another"):
        (tmp_path / "model.safetensors").write_bytes(weights)
        found.append(views.scored(training.Piece(0), PLAN, Path("run"), VIEW))
    assert found == [1, 1, 2]
    assert views.scored(training.Piece(0), replace(PLAN, scored=7), Path("run"), VIEW) == 3
