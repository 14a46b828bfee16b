"""`crvae evaluate` and `crvae compare` as users call them: contract, equality of run and PNGs, mistakes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from crvae.cli import main
from crvae.evaluation import comparison
from crvae.evaluation.autoencoding import reconstruction_scores
from crvae.evaluation.comparison import Comparison, Entry
from crvae.evaluation.distance import PerceptualDistance
from crvae.evaluation.generated import open_subject
from crvae.evaluation.published import published
from crvae.evaluation.report import write_report
from crvae.evaluation.score import Score

SOME = ["--split", "train", "--images", "24"]
PROVENANCE = {"value", "low", "high", "implementation", "version", "features", "features_sha256", "resizer"}


@pytest.fixture(scope="module")
def result(trained, colour) -> dict:
    command = [sys.executable, "-m", "crvae", "evaluate", str(trained), "--data", str(colour), *SOME, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # exactly one document


def test_the_json_is_what_the_interface_promises(result, trained, colour):
    assert {"run", "data", "images", "seed", "scores"} <= set(result)
    assert (result["run"], result["data"], result["images"], result["seed"]) == (str(trained), str(colour), 24, 0)
    wanted = {"kid", "fid", "precision", "recall", "mse", "psnr", "lpips", "kl", "active_units"}
    assert set(result["scores"]) == wanted
    for score in result["scores"].values():
        assert set(score) >= PROVENANCE | {"images", "seed", "interval", "name"}
        assert score["low"] <= score["value"] <= score["high"]
    assert "efficientnet-lite0" in result["scores"]["kid"]["name"]


def test_pngs_score_as_the_run_that_wrote_them(result, trained, colour, tmp_path, capsys):
    out = tmp_path / "pngs"
    assert main(["sample", str(trained), "--count", "24", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(out), "--data", str(colour), *SOME, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert set(scores) == {"kid", "fid", "precision", "recall"}
    for name, score in scores.items():
        assert score == result["scores"][name]


def test_the_table_names_every_score(trained, colour, capsys):
    assert main(["evaluate", str(trained), "--data", str(colour), *SOME, "--scores", "kl,kid"]) == 0
    shown = re.sub(r"\s+", "", capsys.readouterr().out)
    for text in ("KID", "KLdivergence", "activeunits", "lower", "natsanimage"):
        assert text in shown


def evaluate(capsys, run, data, *options: str) -> str:
    code = main(["evaluate", str(run), "--data", str(data), *options])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_mistakes_are_one_sentence(trained, colour, grey, tmp_path, capsys):
    empty, unfinished = tmp_path / "empty", tmp_path / "unfinished"
    empty.mkdir()
    (unfinished / "checkpoints").mkdir(parents=True)
    shutil.copy(trained / "config.yaml", unfinished)
    assert "holds neither a model nor images" in evaluate(capsys, empty, colour)
    assert "holds no model" in evaluate(capsys, unfinished, colour)
    assert "nothing-there" in evaluate(capsys, tmp_path / "nothing-there", colour)
    assert "do not exist" in evaluate(capsys, trained, tmp_path / "nothing-there")
    assert "prepare the data" in evaluate(capsys, trained, grey, "--split", "train")
    too_few = "kid needs at least 20: leave it out of --scores, or give more"
    assert too_few in evaluate(capsys, trained, colour, "--scores", "kl,kid")  # its validation split is tiny
    assert too_few in evaluate(capsys, trained, colour, "--split", "train", "--images", "19", "--scores", "kid")
    assert "--images asks for 1 image, and reconstruction needs at least 2: give more" in evaluate(
        capsys, trained, colour, "--images", "1"
    )
    assert "has only" in evaluate(capsys, trained, colour, "--split", "train", "--images", "1000")
    assert "no score 'mse'" in evaluate(capsys, trained, colour, *SOME, "--scores", "kid,mse")
    assert "--classifier" in evaluate(capsys, trained, colour, *SOME, "--scores", "is")
    assert "no 'train2' split" in evaluate(capsys, trained, colour, "--split", "train2")
    assert "--samples" in evaluate(capsys, trained, colour, "--samples", "10001")
    assert "--observation-variance" in evaluate(capsys, trained, colour, "--observation-variance", "-1")


def test_mistakes_with_folders_of_images(trained, colour, tmp_path, capsys):
    out = tmp_path / "pngs"
    assert main(["sample", str(trained), "--count", "20", "--out", str(out)]) == 0
    capsys.readouterr()
    train = ("--split", "train")
    assert "kid needs at least 20: give more" in evaluate(capsys, out, colour, *train, "--images", "19")
    assert f"--images 24: {out} has only 20 images" in evaluate(capsys, out, colour, *train, "--images", "24")
    assert "needs a Stage1 run" in evaluate(capsys, out, colour, *train, "--scores", "nll")
    first = sorted(out.glob("*.png"))[3]
    first.write_bytes(first.read_bytes()[:100])
    assert first.name in evaluate(capsys, out, colour, *train)
    from PIL import Image

    Image.new("RGB", (16, 16)).save(first)
    assert "not of the size of" in evaluate(capsys, out, colour, *train)


def test_a_folder_of_images_is_read_by_the_rules_of_prepare(trained, colour, tmp_path, capsys):
    """One grey file among colour, JPEG and WebP under other names, what lies beside, a limit on pixels."""
    from PIL import Image

    out, colourful = tmp_path / "images", tmp_path / "colourful"
    assert main(["sample", str(trained), "--count", "24", "--out", str(out)]) == 0
    shutil.copytree(out, colourful)
    grey = Image.open(out / "000005.png").convert("L")
    grey.save(out / "000005.png")
    grey.convert("RGB").save(colourful / "000005.png")
    for kind, name in (("JPEG", "000006.png"), ("WEBP", "000007.png")):
        Image.open(out / name).save(out / name, kind, quality=90)
        shutil.copy(out / name, colourful / name)
    (out / "000008.png").rename(out / "000008.PNG")
    (out / "below").mkdir()
    (out / "notes.txt").touch()
    found = []
    for folder in (out, colourful):
        capsys.readouterr()
        assert main(["evaluate", str(folder), "--data", str(colour), *SOME, "--scores", "kid", "--json"]) == 0
        said = capsys.readouterr()
        found.append(json.loads(said.out))
    assert found[0]["scores"] == found[1]["scores"]
    assert found[0]["not_looked_at"] == ["below", "notes.txt"]
    assert said.err.count("not looked at") == 0
    assert "above the limit" in evaluate(capsys, out, colour, *SOME, "--scores", "kid", "--pixel-limit", "0.001")
    assert "did you mean 'kid'?" in evaluate(capsys, out, colour, *SOME, "--scores", "kdi")


def test_compare_writes_one_page_and_the_same_numbers(result, trained, colour, tmp_path, capsys):
    twin = tmp_path / "twin"
    shutil.copytree(trained, twin)
    out = tmp_path / "report"
    assert main(["compare", str(trained), str(twin), "--data", str(colour), *SOME, "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "report.json").read_text())
    first, second = document["runs"]
    assert (first["name"], second["name"]) == (trained.name, "twin")
    assert first["scores"]["kid"] == result["scores"]["kid"]
    assert first["scores"] == second["scores"]
    assert first["recipe"] == "emoji-crvae-gan-mi"
    assert {"movement", "variety"} <= set(first["scores"])
    page, markdown = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert page.count("data:image/png;base64,") == 6  # two of samples, reconstructions, curves, two of stability
    assert not re.search(r"""(src|href)=(?!["']?data:)""", page)
    assert "<script" not in page
    for name in re.findall(r"\]\((.+?)\)", markdown):
        assert (out / name).is_file()
    assert "KID (efficientnet-lite0)" in page
    assert "KID (efficientnet-lite0)" in markdown
    assert "class=best" not in page  # nothing tells a run from its copy
    assert "different numbers of images" not in page
    assert first["cost"]["inference_ms"] > 0
    assert first["cost"]["training_memory_gb"] > 0


def test_a_run_that_goes_on_training_is_scored_as_it_was_loaded(trained, colour, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    from crvae.evaluation.evaluate import evaluate, evaluate_subject
    from crvae.evaluation.generated import open_subject
    from crvae.evaluation.registry import Request

    run = tmp_path / "run"
    shutil.copytree(trained, run)
    request = Request(str(colour), ("kl",), split="train", images=24)
    before = evaluate(str(run), request)["scores"]["kl"].value
    subject = open_subject(str(run), torch.device("cpu"))
    weights = {
        name: t * 1.5 if t.is_floating_point() else t for name, t in load_file(run / "model/model.safetensors").items()
    }
    save_file(weights, run / "model/model.safetensors")
    assert evaluate_subject(subject, request)["scores"]["kl"].value == before
    assert evaluate(str(run), request)["scores"]["kl"].value != before


def test_compare_refuses_before_it_measures(trained, colour, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(comparison, "cost", lambda *_, **__: pytest.fail("measured"))
    assert main(["compare", str(trained), "emoji", "--data", str(colour), "--out", str(tmp_path / "report")]) == 2
    assert "what is scored, emoji, is colour of 64x64: prepare the data with --size 64" in capsys.readouterr().err


def test_a_flow_has_no_likelihood_and_says_so_at_once(colour, capsys, monkeypatch):
    monkeypatch.setattr("crvae.evaluation.likelihood.observation_variance", lambda *_: pytest.fail("decoded"))
    said = evaluate(capsys, "faces", colour, *SOME, "--scores", "elbo")
    assert "--scores elbo needs a prior with a density" in said
    assert "--prior normal" in said


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        (["x/a", "y/b"], ["a", "b"]),
        (["x/a", "y/a"], ["a-1", "a-2"]),
        (["x/a", "y/a", "z/a-2"], ["1-a-1", "2-a-2", "3-a-2"]),
    ],
)
def test_no_two_runs_of_a_comparison_have_one_name(runs, names):
    assert comparison._names(runs) == names


def test_the_speed_of_training_is_not_that_of_the_priors_fit(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    fitted = [{"images": 10_000 + i, "seconds": 1e4, "images_per_second": 1e6, "prior": 1.0} for i in range(50)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, *fitted, 5]))
    about = comparison._about("run", open_subject(str(run), torch.device("cpu")))
    assert about.cost["training_images_per_second"] == median(line["images_per_second"] for line in lines)


def test_all_that_is_compared_is_scored_on_as_many_images(trained, colour, tmp_path, capsys):
    """FID and recall of fewer images are other scores: the smallest folder decides for all."""
    pictures = sorted((colour.parent / "pictures").iterdir())[:20]
    few = tmp_path / "few"
    few.mkdir()
    for path in pictures:
        Image.open(path).convert("RGB").resize((32, 32)).save(few / f"{path.stem}.png")
    words = ["--data", str(colour), "--split", "train", "--scores", "kid", "--out", str(tmp_path / "report"), "--json"]
    assert main(["compare", str(few), str(trained), *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == 20
    assert {run["scores"]["kid"]["images"] for run in report["runs"]} == {20}


def test_an_image_kept_to_the_last_bit_has_a_finite_psnr():
    stored = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    same: Any = SimpleNamespace(reconstruct=lambda x: x, device=torch.device("cpu"))
    scores = reconstruction_scores(same, stored, 0, PerceptualDistance(torch.device("cpu")))
    assert scores["psnr"].value == scores["psnr"].high == pytest.approx(58.9, abs=0.1)


def test_compare_names_mistakes_and_leaves_nothing(trained, colour, tmp_path, capsys):
    base = ["--data", str(colour), *SOME, "--out", str(tmp_path / "report")]
    assert main(["compare", str(trained), str(trained), *base]) == 2
    assert "twice" in capsys.readouterr().err
    assert main(["compare", str(trained), str(tmp_path / "none"), *base]) == 2
    assert "none" in capsys.readouterr().err
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    assert main(["compare", str(trained), "--data", str(colour), *SOME, "--out", str(tmp_path / "taken")]) == 2
    assert "already exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_the_papers_numbers_stand_in_a_column_of_their_own(tmp_path):
    def score(value, width):
        return Score(
            "KID (x)", value, value - width, value + width, "i", "lower", "u", "p", "1", 20, 0, "x", "0" * 64, "none"
        )

    entries = [
        Entry("a|b", "runs/a", "birds-vae-gan", 1, {"kid": score(2.0, 0.1)}, published("birds-vae-gan")),
        Entry("<b>", "runs/b", "birds-crvae-gan-mi", 2, {"kid": score(1.0, 0.1)}, published("birds-crvae-gan-mi")),
        Entry("c", "runs/c", "emoji-crvae", 1, {"kid": score(1.5, 0.1)}, published("emoji-crvae")),
    ]
    write_report(Comparison("d", "test", 20, 0, "own", entries), tmp_path)
    page, markdown = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert "<th class=paper>&lt;b&gt;, paper</th>" in page
    assert "c, paper" not in page
    assert "<td class=paper>5.81</td>" in page
    assert "<td class=paper>11.07</td>" in page
    assert page.count("class=best") == 1
    assert "different numbers of images" in page
    assert "| **1** (0.9 to 1.1) |" in markdown
    assert "a\\|b, paper" in markdown


def test_published_numbers_are_table_1_and_section_5():
    assert published("celeba-crvae-gan")["is"] == 24.16
    assert published("lsun-crvae-gan-mi")["preferred"] == 0.535
    assert published("birds-vae-gan")["inference_ms"] == 2.6
    assert published("birds-crvae-gan")["inference_ms"] == 5.8
    assert published("emoji-vae-gan") == {}
