"""What commands refuse before they work, and what they keep: pictures too large for their format, interrupted completions, latents."""

from __future__ import annotations

import copy
import fcntl
import json
import os

import pytest
from PIL import Image

from crvae.cli import main


def test_a_picture_that_its_format_cannot_hold_is_refused_before_the_work(
    exported, pictures, tmp_path, monkeypatch, capsys
):
    from crvae import pictures as module
    from crvae.tasks import sampling

    def never(*_):
        raise AssertionError("worked before it refused")

    monkeypatch.setattr(sampling, "samples", never)
    out = tmp_path / "big.webp"
    assert main(["sample", str(exported), "--count", "9000", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert f"--out {out} is too large: 546 x 19,144 pixels, and .webp holds at most 16,383 a side. Name it .png" in said
    words = ["reconstruct", str(exported), "--data", str(pictures), "--out", str(out)]
    monkeypatch.setitem(module.LONGEST_SIDE, ".webp", 6 * 66 + 2)  # 3 pairs in one row
    assert main(words) == 0
    capsys.readouterr()
    monkeypatch.setitem(module.LONGEST_SIDE, ".webp", 6 * 66 + 1)
    monkeypatch.setattr("crvae.models.autoencoder.Autoencoder.reconstruct", never)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "398 x 87 pixels" in said
    with Image.open(out) as picture:
        assert picture.size == (398, 87)


def test_a_misspelt_mask_is_refused_before_the_images_are_read(exported, tmp_path, capsys):
    words = ["complete", str(exported), "--images", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"), "--mask"]
    for mask, says in (
        ("uper", "--mask uper is unknown (did you mean 'upper'?)"),
        ("upper,upper", "--mask names upper twice"),
    ):
        assert main([*words, mask]) == 2
        assert says in capsys.readouterr().err


@pytest.fixture
def halted(exported, pictures, tmp_path, monkeypatch):
    """A completion of two masks that was interrupted behind the first: the command, without its masks, and its folder."""
    from crvae.tasks import completion_folder

    real, done = completion_folder.complete, []

    def interrupted(*arguments, **options):
        if done:
            raise KeyboardInterrupt
        done.append(real(*arguments, **options))
        return done[-1]

    command = ["complete", str(exported), "--images", str(pictures), "--restarts", "1", "--steps", "1"]
    command += ["--out", str(tmp_path / "out"), "--mask"]
    with monkeypatch.context() as patch:
        patch.setattr(completion_folder, "complete", interrupted)
        assert main([*command, "upper,lower"]) == 130
    return command, tmp_path / ".out.partial"


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_interrupted_completion_of_another_request_is_kept(halted, exported, tmp_path, capsys):
    command, folder = halted
    before = content(folder)
    for options in (["center"], ["upper,lower", "--seed", "1"], ["upper,lower", "--count", "2"]):
        capsys.readouterr()
        assert main([*command, *options]) == 2
        said = capsys.readouterr().err
        assert f"{folder} holds an interrupted completion of another request" in said
        assert f"({exported}, --mask upper,lower, done: upper)" in said
        assert "Delete that folder, or choose another --out" in said
        assert said.count("\n") == 1
    assert content(folder) == before
    assert main([*command, "upper,lower"]) == 0
    assert not folder.exists()
    assert (tmp_path / "out" / "lower").is_dir()
    assert not (tmp_path / "out" / "state.json").exists()


def test_a_folder_with_no_mask_done_gives_way_but_files_of_others_stay(halted, tmp_path, capsys):
    command, folder = halted
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"masks": {}}))
    assert main([*command, "center"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {
        "center",
        "blended",
        "comparison",
        "occluded",
        "original",
        "restarts",
    }
    (tmp_path / "out").rename(tmp_path / "first")
    for name in ("mine.txt", "state.json"):
        folder.mkdir()
        (folder / name).write_text("mine")
        assert main([*command, "center"]) == 2
        assert f"{folder} holds {name}, which is not of an interrupted completion" in capsys.readouterr().err
        assert (folder / name).read_text() == "mine"
        (folder / name).unlink()
        folder.rmdir()
    (folder / "original").mkdir(parents=True)  # what crvae 1.0 left before its first mask was done
    assert main([*command, "center"]) == 0


def test_two_completions_into_one_folder_are_one_too_many(halted, capsys):
    command, folder = halted
    before, handle = content(folder), os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert main([*command, "upper,lower"]) == 2
    assert "another process is completing images into" in capsys.readouterr().err
    assert content(folder) == before
    os.close(handle)
    assert main([*command, "upper,lower"]) == 0


def test_a_folder_that_appears_meanwhile_does_not_cost_the_work(halted, tmp_path, monkeypatch, capsys):
    from crvae.tasks import completion_folder

    command, folder = halted
    real = completion_folder.complete

    def disturbed(*arguments, **options):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").touch()
        return real(*arguments, **options)

    monkeypatch.setattr(completion_folder, "complete", disturbed)
    assert main([*command, "upper,lower"]) == 2
    assert "already exists" in capsys.readouterr().err
    assert set(json.loads((folder / "state.json").read_text())["masks"]) == {"upper", "lower"}
    (tmp_path / "out").rename(tmp_path / "other")
    assert main([*command, "upper,lower"]) == 0  # neither mask is completed again


def test_decode_refuses_latents_of_another_model_and_names_a_run_that_is_gone(
    exported, model, pictures, tmp_path, monkeypatch, capsys
):
    from crvae.storage.models import save

    monkeypatch.chdir(tmp_path)
    other = copy.deepcopy(model)
    save(tmp_path / "run", other, recipe="test", images=0)
    assert main(["encode", "run", "--images", str(pictures), "z.safetensors"]) == 0
    next(other.parameters()).data.add_(1)
    save(tmp_path / "run", other, recipe="test", images=1)
    assert main(["decode", "z.safetensors"]) == 2
    assert "the latents were made by model" in capsys.readouterr().err
    assert main(["decode", "z.safetensors", "--run", str(exported)]) == 0
    (tmp_path / "run").rename(tmp_path / "moved")
    assert main(["decode", "z.safetensors", "--out", "again"]) == 2
    assert "made the latents, run, is not there any more: give its new place with --run" in capsys.readouterr().err
    assert main(["decode", "z.safetensors", "--run", str(exported), "--out", "again"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("OUT --limit 11", "--limit must be 12 or more, the size of a file's header, got 11"),
        ("OUT --bytes -1", "--bytes must be 12 or more"),
        ("OUT.crz", "OUT OUT.crz is one file, and --images PICTURES has several images"),
        ("OUT --bytes 90 --data NOWHERE", "--data NOWHERE does not exist"),
    ],
)
def test_encode_refuses_before_it_encodes(words, says, exported, pictures, tmp_path, monkeypatch, capsys):
    from crvae.tasks import profiling

    def never(*_):
        raise AssertionError("encoded before it refused")

    monkeypatch.setattr(profiling, "posterior_of", never)
    monkeypatch.chdir(tmp_path)
    pictures.rename("PICTURES")
    assert main(["encode", str(exported), "--images", "PICTURES", "--format", "crz", *words.split()]) == 2
    assert says in capsys.readouterr().err


def test_one_image_of_a_folder_is_one_file(exported, pictures, tmp_path):
    words = ["encode", str(exported), "--images", str(pictures), "--format", "crz", str(tmp_path / "one.crz")]
    assert main([*words, "--count", "1"]) == 0
    assert (tmp_path / "one.crz").is_file()
