"""Where commands write and what a name means: existing places, the home folder, names that are made from the input's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crvae.cli import main


def test_the_home_folder_is_meant_by_a_tilde_behind_an_option(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(exported)
    for name in ("made", "rate=0.1"):
        assert main(["sample", "~/run", "--count", "2", f"--out=~/{name}"]) == 0
        assert len(list((tmp_path / name).iterdir())) == 2
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("place", [".", "..", "/", ""])
@pytest.mark.parametrize(
    "words",
    [
        "sample RUN --count 2 --out PLACE",
        "complete RUN --images PICTURES --mask upper --out PLACE",
        "encode RUN --images PICTURES --format crz PLACE",
        "export RUN PLACE",
        "study create --runs PICTURES RUN --task sample --pairs 2 --out PLACE",
        "compare PICTURES --data PICTURES --out PLACE",
        "classifier PICTURES --out PLACE",
        "upscale RUN --images PICTURES --out PLACE",
    ],
)
def test_a_place_that_exists_is_one_sentence(words, place, exported, pictures, tmp_path, monkeypatch, capsys):
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "below")
    places = {"PLACE": place, "RUN": str(exported), "PICTURES": str(pictures)}
    assert main([places.get(word, word) for word in words.split()]) == 2
    assert "already exists" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "here").rglob("*")] == ["below"]


def test_decode_chooses_a_folder_that_is_not_its_input(exported, pictures, tmp_path, monkeypatch):
    run = str(exported)
    place = tmp_path / "place"
    assert main(["encode", run, "--images", str(pictures), "--format", "crz", str(place / "crz")]) == 0
    (place / "crz" / "below").mkdir()
    assert main(["encode", run, "--images", str(pictures), str(place / "z.safetensors")]) == 0
    (place / "z.safetensors").rename(place / "latents")
    for here, typed, made in (
        (place / "crz", ".", "crz-decoded"),
        (place / "crz" / "below", "..", "crz-decoded"),
        (place, "crz", "crz-decoded"),
        (place, "crz/below/..", "crz-decoded"),
        (place, "latents", "latents-decoded"),
    ):
        monkeypatch.chdir(here)
        assert main(["decode", typed, "--run", run]) == 0
        assert len(list((place / made).iterdir())) == 3
        shutil.rmtree(place / made)
    assert sorted(path.name for path in place.iterdir()) == ["crz", "latents"]


def test_a_folder_of_samples_does_not_hide_the_built_in_model_of_its_name(exported, tmp_path, monkeypatch, capsys):
    from crvae.storage.folders import BUILT_IN, local_folder

    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "000000.png").write_bytes(b"")
    assert local_folder("faces") == BUILT_IN / "faces"
    assert main(["sample", "./faces", "--out", "grid.png"]) == 2
    assert "faces holds no model" in capsys.readouterr().err
    (tmp_path / "faces" / "config.yaml").write_text("stage: 1")
    assert main(["sample", "faces", "--out", "grid.png"]) == 2, "a run that has no model yet"
    assert "faces holds no model" in capsys.readouterr().err
    shutil.copytree(exported, tmp_path / "emoji" / "model")
    assert local_folder("emoji") == Path("emoji/model")
    shutil.copytree(exported, tmp_path / "faces", dirs_exist_ok=True)
    assert local_folder("faces") == Path("faces")
