"""What the commands of a study refuse, what they tell people to type, and which database a report reads."""

from __future__ import annotations

import json
import shlex
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect
from sqlmodel import SQLModel

from crvae.cli import main
from crvae.web.study.database import Ballots, default_url
from crvae.web.study.folder import fingerprint, read_study
from crvae.web.study.questions import create
from postgresql import programs, temporary_postgresql


@pytest.mark.parametrize("seed", ["-1", str(2**63)])
@pytest.mark.parametrize("task", ["sample", "completion"])
def test_a_seed_out_of_range_is_one_sentence(tmp_path, sample_runs, completion_runs, capsys, task, seed):
    runs = sample_runs if task == "sample" else completion_runs
    options = ["--task", task, "--pairs", "4", "--seed", seed, "--out", str(tmp_path / "s")]
    assert main(["study", "create", "--runs", *runs, *options]) == 2
    assert capsys.readouterr().err == f"crvae: --seed must be from 0 to 2^63 - 1, got {seed}\n"
    assert not (tmp_path / "s").exists()


def test_the_largest_seed_makes_a_study(tmp_path, sample_runs, completion_runs):
    assert create(sample_runs, "sample", 4, 2**63 - 1, tmp_path / "a").seed == 2**63 - 1
    assert create(completion_runs, "completion", 4, 2**63 - 1, tmp_path / "b").seed == 2**63 - 1


@pytest.mark.parametrize("name", ["my study", "a'b", "q?x", "plain"])
def test_the_command_that_follows_can_be_typed(tmp_path, sample_runs, capsys, name):
    options = ["--task", "sample", "--pairs", "4", "--out", str(tmp_path / name)]
    assert main(["study", "create", "--runs", *sample_runs, *options]) == 0
    command = capsys.readouterr().err.rstrip("\n").split("serve the study: ")[1]
    assert shlex.split(command) == ["crvae", "study", "serve", str(tmp_path / name)]


def serve_two_raters(study: Path) -> None:
    """Two raters answer everything, attention rightly."""
    ballots = Ballots(default_url(study), fingerprint(study))
    for _ in range(2):
        rater = ballots.rater(ballots.register())
        assert rater is not None
        for number, question in enumerate(read_study(study).questions, 1):
            ballots.vote(rater, number, question.answer or 1)
    ballots.close()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tables_alone(path: Path) -> None:
    """As a server leaves them that is killed before it writes whose votes these are."""
    engine = create_engine(f"sqlite:///{path}")
    SQLModel.metadata.create_all(engine)
    engine.dispose()


def of_another_program(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE birds (name TEXT)")
    database.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.touch(), "has no votes of this study"),
        (of_another_program, "has no votes of this study"),
        (tables_alone, "has no votes of this study"),
        (lambda path: Ballots(f"sqlite:///{path}", "0" * 64).close(), "holds votes of another study"),
    ],
    ids=["missing", "empty", "another program's", "no fingerprint", "another study's"],
)
@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite:///file:{}?uri=true"])
def test_a_report_from_a_wrong_database_changes_nothing(study, tmp_path, capsys, make, words, form):
    serve_two_raters(study)
    assert main(["study", "report", str(study)]) == 0
    make(tmp_path / "typo.db")
    before = files(tmp_path)
    capsys.readouterr()
    assert main(["study", "report", str(study), "--database", form.format(tmp_path / "typo.db")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("crvae: --database sqlite:///")
    assert words in error or ("uri" in form and not (tmp_path / "typo.db").exists())
    assert len(error.strip().splitlines()) == 1
    assert files(tmp_path) == before


def test_a_report_reads_the_database_that_was_named_and_leaves_it_as_it_was(study, tmp_path, capsys):
    serve_two_raters(study)
    (study / "votes.db").rename(tmp_path / "served.db")
    before = files(tmp_path)
    for form in ("sqlite:///{}", "sqlite:///file:{}?uri=true"):
        assert main(["study", "report", str(study), "--json", "--database", form.format(tmp_path / "served.db")]) == 0
        assert json.loads(capsys.readouterr().out)["raters"] == 2
    after = files(tmp_path)
    assert {name: content for name, content in after.items() if "/report/" not in name} == before


def test_a_report_of_no_votes_replaces_none(study, tmp_path, capsys):
    serve_two_raters(study)
    assert main(["study", "report", str(study)]) == 0
    Ballots(f"sqlite:///{tmp_path / 'new.db'}", fingerprint(study)).close()
    before = files(study)
    report = ["study", "report", str(study), "--database", f"sqlite:///{tmp_path / 'new.db'}"]
    assert main(report) == 2
    assert "nobody has voted yet" in capsys.readouterr().err
    assert files(study) == before
    assert main([*report, "--out", str(tmp_path / "elsewhere")]) == 0


def test_a_votes_file_without_tables_is_refused(study, capsys):
    (study / "votes.db").touch()
    assert main(["study", "report", str(study)]) == 2
    assert "has no votes of this study. Serve the study first" in capsys.readouterr().err
    assert (study / "votes.db").read_bytes() == b""
    assert not (study / "report").exists()


@pytest.mark.skipif(programs() is None, reason="needs Debian's postgresql: apt-get install postgresql")
def test_a_report_makes_no_tables_on_postgresql(study, capsys):
    with temporary_postgresql() as url:
        assert main(["study", "report", str(study), "--database", url]) == 2
        assert "has no votes of this study" in capsys.readouterr().err
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        assert inspect(engine).get_table_names() == []
        engine.dispose()
        Ballots(url, fingerprint(study)).close()
        assert main(["study", "report", str(study), "--database", url]) == 0


@pytest.mark.parametrize("name", ["q?x", "a%41b", "a#b", "file:a", "my study"])
def test_votes_are_in_the_study_whatever_its_folder_is_called(study, tmp_path, capsys, name):
    study = study.rename(tmp_path / name)
    assert main(["study", "report", str(study)]) == 2
    error = capsys.readouterr().err
    assert f"Serve it first: crvae study serve {shlex.quote(str(study))}. " in error
    assert f"crvae study report {shlex.quote(str(study))} --database URL" in error
    serve_two_raters(study)
    assert {path.name for path in tmp_path.iterdir()} == {"samples", name}
    with sqlite3.connect(study / "votes.db") as database:
        assert database.execute("SELECT count(DISTINCT rater) FROM study_vote").fetchone() == (2,)
    database.close()
    assert main(["study", "report", str(study), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["raters"] == 2


@pytest.mark.parametrize("name", ["q?x", "a%41b", "a#b"])
def test_the_url_in_a_message_is_the_one_to_type(study, tmp_path, capsys, name):
    """The URL of a refused database leads to the same file when it is passed back."""
    study = study.rename(tmp_path / name)
    Ballots(default_url(study), "0" * 64).close()
    assert main(["study", "report", str(study)]) == 2
    error = capsys.readouterr().err
    url = error.split("--database ")[1].split()[0]
    assert main(["study", "report", str(study), "--database", url]) == 2
    assert capsys.readouterr().err == error
    assert "holds votes of another study" in error
