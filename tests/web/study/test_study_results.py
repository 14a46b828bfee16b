"""The statistics against formulas written out here, and the report's files against each other."""

from __future__ import annotations

import csv
import json
import math
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crvae.cli import main
from crvae.web.study import report
from crvae.web.study.database import Ballots, Cast, default_url
from crvae.web.study.folder import Key, Question, Study, fingerprint, read_key, read_study
from crvae.web.study.results import agreement_between_raters, share, tally


def at_most(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p), term by term."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@given(n=st.integers(1, 60), data=st.data(), chance=st.sampled_from([1 / 2, 1 / 3, 1 / 4]))
def test_intervals_and_test_by_their_definitions(n, data, chance):
    k = data.draw(st.integers(0, n))
    wilson, exact = share(k, n, chance), share(k, n, chance, "clopper-pearson")
    z = 1.959963984540054
    middle, half = (k + z * z / 2) / (n + z * z), z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    assert wilson["low"] == pytest.approx(max(0, middle - half), abs=1e-9)
    assert wilson["high"] == pytest.approx(min(1, middle + half), abs=1e-9)
    if k > 0:
        assert 1 - at_most(k - 1, n, exact["low"]) == pytest.approx(0.025, abs=1e-6)
    if k < n:
        assert at_most(k, n, exact["high"]) == pytest.approx(0.025, abs=1e-6)
    terms = [math.comb(n, i) * chance**i * (1 - chance) ** (n - i) for i in range(n + 1)]
    assert wilson["p_value"] == pytest.approx(sum(t for t in terms if t <= terms[k] * (1 + 1e-7)), abs=1e-9)
    assert wilson["frequency"] == k / n


def test_the_papers_first_row():
    """Table 2, Birds, lower: 28.9% and 71.1% out of 128."""
    assert f"{share(91, 128, 0.5)['frequency']:.3f}" == "0.711"
    assert share(91, 128, 0.5)["low"] > 0.5


def test_agreement_on_a_published_example():
    """Four observers, twelve units, values missing: alpha 0.743 for nominal data (Krippendorff 2011)."""
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    chosen = {
        (rater, unit): int(value)
        for rater, values in enumerate(observers)
        for unit, value in enumerate(values)
        if value != "."
    }
    alpha, observed = agreement_between_raters(chosen)
    assert alpha == pytest.approx(0.743, abs=5e-4)
    pairs = [
        chosen[a, unit] == chosen[b, unit]
        for unit in range(12)
        for a, b in combinations(range(4), 2)
        if (a, unit) in chosen and (b, unit) in chosen
    ]
    assert observed == sum(pairs) / len(pairs)


@given(st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 5)), st.integers(0, 2), max_size=30))
def test_alpha_by_coincidences(chosen):
    """From the matrix of coincidences, built pair by pair."""
    coincidences = dict.fromkeys(product(range(3), repeat=2), 0.0)
    for unit in range(6):
        values = [model for (_, u), model in chosen.items() if u == unit]
        for a, b in ((a, b) for a in range(len(values)) for b in range(len(values)) if a != b):
            coincidences[values[a], values[b]] += 1 / (len(values) - 1)
    n = sum(coincidences.values())
    margins = [sum(coincidences[a, b] for b in range(3)) for a in range(3)]
    alpha, _ = agreement_between_raters(chosen)
    expected = sum(margins[a] * margins[b] for a, b in product(range(3), repeat=2) if a != b)
    if n == 0 or expected == 0:
        assert alpha is None
    else:
        off = sum(value for (a, b), value in coincidences.items() if a != b)
        assert alpha == pytest.approx(1 - (n - 1) * off / expected)


KINDS = [
    Question(kind="pair", group="lower"),
    Question(kind="pair", group="upper"),
    Question(kind="attention", group="upper", answer=2),
    Question(kind="repeat", group="lower", repeats=1),
]
STUDY = Study(task="completion", seed=0, alternatives=2, questions=tuple(KINDS))
KEY = Key(models=("A", "B"), places=((0, 1), (1, 0), (0, 1), (1, 0)))


def test_only_pairs_of_attentive_raters_count():
    votes = [Cast(1, 1, 1), Cast(1, 2, 2), Cast(1, 3, 2), Cast(1, 4, 2)]  # always A; repeat alike
    votes += [Cast(2, 1, 2), Cast(2, 2, 2), Cast(2, 3, 2), Cast(2, 4, 2)]  # B, A; repeat: A, not alike
    votes += [Cast(3, 1, 2), Cast(3, 2, 1), Cast(3, 3, 1)]  # always B, but fails attention
    votes += [Cast(4, 1, 1)]  # stopped early: A
    results = tally(STUDY, KEY, votes)
    assert results["excluded"] == [3]
    assert (results["raters"], results["votes"]) == (3, 5)
    assert {name: row["votes"] for name, row in results["models"].items()} == {"A": 4, "B": 1}
    assert {g: {n: row["votes"] for n, row in rows.items()} for g, rows in results["groups"].items()} == {
        "lower": {"A": 2, "B": 1},
        "upper": {"A": 2, "B": 0},
    }
    assert results["repeated_alike"] == 0.5
    assert results["places"] == [2 / 5, 3 / 5]
    assert results["agreement_observed"] == pytest.approx(2 / 4)


def test_no_votes_is_no_number():
    results = tally(STUDY, KEY, [])
    assert results["models"]["A"] == {
        "frequency": None,
        "low": None,
        "high": None,
        "votes": 0,
        "of": 0,
        "p_value": None,
    }
    assert results["agreement"] is None
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def fill(study, choose) -> None:
    """Two raters answer everything by `choose(question, number)`, attention rightly."""
    ballots = Ballots(default_url(study), fingerprint(study))
    for _ in range(2):
        rater = ballots.rater(ballots.register())
        for number, question in enumerate(read_study(study).questions, 1):
            assert rater is not None
            ballots.vote(rater, number, question.answer or choose(question, number))
    ballots.close()


def test_report_writes_files_that_agree(study, capsys):
    key = read_key(study, read_study(study))
    fill(study, lambda question, number: 1 + key.places[number - 1].index(number % 3))
    assert main(["study", "report", str(study), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((study / "report/report.json").read_text()) == printed
    with (study / "report/report.csv").open() as file:
        for row in csv.DictReader(file):
            model = printed["models"][row["model"]]
            assert (int(row["votes"]), float(row["frequency"])) == (model["votes"], model["frequency"])
    with (study / "report/votes.csv").open() as file:
        counted = [row["model"] for row in csv.DictReader(file) if row["counts"] == "1"]
    assert {name: counted.count(name) for name in printed["models"]} == {
        name: row["votes"] for name, row in printed["models"].items()
    }
    assert "| Samples | vae-gan | p | crvae-gan | p |" in (study / "report/report.md").read_text()
    assert Image.open(study / "report/report.png").size[0] == 1050
    assert sum(row["frequency"] for row in printed["models"].values()) == pytest.approx(1)
    assert printed["raters"] == 2
    assert printed["agreement"] == 1


def test_report_prints_a_table(study, capsys):
    fill(study, lambda question, number: 1)
    assert main(["study", "report", str(study), "--interval", "clopper-pearson"]) == 0
    out = capsys.readouterr().out
    assert "vae-gan" in out
    assert "Clopper-Pearson" in out
    assert "Votes by place on the screen: 100.0%, 0.0%, 0.0%" in " ".join(out.split())


def test_report_without_votes_or_study_says_so(study, tmp_path, capsys):
    assert main(["study", "report", str(study)]) == 2
    error = capsys.readouterr().err
    assert "has no votes yet" in error
    assert f"crvae study serve {study}. " in error
    assert not (study / "votes.db").exists()
    assert main(["study", "report", str(tmp_path / "nowhere")]) == 2
    assert "study.json does not exist" in capsys.readouterr().err


def test_a_database_of_another_study_is_refused(study, tmp_path, capsys):
    url = f"sqlite:///{tmp_path / 'other.db'}"
    Ballots(url, "0" * 64).close()
    for command in (["report", str(study)], ["serve", str(study), "--port", "1"]):
        assert main(["study", *command, "--database", url]) == 2
        assert "holds votes of another study" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "postgresql://nobody:secret@127.0.0.1:1/none",
        "mysql://x",
        "sqlite:////proc/none/votes.db",
        "sqlite:///{here}/bad.db",
    ],
)
def test_a_database_that_does_not_open_is_one_sentence_without_the_password(study, tmp_path, capsys, url):
    (tmp_path / "bad.db").write_bytes(b"this is no database" * 100)
    assert main(["study", "report", str(study), "--database", url.format(here=tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("crvae: --database ")
    assert len(error.strip().splitlines()) == 1
    assert "secret" not in error


def test_a_rater_counts_from_four_of_five_attention_questions_on():
    checks = [Question(kind="attention", group="lower", answer=1)] * 5
    study = Study(task="completion", seed=0, alternatives=2, questions=(KINDS[0], *checks))
    key = Key(models=("A", "B"), places=((0, 1),) * 6)
    votes = [Cast(right, 1, 1) for right in (3, 4, 5)]
    votes += [Cast(right, 2 + check, 1 if check < right else 2) for right in (3, 4, 5) for check in range(5)]
    assert tally(study, key, votes)["excluded"] == [3]  # known by how many they have right


@pytest.mark.parametrize("interval", ["wilson", "clopper-pearson"])
def test_every_share_has_the_interval_that_was_asked_for_and_is_tested_against_chance(interval):
    study = Study(task="completion", seed=0, alternatives=3, questions=(KINDS[0], KINDS[1]))
    key = Key(models=("A", "B", "C"), places=((0, 1, 2), (1, 2, 0)))
    votes = [Cast(rater, question, 1) for rater in range(1, 6) for question in (1, 2)] + [Cast(6, 1, 2)]
    found = tally(study, key, votes, interval)
    for shares, counts in ((found["models"], (5, 6, 0)), (found["groups"]["lower"], (5, 1, 0))):
        expected = [share(count, sum(counts), 1 / 3, interval) for count in counts]
        assert list(shares.values()) == expected


def test_every_number_stands_in_its_column(tmp_path):
    votes = [Cast(1, 1, 1), Cast(1, 3, 2), Cast(1, 4, 2), Cast(2, 1, 2), Cast(2, 3, 1)]  # the second fails attention
    first = {"frequency": 0.75, "low": 0.5, "high": 0.875, "votes": 6, "of": 8, "p_value": 0.01}
    other = {"frequency": 0.25, "low": 0.125, "high": 0.375, "votes": 2, "of": 8, "p_value": 1e-5}
    shares = {"A": first, "B": other}
    results = tally(STUDY, KEY, votes) | {"models": shares, "groups": {"lower": shares}}
    report.write(results, STUDY, KEY, votes, tmp_path / "out")
    assert (tmp_path / "out/report.csv").read_text().splitlines() == [
        "occlusion,model,votes,of,frequency,low,high,p_value",
        "lower,A,6,8,0.75,0.5,0.875,0.01",
        "lower,B,2,8,0.25,0.125,0.375,1e-05",
    ]
    assert (tmp_path / "out/votes.csv").read_text().splitlines() == [
        "rater,question,kind,occlusion,place,model,counts",
        "1,1,pair,lower,1,A,1",
        "1,3,attention,upper,2,B,0",
        "1,4,repeat,lower,2,A,0",
        "2,1,pair,lower,2,B,0",
        "2,3,attention,upper,1,A,0",
    ]
    lines = (tmp_path / "out/report.md").read_text().splitlines()
    assert lines[0] == "| Occlusion | A | p | B | p |"
    assert lines[2] == "| lower | 75.0% [50.0, 87.5] | 0.0100 | 25.0% [12.5, 37.5] | <0.0001 |"
    (axes,) = report.plot(results).axes
    assert [bar.get_width() for bar in axes.patches] == [75, 25]
    reached = [segment[:, 0].tolist() for lines in axes.collections for segment in lines.get_segments()]
    assert reached == [[50, 87.5], [12.5, 37.5]]
