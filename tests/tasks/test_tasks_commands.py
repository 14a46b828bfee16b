"""The commands as users type them, on a small model: what they write, and the one sentence they say when they cannot."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from crvae.cli import main
from crvae.tasks.completion import Completions
from crvae.tasks.completion_folder import _losses
from crvae.tasks.inputs import Images


def test_sample_writes_the_same_images_as_python(exported, model, tmp_path, capsys):
    out = tmp_path / "samples"
    assert main(["sample", str(exported), "--count", "5", "--seed", "3", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [f"{index:06d}.png" for index in range(5)]
    image = np.asarray(Image.open(out / "000004.png")).astype(int)
    expected = ((model.sample(5, seed=3)[4] + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(image - expected).max() <= 1
    assert main(["sample", str(exported), "--count", "5", "--out", str(tmp_path / "grid.png")]) == 0
    assert Image.open(tmp_path / "grid.png").size == (3 * 34 + 2, 2 * 34 + 2)
    assert capsys.readouterr().out == ""


def test_reconstruct_shows_pairs(exported, pictures, tmp_path, capsys):
    assert main(["reconstruct", str(exported), "--data", str(pictures), "--out", str(tmp_path / "r.png")]) == 0
    assert Image.open(tmp_path / "r.png").width == 6 * 66 + 2
    assert "3 images, mean squared error" in capsys.readouterr().err


def test_complete_writes_everything_it_promises(exported, model, pictures, tmp_path):
    out = tmp_path / "completed"
    drawn = np.full((32, 32), 255, np.uint8)
    drawn[:8] = 0
    Image.fromarray(drawn).save(tmp_path / "hat.png")
    masks = f"lower,0:0:0.5:0.5,{tmp_path / 'hat.png'}"
    options = ["--mask", masks, "--restarts", "2", "--steps", "6", "--feather", "2", "--out", str(out)]
    assert main(["complete", str(exported), "--images", str(pictures), *options]) == 0
    report = json.loads((out / "completions.json").read_text())
    assert list(report["masks"]) == ["lower", "rectangle-0-0-0.5-0.5", "hat"]
    for mask, images in report["masks"].items():
        for name, restarts in images.items():
            assert [restart["total"] for restart in restarts] == sorted(restart["total"] for restart in restarts)
            for kind in (mask, f"blended/{mask}", f"occluded/{mask}", f"restarts/{mask}"):
                assert (out / kind / f"{name}.png").is_file()
        assert (out / "comparison" / mask / "001.png").is_file()
    given, completed, blended, occluded = (
        np.asarray(Image.open(out / kind / "picture1.png")).astype(int)
        for kind in ("original", "lower", "blended/lower", "occluded/lower")
    )
    assert (given == np.asarray(Image.open(pictures / "picture1.png"))).all()
    assert (blended[:16] == given[:16]).all()
    assert (occluded[16:] == 128).all()
    error = ((completed[16:] - given[16:]) / 127.5) ** 2
    reported = report["masks"]["lower"]["picture1"][0]["hidden_error"]
    assert error.mean() == pytest.approx(reported, rel=0.05, abs=1e-3)
    visible = (((completed[:16] - given[:16]) / 127.5) ** 2).sum()
    assert visible == pytest.approx(report["masks"]["lower"]["picture1"][0]["reconstruction"], rel=0.05, abs=0.05)


def test_an_interrupted_completion_goes_on_and_ends_the_same(exported, pictures, tmp_path, monkeypatch, capsys):
    from crvae.tasks import completion_folder

    options = ["--mask", "upper,lower", "--restarts", "1", "--steps", "2"]
    command = ["complete", str(exported), "--images", str(pictures), *options, "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    real, masks_done = completion_folder.complete, []

    def interrupted(*arguments, **options):
        if len(masks_done) == 1:
            raise KeyboardInterrupt
        masks_done.append(real(*arguments, **options))
        return masks_done[-1]

    monkeypatch.setattr(completion_folder, "complete", interrupted)
    assert main([*command, str(tmp_path / "parts")]) == 130
    assert "Run the same command again" in capsys.readouterr().err
    assert not (tmp_path / "parts").exists()
    monkeypatch.setattr(completion_folder, "complete", real)
    assert main([*command, str(tmp_path / "parts")]) == 0
    files = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.png")}
    assert files == {path.relative_to(tmp_path / "parts") for path in (tmp_path / "parts").rglob("*.png")}
    assert all((tmp_path / "whole" / f).read_bytes() == (tmp_path / "parts" / f).read_bytes() for f in files)
    assert not list(tmp_path.glob(".*"))


def test_completions_serve_a_preference_study(exported, pictures, tmp_path):
    from crvae.web.study.sources import completions

    folders = []
    for name in ("one", "other"):
        out = tmp_path / name
        options = ["--mask", "upper,lower", "--restarts", "1", "--steps", "1", "--out", str(out)]
        assert main(["complete", str(exported), "--images", str(pictures), *options]) == 0
        folders.append(str(out))
    shown = completions(folders, 3, 0)
    assert set(shown) == {"upper", "lower"}
    assert all(occluded is not None for questions in shown.values() for _, occluded in questions)


def test_traverse_writes_grids_animations_and_profiles(exported, pictures, tmp_path):
    run = ["traverse", str(exported)]
    own = ["--images", str(pictures)]
    assert main([*run, "progressive", "--count", "2", "--out", str(tmp_path / "p.png")]) == 0
    assert main([*run, "style", "--step", "2", *own, "--columns", "3", "--out", str(tmp_path / "s.gif")]) == 0
    assert Image.open(tmp_path / "s.gif").n_frames == 5
    assert main([*run, "interpolate", "--columns", "3", "--out", str(tmp_path / "i.webp")]) == 0
    assert Image.open(tmp_path / "i.webp").n_frames == 3


def test_encode_and_decode_are_reconstruct_in_two_parts(exported, model, pictures, tmp_path):
    file = tmp_path / "z.safetensors"
    assert main(["encode", str(exported), "--images", str(pictures), str(file)]) == 0
    assert main(["decode", str(file)]) == 0
    x = torch.stack(
        [
            torch.from_numpy(np.array(Image.open(path)).astype(np.float32)).permute(2, 0, 1) / 127.5 - 1
            for path in sorted(pictures.iterdir())
        ]
    )
    expected = ((model.reconstruct(x) + 1) * 127.5).round()
    for index in range(3):
        image = np.array(Image.open(tmp_path / "z" / f"picture{index}.png")).astype(int)
        assert np.abs(image.transpose(2, 0, 1) - expected[index].numpy()).max() <= 1
    assert main(["decode", str(file), "--steps", "1", "--out", str(tmp_path / "first")]) == 0
    first = np.array(Image.open(tmp_path / "first" / "picture0.png")).astype(int)
    assert main(["decode", str(file), "--steps", "0", "--out", str(tmp_path / "none")]) == 0
    shown = np.asarray(Image.open(tmp_path / "none" / "picture0.png")).astype(int)
    average = ((model.decode(model.prior.mean[None])[0] + 1) * 127.5).round().permute(1, 2, 0)
    assert np.abs(shown - average.numpy()).max() <= 1
    anytime = ((model.decode(model.encode(x).mean, steps=1)[0] + 1) * 127.5).round().permute(1, 2, 0)
    assert np.abs(first - anytime.numpy()).max() <= 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("sample NOWHERE --out OUT", "neither a run"),
        ("sample RUN --count 0 --out OUT", "--count"),
        ("sample RUN --seed -1 --out OUT", "--seed"),
        ("sample RUN --out PICTURES", "already exists"),
        ("sample RUN --out NOWHERE/grid.png", "does not exist"),
        ("reconstruct RUN --data NOWHERE --out OUT.png", "--data NOWHERE does not exist"),
        ("reconstruct RUN --data PICTURES --out OUT.gif", "--out must end in .png or .jpg or .jpeg or .webp"),
        ("sample RUN --out OUT.gif", "must end in .png or .jpg"),
        ("complete RUN --images PICTURES --mask nose --out OUT", "--mask nose is unknown"),
        ("complete RUN --images PICTURES --mask 0:0:1:1 --out OUT", "every pixel"),
        ("complete RUN --images PICTURES --mask NOWHERE.png --out OUT", "cannot be read"),
        ("complete RUN --images PICTURES --mask PICTURES/picture0.png --out OUT", "--mask"),
        ("complete RUN --images NOWHERE --mask upper --out OUT", "--images NOWHERE does not exist"),
        ("complete RUN --images PICTURES --mask upper --out PICTURES", "--out PICTURES already exists"),
        ("complete RUN --images PICTURES --mask upper --restarts 0 --out OUT", "--restarts"),
        ("complete RUN --images PICTURES --mask upper --gamma nan --out OUT", "--gamma"),
        ("complete RUN --images PICTURES --mask uper --out OUT", "did you mean 'upper'?"),
        ("traverse RUN style --step 9 --out OUT.png", "--step must be from 1 to 4"),
        ("traverse RUN style --out OUT.tif", "--out must end in .png or .jpg or .jpeg or .gif or .webp"),
        ("traverse RUN profile --out OUT.png", "--images is missing"),
        (
            "traverse RUN rate --data PICTURES --step 99 --out OUT",
            "--step 99 is for interpolate and style, not for rate.",
        ),
        (
            "traverse RUN rate --data PICTURES --seed -5 --out OUT",
            "--seed -5 is for progressive, interpolate, style, profile and",
        ),
        ("traverse RUN rate --data PICTURES --images x --out OUT", "--images x is for progressive"),
        ("traverse RUN rate --data PICTURES --count 0 --out OUT", "--count must be from 2 to 10,000, got 0"),
        ("traverse RUN attributes --images x --out OUT", "not for attributes. Pass --data"),
        ("traverse RUN attributes --pixel-limit 5 --out OUT", "--pixel-limit 5.0 is for"),
        (
            "traverse RUN progressive --columns 3 --out OUT.png",
            "--columns 3 is for interpolate and style, not for progressive.",
        ),
        ("traverse RUN progressive --data PICTURES --out OUT.png", "not for progressive. Pass --images"),
        ("traverse RUN progressive --classifier x --out OUT.png", "--classifier x is for"),
        (
            "traverse RUN profile --step 1 --out OUT.png",
            "--step 1 is for interpolate and style, not for profile. Leave it out",
        ),
        ("traverse RUN progressive --count 0 --out OUT.png", "--count must be from 1 to 10,000, got 0"),
        ("traverse RUN style --count -1 --out OUT.png", "--count must be from 1 to 10,000, got -1"),
        ("traverse RUN style --seed -1 --out OUT.png", "--seed must be from 0 to 2^63 - 1, got -1"),
        (f"traverse RUN attributes --seed {2**63} --out OUT", "--seed must be from 0 to 2^63 - 1"),
        ("traverse RUN profile --images PICTURES --out other.png", "other.json, for the same numbers, already exists"),
        ("traverse RUN profile --images PICTURES --out folder.png", "--out folder.json is a folder"),
        ("traverse RUN style --columns 1 --out OUT.png", "--columns"),
        ("encode RUN --images PICTURES --steps 5 OUT.safetensors", "--steps must be from 1 to 4"),
        ("encode RUN --images PICTURES OUT.npy", "OUT must end in .safetensors"),
        ("encode RUN --images PICTURES OUT.crz", "is for --format crz. Pass --format crz, or name a file that ends in"),
        (
            "traverse RUN profile --images PICTURES/picture1.png --out OUT.png",
            "picture1.png gives one image, and intervals",
        ),
        (
            "traverse RUN rate --data PICTURES/picture1.png --out OUT",
            "--data PICTURES/picture1.png gives one image, and",
        ),
        ("decode NOWHERE", "does not exist"),
        ("decode /", "--out is missing: the folder / has no name to make one from"),
    ],
)
def test_what_users_can_mend_is_one_sentence(words, says, exported, model, pictures, tmp_path, monkeypatch, capsys):
    from crvae.storage.models import save

    monkeypatch.chdir(tmp_path)
    pictures.rename("PICTURES")
    save(tmp_path / "BARE", model, recipe="test", images=0)
    (tmp_path / "RUN").symlink_to(exported)
    (tmp_path / "other.json").write_text("numbers of another program")
    (tmp_path / "folder.json").mkdir()
    if "picture0.png" in words:  # a photograph is taken for a mask: all of it bright or dark
        Image.new("RGB", (32, 32), "white").save("PICTURES/picture0.png")
    before = {str(path) for path in tmp_path.rglob("*")}
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("crvae: ")
    assert error.count("\n") == 1
    assert {str(path) for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    "words",
    [
        "reconstruct RUN --data PICTURES --out OUT.png",
        "complete RUN --images PICTURES --mask upper --restarts 1 --steps 1 --out OUT",
        "encode RUN --images PICTURES OUT.safetensors",
        "traverse RUN progressive --images PICTURES --out OUT.png",
    ],
)
def test_the_pixel_limit_decides_what_is_read(words, exported, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pictures.rename("PICTURES")
    (tmp_path / "RUN").symlink_to(exported)
    Image.new("RGB", (64, 32), "red").save("PICTURES/wide.png")
    assert main([*words.split(), "--pixel-limit", "0"]) == 2
    assert "--pixel-limit must lie between 0.001 and 1000, got 0.0" in capsys.readouterr().err
    assert main([*words.split(), "--pixel-limit", "0.00102"]) == 2
    assert "no usable image" in capsys.readouterr().err
    assert main([*words.split(), "--pixel-limit", "0.002"]) == 0
    said = capsys.readouterr().err
    assert said.count("skipped: ") == 1
    assert "wide.png has 0.002048 megapixels, above the limit of 0.002" in said


def test_a_large_photograph_is_read_as_prepare_stores_it(model, tmp_path):
    """20 megapixels, above the size from which both make pictures smaller while they decode."""
    from crvae.data import open_data, prepare_source
    from crvae.tasks.inputs import read_images

    folder = tmp_path / "photographs"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("one.jpg", "other.png"):
        small = Image.fromarray(generator.integers(0, 256, (20, 25, 3), dtype=np.uint8))
        small.resize((5000, 4000), Image.Resampling.BICUBIC).save(folder / name)
    prepare_source(folder, tmp_path / "data", size=32, workers=1)
    data = open_data(tmp_path / "data")
    stored = {
        key: image
        for split in map(data.split, data.card.splits)
        for key, image in zip(split.keys(range(len(split))), split.images(range(len(split))), strict=True)
    }
    read = read_images(str(folder), model, option="--images", limit=9)
    assert read.names == ["one", "other"]
    for x, key in zip(read.x, ("one.jpg", "other.png"), strict=True):
        assert torch.equal(((x + 1) * 127.5).round().to(torch.uint8), stored[key])


def test_the_profile_is_a_plot_and_json_alike(exported, pictures, tmp_path):
    words = ["traverse", str(exported), "profile", "--images", str(pictures), "--out", str(tmp_path / "p.png")]
    assert main(words) == 0
    body = json.loads((tmp_path / "p.json").read_text())
    assert (body["steps"], body["images"]) == (4, 3)
    assert Image.open(tmp_path / "p.png").width > 800
    assert main([*words, "--seed", str(2**63 - 1)]) == 0, "an earlier profile is replaced"
    assert json.loads((tmp_path / "p.json").read_text())["seed"] == 2**63 - 1


def test_the_largest_seed_and_options_at_their_defaults_are_taken(exported, tmp_path):
    words = ["--count", "1", "--seed", str(2**63 - 1), "--columns", "8", "--pixel-limit", "200"]
    for walk in ("progressive", "interpolate", "style"):
        assert main(["traverse", str(exported), walk, *words, "--out", str(tmp_path / f"{walk}.png")]) == 0


def test_the_hidden_error_is_of_hidden_pixels_alone():
    x, mask = torch.zeros(2, 3, 4, 4), torch.ones(4, 4)
    mask[2:] = 0
    completed = x[:, None].repeat(1, 2, 1, 1, 1)
    completed[..., :2, :] = 0.9  # visible: of no account here
    completed[0, 1, :, 2:] = 0.5
    steps = torch.zeros(2, 2, dtype=torch.long)
    completions = Completions(completed, torch.zeros(2, 2, 1), {"total": torch.zeros(2, 2)}, steps)
    found = _losses(Images(x, ["a", "b"]), mask, completions)
    assert [[restart["hidden_error"] for restart in found[name]] for name in ("a", "b")] == [[0, 0.25], [0, 0]]
