"""What a run remembers of being resumed inexactly, or with moved data: environment.json, and the card of its export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from crvae.cli import main
from crvae.data import open_data
from crvae.errors import UserError
from crvae.training.run import Run


def about(run: Path) -> dict:
    return json.loads((run / "environment.json").read_text())


def edited(run: Path, **changes: object) -> None:
    (run / "environment.json").write_text(json.dumps(about(run) | changes))


@pytest.fixture
def other(tmp_path, painted) -> Path:
    """Another dataset of the same size."""
    folder = tmp_path / "other"
    painted(folder / "pictures", 40, 40)
    assert main(["prepare", str(folder / "pictures"), str(folder / "data"), "--size", "32", "--workers", "1"]) == 0
    return folder / "data"


@pytest.fixture
def run(tmp_path, trained) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def go_on(run: Path, images: int, *more: object) -> int:
    return main(["train", "--resume", str(run), "--train.images", str(images), *map(str, more)])


def test_a_run_goes_on_with_the_other_dataset_and_remembers_the_first(run, colour, other, capsys):
    assert go_on(run, 176, "--data", other) == 2
    assert "is not the run's dataset. Pass --inexact" in capsys.readouterr().err
    assert "before" not in about(run)
    assert go_on(run, 176, "--data", other, "--inexact") == 0
    first, second = ({"path": str(data), "fingerprint": open_data(data).fingerprint} for data in (colour, other))
    assert about(run)["data"] == second
    assert about(run)["before"] == [{"images": 160, "data": first, "world": 1, "precision": "fp32"}]
    assert go_on(run, 192) == 0  # no --data, no --inexact: it is the run's dataset now
    assert about(run)["data"] == second
    assert len(about(run)["before"]) == 1
    assert go_on(run, 208, "--data", colour) == 2
    assert "is not the run's dataset" in capsys.readouterr().err


def test_moved_data_are_given_once(run, colour, tmp_path):
    moved = shutil.copytree(colour, tmp_path / "moved")
    before = about(run)
    assert go_on(run, 176, "--data", moved) == 0
    assert about(run) == before | {"data": before["data"] | {"path": str(moved)}}
    assert go_on(run, 192) == 0
    assert about(run)["data"]["path"] == str(moved)


def test_an_exact_resume_leaves_the_file_alone(run):
    written = (run / "environment.json").read_bytes()
    assert go_on(run, 176) == 0
    assert (run / "environment.json").read_bytes() == written


def test_another_number_of_processes_and_precision(run, capsys):
    edited(run, world=2, precision="bf16")
    assert go_on(run, 176) == 2
    assert "world was 2, is now 1; precision was bf16, is now fp32. Pass --inexact" in capsys.readouterr().err
    assert go_on(run, 176, "--inexact") == 0
    assert (about(run)["world"], about(run)["precision"]) == (1, "fp32")
    assert [(was["images"], was["world"], was["precision"]) for was in about(run)["before"]] == [(160, 2, "bf16")]
    assert go_on(run, 192) == 0


def test_another_processor_is_said_where_the_run_knows_its_own(run, capsys):
    mine = about(run)["processor"]
    edited(run, processor="64 x Abacus")
    assert go_on(run, 176) == 0
    assert (
        f"crvae: processor was 64 x Abacus, is now {mine}: the run continues, but not bit for bit"
        in capsys.readouterr().err
    )
    (run / "environment.json").write_text(
        json.dumps({name: it for name, it in about(run).items() if name != "processor"})
    )
    assert go_on(run, 192) == 0
    assert "processor was" not in capsys.readouterr().err  # of a run from before it was written


def test_a_refused_resume_remembers_nothing(run, other):
    written = (run / "environment.json").read_bytes()
    assert go_on(run, 32, "--data", other, "--inexact") == 2  # fewer than were seen
    assert (run / "environment.json").read_bytes() == written


def test_a_prior_can_be_fitted_on_another_number_of_processes(run, capsys):
    edited(run, world=2)
    prior = ["prior", str(run), "--prior.flow.width", "8", "--prior.batch", "16", "--prior.images", "32"]
    assert main(prior) == 2
    assert "world was 2, is now 1. Pass --inexact" in capsys.readouterr().err
    assert main([*prior, "--inexact"]) == 0
    assert about(run)["world"] == 1
    assert (run / "model" / "prior.safetensors").is_file()


@pytest.mark.parametrize("before", [5, None, [5], [{}], [{"images": "many"}], [{"images": 1, "world": 1, "data": {}}]])
def test_an_odd_history_is_refused_in_one_sentence(run, before):
    edited(run, before=before)
    with pytest.raises(UserError, match=r"environment\.json"):
        Run(run).environment()


def test_the_card_says_it_in_one_line(run, colour, other, tmp_path):
    assert main(["export", str(run), str(tmp_path / "exact")]) == 0
    assert "inexactly" not in (tmp_path / "exact" / "README.md").read_text()
    was = about(run)["data"]["fingerprint"]
    assert go_on(run, 176, "--data", other, "--inexact") == 0
    edited(run, world=2, before=[was | {"world": 2} for was in about(run)["before"]])
    assert go_on(run, 192, "--inexact") == 0
    assert main(["export", str(run), str(tmp_path / "card")]) == 0
    card = (tmp_path / "card" / "README.md").read_text()
    lines = [line for line in card.splitlines() if "inexactly" in line]
    assert lines == [
        f"- Resumed inexactly: after 160 images, until then data with the fingerprint `{was}`;"
        " after 176 images, until then world 2"
    ]
    assert about(run)["data"]["fingerprint"] in card
    assert str(colour) not in card


def test_a_report_that_is_no_number_reaches_no_card(run, tmp_path):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"images": "a", "seconds": "b"}\n')
    assert main(["export", str(run), str(tmp_path / "card")]) == 0
    assert "- Training time: " in (tmp_path / "card" / "README.md").read_text()
