"""What the report of `crvae compare` says where runs differ, where nothing was measured, and where the machine was busy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from crvae.cli import main
from crvae.config.stage1 import Stage1Config
from crvae.evaluation import comparison
from crvae.evaluation.comparison import Comparison, Entry
from crvae.evaluation.cost import Cost, cost, not_quiet
from crvae.evaluation.curves import save_curves
from crvae.evaluation.latency import QUIET, Others
from crvae.evaluation.published import published
from crvae.evaluation.report import warnings, write_report
from crvae.evaluation.score import Score
from crvae.recipes import named

ACTIVE = Score("active units", 375.0, 375.0, 375.0, "none: a count", "neither", "of 384", "crvae", "1", 20, 0)


def written(folder: Path, *entries: Entry) -> tuple[dict[str, list[str]], str, str]:
    """The cells of each row of report.md by its title, report.md and report.html."""
    write_report(Comparison("d", "test", 20, 0, "own", list(entries)), folder)
    markdown = (folder / "report.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    return {title: cells for title, *cells in rows}, markdown, (folder / "report.html").read_text()


def entry(name: str, **scores: Score) -> Entry:
    return Entry(name, f"runs/{name}", "r", 1, scores)


def test_a_unit_that_differs_between_runs_is_in_the_cells(tmp_path):
    other = replace(ACTIVE, value=512.0, low=512.0, high=512.0, unit="of 512")
    rows, _, page = written(tmp_path, entry("a", active_units=other), entry("faces", active_units=ACTIVE))
    assert rows["active units"] == ["512 of 512", "375 of 384"]
    assert "<td>375 of 384</td>" in page
    rows, *_ = written(tmp_path, entry("a", active_units=ACTIVE), entry("b", active_units=ACTIVE))
    assert rows["active units, of 384"] == ["375", "375"]


def test_values_of_different_kinds_have_no_best(tmp_path):
    gaussian = {"observation_variance": 0.01, "observation_variance_from": "squared error on 9 images of test"}
    density = Score("ELBO", 9.0, 8.9, 9.1, "i", "higher", "nats an image", "crvae", "1", 20, 0, details=gaussian)
    probability = replace(density, value=-90.0, low=-91.0, high=-89.0, details={"binarisation": "one draw"})
    _, markdown, page = written(tmp_path, entry("a", elbo=density), entry("b", elbo=probability))
    assert "class=best" not in page
    assert "- ELBO of a: crvae 1; interval: i; density of a Gaussian of variance 0.01 (squared error" in markdown
    assert "- ELBO of b: crvae 1; interval: i; probability of black and white images (one draw)." in markdown
    _, markdown, page = written(
        tmp_path, entry("a", elbo=density), entry("b", elbo=replace(density, low=1, value=2, high=3))
    )
    assert page.count("class=best") == 1
    assert markdown.count("- ELBO: ") == 1


def test_scores_of_images_of_different_sizes_have_no_best_and_a_note(tmp_path):
    kid = Score("KID (x)", 2.0, 1.9, 2.1, "i", "lower", "u", "p", "1", 20, 0)
    a, b = entry("a", kid=kid), entry("b", kid=replace(kid, value=1.0, low=0.9, high=1.1))
    a.size = b.size = 32
    _, markdown, page = written(tmp_path, a, b)
    assert page.count("class=best") == 1
    assert "differ in size" not in markdown
    b.size = 64
    rows, markdown, page = written(tmp_path, a, b)
    assert "class=best" not in page
    assert len(rows["KID (x), u ↓"]) == 2
    assert (
        "- The images differ in size (a 32 pixels, b 64 pixels): scores of images of different sizes do not" in markdown
    )
    assert b.json()["size"] == 64


def test_what_was_left_out_is_a_note(tmp_path):
    write_report(Comparison("d", "test", 9, 0, "own", [entry("a", active_units=ACTIVE)], left_out=["kid"]), tmp_path)
    assert "- Left out, as there are only 9 images: kid (needs 20)." in (tmp_path / "report.md").read_text()


def test_every_blank_cell_says_why(tmp_path):
    paper = Entry("a", "runs/a", "birds-crvae-gan", 1, {}, published("birds-crvae-gan"), {"inference_ms": 9.0})
    folder = Entry("b", "b", scores={"active_units": ACTIVE}, missing={"inference_ms": "not a run: not measured"})
    rows, _, page = written(tmp_path, paper, folder)
    assert rows["inference, ms a batch of 128"] == ["9", "5.8", "not a run: not measured"]
    assert rows["active units, of 384"] == ["not computed", "not in the paper", "375"]
    assert all(cell for cells in rows.values() for cell in cells)
    assert "<td></td>" not in page
    assert "<td><small class=why>not a run: not measured</small></td>" in page


def test_machines_that_differ_name_their_runs(tmp_path):
    a, b = entry("a"), entry("b")
    a.device, b.device = "a card, bf16", "a card, fp32"
    _, markdown, _ = written(tmp_path, a, b)
    assert "Time and memory of a were measured now, on a card, bf16" in markdown
    assert "Time and memory of b were measured now, on a card, fp32" in markdown
    _, markdown, _ = written(tmp_path, entry("a"))
    assert "- Time and memory were not measured: none of these is a Stage1 run." in markdown


def test_a_machine_that_was_not_quiet_is_a_note_and_small_print(tmp_path):
    assert not not_quiet(None, "a")
    assert not not_quiet(QUIET, "a")
    busy = entry("a")
    busy.cost, busy.device, busy.others, busy.batch = {"inference_ms": 2031.0, "training_memory_gb": 0.5}, "d", 1.9, 32
    rows, markdown, page = written(tmp_path, busy)
    said = "he machine was not quiet: other programs kept 1.9 processors busy while a was measured, so latencies are too long"
    assert warnings(Comparison("d", "test", 20, 0, "own", [busy])) == [f"t{said}"]
    assert f"- T{said}." in markdown
    assert f"<li>T{said}.</li>" in page
    assert rows["inference, ms a batch of 128"] == ["2,031 (too long: machine not quiet)"]
    assert rows["training memory, GB at the recipe's batch (the paper's: 128)"] == ["0.5 (batch of 32)"]
    busy.others = 0.0
    rows, markdown, _ = written(tmp_path, busy)
    assert rows["inference, ms a batch of 128"] == ["2,031"]
    assert "not quiet" not in markdown


def test_what_was_not_measured_in_time_says_so():
    found = Entry("a", "a", cost={"parameters": 1})
    comparison._tell(found, Cost("r", {}, {}, None, {"inference": {"128": 3.0}}, {}, "d", 0.0), 16)
    assert found.cost == {"parameters": 1, "inference_ms": 3.0}
    assert found.missing["generation_ms"] == "not measured within 120 s"
    assert set(found.missing) == {"generation_ms", "training_memory_gb"}


def test_only_one_batch_is_measured_without_operations():
    config = named("emoji-vae").with_options({"model__width": 4, "model__latent_channels": 16, "model__size": 32})
    assert isinstance(config, Stage1Config)
    found = cost(config, limit=8, only=4)
    assert {tuple(times) for times in found.latency_ms.values()} == {("4",)}
    assert found.flops_per_image == {}


@pytest.mark.skipif(Others().used() is None, reason="this system does not say what other programs do")
def test_compare_says_that_the_machine_is_busy_and_why_cells_are_blank(trained, colour, tmp_path, capsys):
    twin, exported, pictures = (tmp_path / name for name in ("twin", "exported", "pictures"))
    shutil.copytree(trained, twin)
    (twin / "config.yaml").write_text((twin / "config.yaml").read_text().replace("seed: 0", "seed: 7"))
    shutil.rmtree(twin / "samples")
    shutil.copytree(trained / "model", exported)
    assert main(["sample", str(trained), "--count", "20", "--out", str(pictures)]) == 0
    runs = [str(trained), str(twin), str(exported), str(pictures)]
    words = ["--data", str(colour), "--split", "train", "--scores", "kid", "--out", str(tmp_path / "report")]
    capsys.readouterr()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            assert main(["compare", *runs, *words]) == 0
        finally:
            busy.kill()
    said = capsys.readouterr().err
    assert "crvae: the machine was not quiet: other programs kept" in said
    assert f"while {trained.name} was measured, so latencies are too long" in said
    assert "twin: measuring its cost" not in said
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    run, same, copy, images = report["runs"]
    assert run["others"] > QUIET
    for key in ("inference_ms", "generation_ms", "training_memory_gb"):
        assert same["cost"][key] == run["cost"][key], "a configuration is measured once for all its seeds"
        assert copy["missing"][key] == "not a run: not measured"
        assert images["missing"][key] == "not a run: not measured"
    assert copy["missing"]["training_images_per_second"] == "no reports of training"
    assert images["missing"]["parameters"] == "not a model"
    assert images["missing"]["movement"] == images["missing"]["mse"] == "not a Stage1 model"
    assert same["missing"]["movement"] == "no snapshots"
    assert same["missing"]["is"] == "needs --classifier"
    page = (tmp_path / "report" / "report.html").read_text()
    assert "too long: machine not quiet" in page
    assert "<td></td>" not in page


@pytest.mark.parametrize(("better", "arrow"), [("higher", "↑"), ("lower", "↓")])
def test_the_best_is_marked_where_its_interval_meets_no_other(tmp_path, better, arrow):
    """Of values 2 apart: intervals of 0.9 to each side leave a gap, intervals of 1.1 meet."""
    sign = 1 if better == "higher" else -1
    for half, marked in ((0.9, f"**{3 * sign}**"), (1.1, f"{3 * sign}")):
        scores = [
            replace(ACTIVE, value=v, low=v - half, high=v + half, better=better, interval="i")
            for v in (1.0 * sign, 3.0 * sign, 0.0)
        ]
        entries = [entry(name, active_units=score) for name, score in zip("abc", scores, strict=True)]
        rows, _, page = written(tmp_path, *entries)
        assert [cell.partition(" ")[0] for cell in rows[f"active units, of 384 {arrow}"]] == [f"{sign}", marked, "0"]
        assert page.count("class=best") == ("*" in marked)


def test_curves_are_each_runs_reports_over_thousands_of_images(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("crvae.pictures.save_figure", lambda figure, *_, **__: drawn.append(figure))
    runs = {
        "a": [{"images": 2000, "kl": 3.0, "reconstruction": 0.5}, {"images": 4000, "kl": 2.0, "reconstruction": 0.4}],
        "b": [{"images": 1000, "kl": 7.0}, {"images": 3000, "kl": None}],
    }
    assert save_curves(runs, tmp_path / "curves.png")
    panels = {
        panel.get_title(): {line.get_label(): line.get_xydata().tolist() for line in panel.lines}
        for panel in drawn[0].axes
    }
    assert panels == {
        "reconstruction": {"a": [[2, 0.5], [4, 0.4]]},
        "kl": {"a": [[2, 3], [4, 2]], "b": [[1, 7]]},
    }
    assert not save_curves({"a": [{"images": 1}]}, tmp_path / "none.png")
