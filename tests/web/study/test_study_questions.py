"""What `crvae study create` writes, checked on the files themselves."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import crvae
from crvae.cli import main
from crvae.web.study.folder import Question, Study, read_key, read_study
from crvae.web.study.questions import create

COLOURS = ["vae-gan", "crvae-gan", "crvae-gan-mi"]


def picture(study: Path, question: int, place: int) -> np.ndarray:
    return np.asarray(Image.open(study / "images" / f"{question:04d}-{place}.png"))


def painter(image: np.ndarray) -> str:
    """The model, by its colour (conftest.paint), scrambled or not."""
    return COLOURS[int(image.astype(float).mean((0, 1)).argmax())]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_seed_same_bytes_and_other_seed_other_questions(tmp_path, sample_runs):
    create(sample_runs, "sample", 10, 3, tmp_path / "a")
    create(sample_runs, "sample", 10, 3, tmp_path / "b")
    create(sample_runs, "sample", 10, 4, tmp_path / "c")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (tmp_path / "a/key.json").read_bytes() != (tmp_path / "c/key.json").read_bytes()


def test_key_names_the_painter_of_every_image(study):
    key = json.loads((study / "key.json").read_text())
    for number, places in enumerate(key["places"], 1):
        for place, model in enumerate(places, 1):
            assert key["models"][model] == painter(picture(study, number, place))


def test_blinded_no_model_outside_the_key_and_no_metadata_in_images(study):
    for name, content in contents(study).items():
        if name != "key.json":
            assert b"vae" not in content.lower()
            assert "vae" not in name.lower()
    for path in (study / "images").iterdir():
        image = Image.open(path)
        assert image.info == {}
        assert (image.mode, image.size) == ("RGB", (16, 16))


def test_pairs_use_every_image_once_and_balance_the_sides(tmp_path, sample_runs):
    create(sample_runs, "sample", 18, 0, tmp_path / "s")
    study = read_study(tmp_path / "s")
    key = read_key(tmp_path / "s", study)
    numbers = [number for number, question in enumerate(study.questions, 1) if question.kind == "pair"]
    shown = [picture(tmp_path / "s", number, place).tobytes() for number in numbers for place in (1, 2, 3)]
    assert len(numbers) == 18
    assert len(set(shown)) == 54
    orders = Counter(key.places[number - 1] for number in numbers)
    assert set(orders.values()) == {3}
    assert len(orders) == 6


def test_repeats_show_the_same_images_at_other_places(study):
    questions = read_study(study).questions
    repeats = [(number, question) for number, question in enumerate(questions, 1) if question.kind == "repeat"]
    assert len(repeats) == 1
    for number, question in repeats:
        assert questions[question.repeats - 1].kind == "pair"
        again = [picture(study, number, place).tobytes() for place in (1, 2, 3)]
        before = [picture(study, question.repeats, place).tobytes() for place in (1, 2, 3)]
        assert sorted(again) == sorted(before)
        assert again != before


def test_attention_questions_have_one_image_that_is_not_scrambled(study):
    questions = read_study(study).questions
    checks = [(number, question) for number, question in enumerate(questions, 1) if question.kind == "attention"]
    assert len(checks) == 2
    pairs = {
        picture(study, number, place).tobytes()
        for number, question in enumerate(questions, 1)
        if question.kind == "pair"
        for place in (1, 2, 3)
    }
    for number, question in checks:
        intact = [place for place in (1, 2, 3) if picture(study, number, place).tobytes() in pairs]
        assert intact == [question.answer]


def test_completions_pair_images_by_name_for_each_mask(tmp_path, completion_runs):
    occluded = Path(completion_runs[1]) / "occluded" / "lower"
    occluded.mkdir(parents=True)
    for number in range(12):
        Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(occluded / f"{number:03d}.png")
    create(completion_runs, "completion", 8, 1, tmp_path / "s")
    questions = read_study(tmp_path / "s").questions
    pairs = [(number, question) for number, question in enumerate(questions, 1) if question.kind == "pair"]
    assert Counter(question.group for _, question in pairs) == {"lower": 8, "right-half": 8}
    for number, question in pairs:
        brightest = [int(picture(tmp_path / "s", number, place).max()) for place in (1, 2)]
        assert brightest[0] == brightest[1]  # the gradient's end tells the number of the image
        assert question.context == (question.group == "lower")
        if question.context:
            assert 255 - brightest[0] == int(picture(tmp_path / "s", number, 0).max())


@given(pairs=st.integers(1, 40), seed=st.integers(0, 5), rater=st.integers(1, 10**6))
def test_order_is_a_permutation_that_spreads_the_checks(pairs, seed, rater):
    checks, repeats = -(-pairs // 8), -(-pairs // 16)
    questions = [Question(kind="pair", group="")] * pairs
    questions += [Question(kind="attention", group="", answer=1)] * checks
    questions += [Question(kind="repeat", group="", repeats=number + 1) for number in range(repeats)]
    study = Study(task="sample", seed=seed, alternatives=2, questions=tuple(questions))
    found = study.order(rater)
    assert sorted(found) == list(range(1, len(questions) + 1))
    assert found == study.order(rater)
    for number, question in enumerate(questions, 1):
        if question.kind == "repeat":
            assert found.index(question.repeats) < found.index(number)


def test_raters_meet_different_orders(study):
    assert len({tuple(read_study(study).order(rater)) for rater in range(1, 20)}) == 19


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--pairs", "21"], "has 20 images, --pairs 21 needs as many"),
        (["--pairs", "0"], "--pairs must be at least 1, got 0"),
        (["--task", "completion", "--pairs", "21"], "--runs have 20 images named alike, --pairs 21 needs more"),
    ],
)
def test_create_says_what_is_wrong_and_leaves_nothing(tmp_path, sample_runs, capsys, change, says):
    out = tmp_path / "out" / "study"
    args = ["study", "create", "--runs", *sample_runs, "--task", "sample", "--pairs", "4", "--out", str(out), *change]
    assert main(args) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()


def test_an_image_above_the_pixel_limit_is_refused(tmp_path, sample_runs, capsys):
    for run in sample_runs:
        for path in Path(run).iterdir():
            Image.open(path).resize((40, 30)).save(path)
    args = ["study", "create", "--runs", *sample_runs, "--task", "sample", "--pairs", "4", "--out"]
    assert main([*args, str(tmp_path / "study"), "--pixel-limit", "0.001"]) == 2
    assert "has 0.0012 megapixels, above the limit of 0.001" in capsys.readouterr().err
    assert main([*args, str(tmp_path / "study"), "--pixel-limit", "0.0012"]) == 0


@pytest.mark.parametrize("count", [1, 5])
def test_two_to_four_runs(tmp_path, sample_runs, capsys, count):
    runs = (sample_runs * 2)[:count]
    assert main(["study", "create", "--runs", *runs, "--task", "sample", "--out", str(tmp_path / "s")]) == 2
    assert f"--runs takes 2 to 4 runs or folders, got {count}" in capsys.readouterr().err


def test_one_run_twice_is_refused(tmp_path, sample_runs, capsys):
    runs = [sample_runs[0], sample_runs[0]]
    assert main(["study", "create", "--runs", *runs, "--task", "sample", "--out", str(tmp_path / "s")]) == 2
    assert "the same run twice" in capsys.readouterr().err


def test_sizes_that_give_the_model_away_are_refused(tmp_path, sample_runs, capsys):
    for path in Path(sample_runs[1]).iterdir():
        Image.open(path).resize((32, 16)).save(path)
    args = ["study", "create", "--runs", *sample_runs, "--task", "sample", "--pairs", "4", "--out", str(tmp_path / "s")]
    assert main(args) == 2
    assert "16x16 pixels where" in (error := capsys.readouterr().err)
    assert "32x16" in error
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_broken_image_is_named(tmp_path, sample_runs, capsys, content):
    for path in Path(sample_runs[2]).iterdir():
        path.write_bytes(content)
    args = ["study", "create", "--runs", *sample_runs, "--task", "sample", "--pairs", "4", "--out", str(tmp_path / "s")]
    assert main(args) == 2
    error = capsys.readouterr().err
    assert re.search(r"\d\d\d\.png (is empty|is not an image|is truncated).*: replace or remove it", error)
    assert len(error.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples"]


def test_an_existing_folder_is_not_overwritten(study, sample_runs, capsys):
    before = contents(study)
    assert (
        main(["study", "create", "--runs", *sample_runs, "--task", "sample", "--pairs", "4", "--out", str(study)]) == 2
    )
    assert "already exists" in capsys.readouterr().err
    assert contents(study) == before


def test_names_that_are_alike_become_the_paths_as_typed(tmp_path, sample_runs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for parent, source in (("a", sample_runs[0]), ("b", sample_runs[1])):
        (tmp_path / parent).mkdir()
        Path(source).rename(tmp_path / parent / "images")
    create(["a/images", "b/images"], "sample", 4, 0, tmp_path / "s")
    assert json.loads((tmp_path / "s/key.json").read_text())["models"] == ["a/images", "b/images"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("study.json", lambda text: text[: len(text) // 2]),
        ("study.json", lambda text: text.replace('"format": 1', '"format": 2')),
        ("study.json", lambda text: text.replace('"answer": 1', '"answer": 4')),
        ("key.json", lambda text: "{}"),
        ("key.json", lambda text: text.replace("   2", "   0")),
        ("images/0001-1.png", None),
        ("consent.txt", None),
    ],
)
def test_a_damaged_study_is_refused_in_one_sentence(study, capsys, name, damage):
    path = study / name
    if damage is None:
        path.unlink()
    else:
        before = path.read_text()
        path.write_text(damage(before))
        if path.read_text() == before:
            path.write_text(before.replace('"answer": 3', '"answer": 4').replace('"answer": 2', '"answer": 4'))
    assert main(["study", "serve", str(study), "--port", "1"]) == 2
    error = capsys.readouterr().err
    assert path.name in error
    assert len(error.strip().splitlines()) == 1


def test_runs_and_exported_folders_are_sampled(tmp_path, trained):
    exported = tmp_path / "exported"
    shutil.copytree(trained / "model", exported)
    create([str(trained), str(exported)], "sample", 4, 5, tmp_path / "s")
    drawn = crvae.load(str(trained)).sample(4, seed=5)
    expected = {((image + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy().tobytes() for image in drawn}
    study = read_study(tmp_path / "s")
    key = read_key(tmp_path / "s", study)
    assert key.models == ("run", "exported")
    for model in (0, 1):
        shown = {
            picture(tmp_path / "s", number, key.places[number - 1].index(model) + 1).tobytes()
            for number, question in enumerate(study.questions, 1)
            if question.kind == "pair"
        }
        assert shown == expected


def test_a_name_that_is_no_model_is_one_sentence(tmp_path, sample_runs, capsys):
    runs = [sample_runs[0], "no-such-model"]
    args = ["study", "create", "--runs", *runs, "--task", "sample", "--pairs", "4", "--out", str(tmp_path / "s")]
    assert main(args) == 2
    assert "no-such-model" in (error := capsys.readouterr().err)
    assert len(error.strip().splitlines()) == 1


def test_runs_are_no_completions(tmp_path, trained, completion_runs, capsys):
    runs = [completion_runs[0], str(trained)]
    args = ["study", "create", "--runs", *runs, "--task", "completion", "--pairs", "4", "--out", str(tmp_path / "s")]
    assert main(args) == 2
    assert "crvae complete RUN --out DIR" in capsys.readouterr().err


def test_what_crvae_complete_writes_is_what_a_study_reads(tmp_path, trained, colour):
    for seed in ("1", "2"):
        options = ["--mask", "upper,0.25:0.25:0.75:0.75", "--count", "4", "--steps", "2", "--restarts", "1"]
        out = ["--seed", seed, "--out", str(tmp_path / f"model{seed}")]
        assert main(["complete", str(trained), "--images", str(colour), *options, *out]) == 0
    create([str(tmp_path / "model1"), str(tmp_path / "model2")], "completion", 3, 0, tmp_path / "s")
    study = read_study(tmp_path / "s")
    pairs = [(number, question) for number, question in enumerate(study.questions, 1) if question.kind == "pair"]
    masks = sorted(path.name for path in (tmp_path / "model1" / "occluded").iterdir())
    assert sorted(question.group for _, question in pairs) == sorted(masks * 3)
    key = read_key(tmp_path / "s", study)
    for number, question in pairs:
        assert question.context
        occluded = picture(tmp_path / "s", number, 0)
        (name,) = (
            path.name
            for path in (tmp_path / "model1" / "occluded" / question.group).iterdir()
            if np.array_equal(np.asarray(Image.open(path)), occluded)
        )
        for place in (1, 2):
            source = tmp_path / key.models[key.model(number, place)] / question.group / name
            assert np.array_equal(np.asarray(Image.open(source)), picture(tmp_path / "s", number, place))
