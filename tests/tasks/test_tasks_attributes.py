"""What blocks know and decide of attributes: found where it is planted, not found where it is spread, refused where it makes no sense."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import multivariate_normal

from crvae.cli import main
from crvae.errors import UserError
from crvae.tasks.attribute_report import heat_map, table
from crvae.tasks.attributes import Faces, attributes, deciding_block
from crvae.tasks.probing import probe
from crvae.training.classifier import Classifier, ClassifierConfig, save

NAMES = ("north-west", "north-east", "south-west", "south-east")


def quadrants(x):
    """The mean brightness of the four quarters of images: `b 4`."""
    return torch.stack([part.mean((1, 2, 3)) for half in x.chunk(2, 2) for part in half.chunk(2, 3)], 1)


def classify(x):
    return {name: (bright > 0).long() for name, bright in zip(NAMES, quadrants(x).T, strict=True)}


@pytest.fixture
def planted(make):
    """A function of an order of z's values -> a model whose code number t, the sum of 32 of them, paints quarter t.

    In their own order these 32 are block t; in another they come from all blocks.
    """

    def build(order):
        model, generator = make[0](), torch.Generator().manual_seed(5)

        def decode(z, steps=None):
            codes = z.flatten(1)[:, order].unflatten(1, (4, 32)).sum(2) / 32**0.5
            rows = [torch.cat([code.view(-1, 1, 1, 1).expand(-1, 3, 16, 16) for code in half], 3)
                    for half in (codes.T[:2], codes.T[2:])]  # fmt: skip
            return torch.cat(rows, 2).clamp(-1, 1)

        def encode(x):
            z = torch.empty(len(x), 128)
            noise = torch.randn(len(x), 4, 32, generator=generator)
            z[:, order] = (quadrants(x)[:, :, None] / 32**0.5 + noise - noise.mean(2, keepdim=True)).flatten(1)
            posterior = type(model).encode(model, x)
            return type(posterior)(z.view(-1, 8, 4, 4), posterior.log_variance, 4)

        model.decode, model.encode = decode, encode
        return model

    return build


@pytest.fixture
def faces(planted):
    def some(count, seed):
        x = planted(torch.arange(128)).decode(torch.randn(count, 128, generator=torch.Generator().manual_seed(seed)))
        return Faces(x, classify(x))

    return some(2000, 1), some(400, 2)


def test_a_planted_code_is_found_by_both_measures(planted, faces):
    model = planted(torch.arange(128))
    found = attributes(model, *faces, classify, samples=400)
    for t, name in enumerate(NAMES):
        known, decided = found["known"][name], found["decided"][name]
        own = [part["value"] for part in known["block"]]
        assert own[t] > 0.95
        assert max(own[:t] + own[t + 1 :]) < 0.65
        assert known["first"][t]["value"] > 0.95
        assert t == 0 or known["first"][t - 1]["value"] < 0.65
        assert decided["block"] == t + 1
        assert decided["here"]["value"] == pytest.approx(0.5, abs=0.1)
        assert decided["elsewhere"]["value"] == decided["others_here"]["value"] == 0
        assert decided["lead"]["low"] > 0.3
        assert [part["value"] > 0 for part in decided["redrawn"]] == [place == t for place in range(4)]
        assert deciding_block(model, classify, name, 60) == t + 1
        assert found["seen"][name]["images"]["value"] == 1
    json.dumps(found, allow_nan=False)
    panels = heat_map(found, "planted").axes
    shown = [[float(text.get_text()) for text in panel.texts] for panel in panels]
    assert [round(value) for value in shown[0]] == torch.eye(4).flatten().tolist()
    assert [round(value) for value in shown[1]] == torch.ones(4, 4).tril().T.flatten().tolist()
    assert [value > 0.5 for value in shown[2]] == torch.eye(4).bool().flatten().tolist()
    found["decided"]["north-west"]["anew"]["value"] = 0.04  # 16 of 400 samples
    assert [text.get_text() for text in heat_map(found, "planted").axes[2].texts[:5]] == [*"----", "0.00"]
    part = heat_map({key: found[key] for key in ("steps", "images", "known")}, "what is read alone").axes
    assert [[text.get_text() for text in axis.texts] for axis in part] == [
        [text.get_text() for text in axis.texts] for axis in panels[:2]
    ]
    rows = [line.split("|")[1:-1] for line in table(found, "planted").splitlines() if line.startswith("| north-west")]
    assert [row[column].strip() for row, column in zip(rows, (2, 2), strict=True)] == ["1", "1"]


def test_a_model_with_shuffled_blocks_is_seen_to_have_no_block_for_anything(planted, faces):
    model = planted(torch.randperm(128, generator=torch.Generator().manual_seed(3)))
    found = attributes(model, *faces, classify, samples=400)
    for name in NAMES:
        own = [part["value"] for part in found["known"][name]["block"]]
        assert max(own) < 0.8  # a quarter of the code each
        assert found["known"][name]["first"][-1]["value"] > 0.9  # nothing is lost, only spread
        decided = found["decided"][name]
        assert decided["lead"]["low"] < 0.1
        assert decided["elsewhere"]["value"] > 0.1
        assert decided["others_here"]["value"] > 0.1


def test_a_share_of_changes_is_what_counting_gives(make):
    model = make[0]("convolutional")
    z, other = model.prior.sample(50, 0), model.prior.sample(50, 1)
    threshold = quadrants(model.decode(z)).median(0).values
    look = lambda x: {name: (column > middle).long() for name, column, middle in zip(NAMES, quadrants(x).T, threshold, strict=True)}  # noqa: E731  # fmt: skip
    found = attributes(
        model, Faces(model.decode(z), look(model.decode(z))), Faces(model.decode(z), look(model.decode(z))), look, 50
    )
    before = look(model.decode(z))
    for t in range(4):
        mixed = z.clone()
        mixed[:, 2 * t : 2 * t + 2] = other[:, 2 * t : 2 * t + 2]
        after = look(model.decode(mixed))
        changes = {name: (after[name] != before[name]).float() for name in NAMES}
        for name in NAMES:
            decided = found["decided"][name]
            assert decided["redrawn"][t]["value"] == pytest.approx(changes[name].mean().item())
            rest = sum(changes[n].mean().item() for n in NAMES if n != name) / 3
            assert decided["others"][t]["value"] == pytest.approx(rest, abs=1e-6)


@pytest.mark.parametrize("latent", ["dense", "convolutional", "recurrent"])
def test_every_construction_has_blocks_or_groups(make, latent):
    model = make[0](latent)
    x = model.sample(60, seed=3)
    look = lambda x: {"bright": (x.mean((1, 2, 3)) > 0).long()}  # noqa: E731
    values = {"bright": torch.arange(60) % 2}
    found = attributes(model, Faces(x, values), Faces(x, values), look, samples=20)
    assert len(found["known"]["bright"]["first"]) == len(found["decided"]["bright"]["redrawn"]) == 4
    assert "others_here" not in found["decided"]["bright"]  # there is no other
    json.dumps(found, allow_nan=False)
    assert "| bright |" in table(found, latent)


def test_one_block_has_nothing_to_be_compared_with(make):
    with pytest.raises(UserError, match="one block"):
        deciding_block(make[0](steps=1), classify, NAMES[0], 8)


def test_the_probe_is_the_discriminant_written_out(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 4, (200,), generator=generator) + 1  # no image has 0
    centres = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 1], [4, 1, 0]])  # on a line, the middle ones too
    train = centres[values] + 0.4 * torch.randn(200, 3, generator=generator)
    test = centres[torch.arange(1, 5).repeat(25)] + 0.4 * torch.randn(100, 3, generator=generator)
    monkeypatch.setattr("crvae.tasks.probing.SHRINKAGES", (1e-9,))
    x, y = train.double().numpy(), test.double().numpy()
    own = [x[values.numpy() == value] for value in range(1, 5)]
    within = sum((part - part.mean(0)).T @ (part - part.mean(0)) for part in own) / len(x)
    densities = [multivariate_normal(part.mean(0), within).logpdf(y) + np.log(len(part) / len(x)) for part in own]
    expected = np.argmax(densities, 0) + 1
    assert set(expected) == {1, 2, 3, 4}
    assert probe(train, values[:, None], test)[:, 0].tolist() == expected.tolist()


def test_unknown_values_and_dead_channels_teach_the_probe_nothing_false():
    generator = torch.Generator().manual_seed(0)
    train = torch.randn(300, 6, generator=generator)
    train[:, 5] = 0
    values = torch.stack([(train[:, 0] > 0).long(), (train[:, 1] > 0).long(), torch.full((300,), -1)], 1)
    values[::3, 0] = -1
    test = torch.randn(200, 6, generator=generator)
    read = probe(train, values, test)
    for place in (0, 1):
        assert (read[:, place] == (test[:, place] > 0)).float().mean() > 0.9
    assert (read[:, 2] == -1).all()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Prepared data with and without attributes, and classifiers of theirs and of others."""
    folder = tmp_path_factory.mktemp("faces")
    (folder / "pictures").mkdir()
    generator, lines = np.random.default_rng(0), ["file,tone,side"]
    for number in range(120):
        image = generator.integers(0, 60, (32, 32, 3)) + 150 * (number % 2)
        image[:, 16 * (number // 2 % 2) :] //= 2
        Image.fromarray(image.astype(np.uint8)).save(folder / "pictures" / f"{number}.png")
        lines.append(f"{number}.png,{('dark', 'light')[number % 2]},{('left', 'right')[number // 2 % 2]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    prepare = ["prepare", str(folder / "pictures")]
    options = ["--size", "32", "--workers", "1"]
    assert main([*prepare, str(folder / "data"), *options, "--labels", str(folder / "labels.csv")]) == 0
    assert main([*prepare, str(folder / "bare"), *options]) == 0
    assert main([*prepare, str(folder / "small"), "--size", "16", "--workers", "1"]) == 0
    kinds = {
        "classifier": {"tone": ["dark", "light"], "side": ["left", "right"]},
        "half": {"tone": ["dark", "light"], "side": ["left", "middle", "right"]},
        "other": {"hat": ["none", "red"]},
    }
    for name, kind in kinds.items():
        torch.manual_seed(0)
        save(folder / name, Classifier(ClassifierConfig(backbone="small", method="from-scratch", attributes=kind)), {})
    return folder


def test_the_command_writes_a_map_a_table_and_numbers(exported, place, tmp_path, capsys):
    options = ["--data", str(place / "data"), "--count", "20"]
    for classifier, names in (("classifier", ["side", "tone"]), ("half", ["tone"])):
        out = tmp_path / classifier
        words = ["attributes", *options, "--classifier", str(place / classifier), "--out", str(out)]
        assert main(["traverse", str(exported), *words]) == 0
        assert sorted(path.name for path in out.iterdir()) == ["attributes.json", "attributes.md", "attributes.png"]
        found = json.loads((out / "attributes.json").read_text())
        assert sorted(found["known"]) == sorted(found["decided"]) == sorted(found["seen"]) == names
        assert found["images"]["samples"] == 20
        assert (out / "attributes.md").read_text().count("| tone |") == 2
    assert "without side: not known to --classifier" in capsys.readouterr().err


def test_style_rows_are_of_the_block_that_decides(exported, model, place, tmp_path, capsys):
    from crvae.training.classifier import load_classifier

    words = ["style", "--attribute", "tone", "--classifier", str(place / "classifier"), "--count", "2"]
    assert main(["traverse", str(exported), *words, "--columns", "3", "--out", str(tmp_path / "s.png")]) == 0
    step = deciding_block(model, load_classifier(place / "classifier").values, "tone", 256)
    assert f"time step {step} changes tone most often" in capsys.readouterr().err
    words = ["style", "--step", str(step), "--count", "2", "--columns", "3", "--out", str(tmp_path / "t.png")]
    assert main(["traverse", str(exported), *words]) == 0
    assert (tmp_path / "s.png").read_bytes() == (tmp_path / "t.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("attributes --data BARE --classifier CLASSIFIER", "has no attributes"),
        ("attributes --data DATA --classifier OTHER", "--classifier knows hat, not the attributes of"),
        ("attributes --data SMALL --classifier CLASSIFIER", "the model has colour images of 32"),
        ("attributes --data DATA --classifier NOWHERE", "NOWHERE"),
        ("attributes --data NOWHERE --classifier CLASSIFIER", "do not exist"),
        ("attributes --data DATA", "--classifier is missing"),
        ("attributes --classifier CLASSIFIER", "--data is missing"),
        ("attributes --data DATA --classifier CLASSIFIER --count 3", "--count must be from 20"),
        ("attributes --data DATA --classifier CLASSIFIER --out DATA", "already exists"),
        ("style --attribute tone", "give --classifier, and no --step"),
        ("style --classifier CLASSIFIER --out OUT.png", "is for --attribute with style. Pass --attribute"),
        (
            "profile --images DATA --attribute tone --out OUT.png",
            "--attribute tone is one of the attributes of --classifier",
        ),
        ("style --attribute hat --classifier CLASSIFIER --out OUT.png", "--attribute hat is unknown"),
        ("style --data DATA --out OUT.png", "is for attributes and rate, not for style. Pass --images"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(words, says, exported, place, tmp_path, capsys):
    places = {"BARE": place / "bare", "DATA": place / "data", "SMALL": place / "small", "NOWHERE": tmp_path / "nowhere"}
    places |= {"CLASSIFIER": place / "classifier", "OTHER": place / "other", "OUT.png": tmp_path / "out.png"}
    arguments = [str(places.get(word, word)) for word in words.split()]
    if "--out" not in arguments:
        arguments += ["--out", str(tmp_path / "out")]
    says = says.replace("NOWHERE", str(tmp_path / "nowhere"))
    assert main(["traverse", str(exported), *arguments]) == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()
