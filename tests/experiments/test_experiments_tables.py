"""The plans are trainable and compare what they say; one small plan runs, is stopped, goes on, and leaves small files."""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import replace

import pytest
import torch
from PIL import Image

from crvae.cli import main
from crvae.cli.train import _configure
from crvae.config.stage1 import Stage1Config
from crvae.training.classifier import Classifier, ClassifierConfig, save
from experiments import results, tables, training, views
from experiments.options import BOTH_PRIORS
from experiments.plan import Plan, Row
from experiments.plans import PLANS

PLACES = ["--data", "DATA", "--out", "OUT"]


def configuration(row: Row) -> Stage1Config:
    config, _ = _configure(row.recipe, [*PLACES, *row.options])
    return config


@pytest.mark.parametrize("name", PLANS)
def test_rows_share_everything_but_a_few_fields(name):
    """A table whose rows differed in rates or images would compare those."""
    bodies = [configuration(row).model_dump() for row in PLANS[name].rows]
    for body in bodies[1:]:
        assert body["train"] == bodies[0]["train"]
        assert body["input"] == bodies[0]["input"]
        assert body["discriminator"] == bodies[0]["discriminator"] or name == "fashion-minibatch"
        differing = {part for part in ("model", "objective", "discriminator") if body[part] != bodies[0][part]}
        assert differing, "two rows are the same"


def test_runs_are_shared_where_they_are_the_same_and_apart_where_not():
    rows = [(plan.data, row.recipe, row.options) for plan in PLANS.values() for row in plan.rows]
    folders = {training.folder(plan, row, 120_000, 0) for plan in PLANS.values() for row in plan.rows}
    assert len(folders) == len(set(rows)) < len(rows)
    plan = PLANS["table1"]
    assert len({training.folder(plan, plan.rows[0], images, seed) for images in (1_000, 2_000) for seed in (0, 1)}) == 4


@pytest.fixture
def small_plan(monkeypatch, tmp_path, colour, tiny) -> Plan:
    monkeypatch.setattr(training, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    options = tuple(tiny[: tiny.index("--train.images")] + tiny[tiny.index("--train.images") + 2 :])
    rows = (Row("dense", "emoji-vae", options), Row("recurrent", "emoji-crvae", options))
    plan = Plan("a small one", str(colour), {"cpu": 160, "gpu": 1_000_000}, rows, "reconstruction,kl")
    monkeypatch.setitem(PLANS, "small", plan)
    monkeypatch.setattr(
        training, "folder", lambda plan, row, images, seed: training.RUNS / f"{row.name}-{images}-{seed}"
    )
    return plan


def test_a_plan_from_nothing_to_its_results(small_plan, tmp_path):
    tables.make(["small"], "cpu", [0], 2, training.Piece(0))
    out = tmp_path / "results" / "small"
    about = json.loads((out / "provenance.json").read_text())
    assert (about["title"], about["images"], len(about["runs"])) == ("a small one", 160, 2)
    assert "emoji-vae" in about["runs"][0]["command"]
    assert about["runs"][0]["precision"] == "fp32"
    end = about["runs"][0]["end"]
    assert end["images"] >= 160
    assert sum(end["kl_per_step"]) == pytest.approx(end["kl"], rel=1e-2)
    assert "recurrent-160-0" in (out / "report.md").read_text()
    assert {path.suffix for path in out.iterdir()} <= {".md", ".json", ".png"}
    assert all(path.stat().st_size < 300_000 for path in out.glob("*.png"))


@pytest.mark.slow
def test_a_plan_of_faces_scores_all_seeds_with_both_priors_and_measures_their_blocks(small_plan, monkeypatch, tmp_path):
    lines = ["file,hair"]
    for number in range(120):
        name = f"{'train' if number < 80 else 'validation'}/{number}.png"
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(128, (32, 32, 3), dtype=torch.uint8) + 120 * (number % 2)
        Image.fromarray(pixels.numpy()).save(tmp_path / "pictures" / name)
        lines.append(f"{name},{('dark', 'light')[number % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    options = ["--size", "32", "--workers", "1", "--labels", str(tmp_path / "labels.csv")]
    assert main(["prepare", str(tmp_path / "pictures"), str(tmp_path / "faces"), *options]) == 0
    monkeypatch.setitem(
        PLANS,
        "small",
        replace(small_plan, data=str(tmp_path / "faces"), scores="is", faces=True, probed=True, views=BOTH_PRIORS),
    )
    config = ClassifierConfig(backbone="small", attributes={"hair": ["dark", "light"]})
    save(training.RUNS / "classifier-faces", Classifier(config), {})  # untrained, so that the test is quick
    few = lambda self, *words, **options: run(self, *words, *["--count", "20"] * (words[0] == "traverse"), **options)  # noqa: E731
    run = training.Piece.run
    monkeypatch.setattr(training.Piece, "run", few)
    monkeypatch.setattr(views, "SCORED", 20)
    tables.make(["small"], "cpu", [0, 1], 2, training.Piece(0))
    out = tmp_path / "results" / "small"
    report, found = (out / "report.md").read_text(), json.loads((out / "scores.json").read_text())
    assert found["seeds"] == [0, 1]
    kid = [[seed["kid"]["value"] for seed in found["scores"]["dense"][view]] for view in BOTH_PRIORS]
    assert len({value for values in kid for value in values}) == 4, "two seeds, two networks; no prior was learned"
    assert f"| {views.over_seeds(kid[0])} |" in report
    known = json.loads((out / "attributes.json").read_text())["attributes"]
    assert all(len(known[name]) == 2 and known[name][0]["known"]["hair"]["chance"] > 0.4 for name in known)
    assert set(re.findall(r"\(([^)]+\.png)\)", report)) == {path.name for path in out.glob("*.png")}


@pytest.mark.slow
def test_a_plan_of_order_measures_the_first_blocks_of_every_seed(small_plan, monkeypatch, tmp_path):
    monkeypatch.setitem(PLANS, "small", replace(small_plan, order=True))
    run = training.Piece.run
    few = lambda self, *words, **options: run(self, *words, *["--count", "4"] * (words[0] == "traverse"), **options)  # noqa: E731
    monkeypatch.setattr(training.Piece, "run", few)
    tables.make(["small"], "cpu", [0, 1], 2, training.Piece(0))
    out = tmp_path / "results" / "small"
    report, found = (out / "report.md").read_text(), json.loads((out / "order.json").read_text())
    last = [seed[-1]["bytes"]["mean"] for seed in found["rates"]["recurrent"]]
    assert found["rates"]["recurrent"][0][-1]["blocks"] == 8
    assert views.over_seeds(last) in next(line for line in report.splitlines() if line.startswith("| bytes | 8 |"))
    first = views.over_seeds([seed["kl"][0] for seed in found["profiles"]["dense"]])
    assert f"| nats | 1 | {first} |" in report.split("## Block by block")[1]
    assert set(re.findall(r"\(([^)]+\.png)\)", report)) == {path.name for path in out.glob("*.png")}


def test_beside_a_failed_run_a_seed_has_its_own_report_without_originals(small_plan, monkeypatch, tmp_path):
    """Three departures from the plain case at once, since each would train anew."""
    broken = replace(small_plan, rows=(Row("broken", "emoji-vae", ("--train.batch", "100000")),))
    monkeypatch.setitem(PLANS, "broken", broken)
    monkeypatch.setitem(PLANS, "small", replace(small_plan, originals=False, rows=small_plan.rows[:1]))
    with pytest.raises(SystemExit):
        tables.make(["broken", "small"], "cpu", [2], 2, training.Piece(0))
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["small-seed2"]
    out = tmp_path / "results" / "small-seed2"
    report, about = (out / "report.md").read_text(), json.loads((out / "provenance.json").read_text())
    assert report.startswith("# a small one (seed 2)\n")
    assert all("--train.seed 2" in run["command"] for run in about["runs"])
    assert not (out / "reconstructions.png").exists()
    assert "reconstructions.png" not in report
    assert "## Reconstructions" not in report
    assert {path.name for path in out.glob("*.png")} == set(re.findall(r"\(([^)]+\.png)\)", report))


def test_hours_count_a_run_of_two_results_once(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    shared, own = {"command": "crvae train a", "seconds": 1800}, {"command": "crvae train b", "seconds": 5400.0}
    for name, machine, runs in (("x", "2 cores", [shared]), ("y", None, [shared, own]), ("z", "NVIDIA H200", [shared])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "provenance.json").write_text(json.dumps({"machine": machine, "runs": runs}))
    assert results.hours() == {"one core a run": (2, 2.0), "GPU, several runs at once": (1, 0.5)}
    again = tmp_path / "z" / "provenance.json"  # the same command, trained anew
    again.write_text(json.dumps({"machine": "2 cores", "runs": [shared | {"seconds": 3600}]}))
    assert results.hours() == {"one core a run": (3, 3.0)}


def test_large_pictures_lose_colours_until_they_are_small(tmp_path):
    pixels = torch.randint(256, (500, 700, 3), dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 1_000_000
    results.fewer_colours(tmp_path / "noise.png", tmp_path / "small.png")
    assert (tmp_path / "small.png").stat().st_size < results.LARGEST
    with Image.open(tmp_path / "small.png") as kept:
        assert kept.size == (700, 500)


def test_out_of_time_saves_and_the_next_call_goes_on(small_plan, monkeypatch):
    """The minutes are over when the run has saved further than before, however slow the machine is."""
    row = small_plan.rows[0]
    run = training.folder(small_plan, row, 1_000_000, 0)

    def furthest() -> int:
        return max((int(path.name) for path in run.glob("checkpoints/*") if path.name.isdigit()), default=0)

    class UntilItSaves(subprocess.Popen):
        def communicate(self, *_, **__):
            begun = furthest()
            while furthest() == begun:
                assert self.poll() is None, "it ended by itself"
                time.sleep(0.01)
            raise subprocess.TimeoutExpired(self.args, 0)

    monkeypatch.setattr(training.subprocess, "Popen", UntilItSaves)
    saved = [0]
    for _ in range(2):
        with pytest.raises(training.OutOfTime):
            training.train(training.Piece(1_000), small_plan, row, 1_000_000, 0)
        saved.append(furthest())
    assert saved == sorted(set(saved))
    assert saved[-1] < 1_000_000
    monkeypatch.setattr(training.subprocess, "Popen", None)
    with pytest.raises(training.OutOfTime):
        training.train(training.Piece(1e-9), small_plan, row, 1_000_000, 0)
