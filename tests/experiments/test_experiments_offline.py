"""Prepared data packed for a machine without a network come out as they were: pixels, labels, fingerprint."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from crvae.cli import main
from crvae.data import open_data
from experiments import offline

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Noise in two classes, in folders: nothing in it can be guessed."""
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 7), ("validation", 3)):
        for label in ("one", "two"):
            folder = tmp_path / "pictures" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                offline.Image.fromarray(torch.randint(256, (40, 40, 3), dtype=torch.uint8).numpy()).save(
                    folder / f"{number}.png"
                )


@pytest.mark.parametrize(
    "options", [["--size", "32"], ["--size", "16", "--pair", "32"], ["--size", "32", "--channels", "1"]]
)
def test_data_are_the_same_after_the_journey(pictures, options):
    assert main(["prepare", "pictures", "data/set", "--workers", "1", *options]) == 0
    before = open_data("data/set")
    offline.pack(Path("data/set"), Path("kit/data/set"))
    Path("data/set").rename("data/kept")
    offline.unpack(Path("kit"))
    after, before = open_data("data/set"), open_data("data/kept")
    assert after.fingerprint == before.fingerprint
    for name in before.card.splits:
        rows = range(len(before.split(name)))
        assert torch.equal(after.split(name).images(rows), before.split(name).images(rows))
        assert torch.equal(after.split(name).labels(rows), before.split(name).labels(rows))


def test_what_was_unpacked_is_left_alone_and_half_of_it_is_not_taken(pictures):
    assert main(["prepare", "pictures", "data/set", "--workers", "1", "--size", "32"]) == 0
    offline.pack(Path("data/set"), Path("kit/data/set"))
    card = Path("data/set/card.json")
    times = card.stat().st_mtime_ns
    offline.unpack(Path("kit"))
    assert card.stat().st_mtime_ns == times
    Path("data/set").rename("data/.set.unpacking")  # as a stop leaves it
    Path("data/.set.unpacking/card.json").unlink()
    offline.unpack(Path("kit"))
    assert len(open_data("data/set").split("train")) == 14
    assert not Path("data/.set.unpacking").exists()


def test_what_is_there_is_not_brought_and_nothing_of_the_gpu_is():
    needed = offline.missing(set())
    assert {"pydantic", "pydantic-core", "datasets", "torch-fidelity"} <= set(needed)
    assert not [name for name in needed if offline.THERE.fullmatch(name)]
    fewer = offline.missing({"datasets", "scipy"})
    assert "datasets" not in fewer
    assert "dill" not in fewer, "only datasets needs it"
    assert "pydantic" in fewer


def test_a_name_that_is_no_table_of_runs(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["offline", str(tmp_path / "kit"), "table2"])
    with pytest.raises(SystemExit):
        offline.main()
    assert "no table of runs is called table2" in capsys.readouterr().err
    assert not (tmp_path / "kit").exists()


def test_the_script_of_the_other_machine_is_a_shell_script():
    subprocess.run(["sh", "-n", ROOT / "experiments" / "offline.sh"], check=True)
