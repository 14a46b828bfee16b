"""A classifier of several attributes: one head each, unknown values, files from before, and the score that names one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from crvae.cli import main
from crvae.data import open_data
from crvae.errors import UserError
from crvae.pictures import from_8_bit
from crvae.training.classifier import Classifier, ClassifierConfig, load_classifier, save
from crvae.training.classifying import _error, _moved

SHAPES, COLOURS = ("disc", "stripes"), {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (40, 40, 220)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Shapes in three colours on random grey; the label table leaves some colours out and gives all one `maker`."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "pictures").mkdir()
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    masks = {"disc": (rows - 16) ** 2 + (columns - 16) ** 2 < 120, "stripes": rows % 8 < 4}
    lines = ["file,shape,colour,maker"]
    for number in range(240):
        shape, colour = SHAPES[number % 2], list(COLOURS)[number // 2 % 3]
        image = np.where(masks[shape][:, :, None], COLOURS[colour], int(generator.integers(0, 256)))
        Image.fromarray(image.astype(np.uint8)).save(folder / "pictures" / f"{number}.png")
        lines.append(f"{number}.png,{shape},{colour if number % 5 else ''},us")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    options = ["--size", "32", "--workers", "1", "--labels", str(folder / "labels.csv")]
    assert main(["prepare", str(folder / "pictures"), str(folder / "data"), *options]) == 0
    return folder / "data"


@pytest.fixture(scope="module")
def classifier(drawn, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("classifier") / "c"
    options = ["--attributes", "all", "--backbone", "small", "--epochs", "12"]
    assert main(["classifier", str(drawn), "--out", str(out), *options]) == 0
    return out


def test_every_attribute_has_a_head_and_its_accuracy_is_that_of_the_held_out_images(classifier, drawn):
    report = json.loads((classifier / "report.json").read_text())
    assert report["method"] == "from-scratch"
    assert set(report["attributes"]) == {"shape", "colour"}  # `maker` has one value: nothing to learn
    held_out, model = open_data(drawn).split("validation"), load_classifier(classifier)
    seen = model.values(from_8_bit(held_out.everything()))
    for name, found in report["attributes"].items():
        labels = held_out.labels(range(len(held_out)), name)
        known = labels >= 0
        assert found["classes"] == list(held_out.classes(name))
        assert found["images"] == int(known.sum())
        assert found["accuracy"] == pytest.approx(float((seen[name] == labels)[known].float().mean()), abs=1e-6)
        assert found["chance"] == pytest.approx(float(labels[known].bincount().max() / known.sum()))
        assert found["accuracy"] > max(0.8, found["chance"])
        assert sum(map(sum, found["confusion"])) == found["images"]
    assert report["attributes"]["colour"]["images"] < report["attributes"]["shape"]["images"]


def test_one_attribute_alone_gives_its_own_logits(classifier):
    model = load_classifier(classifier)
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    whole, start = model(images), 0
    for name, values in model.config.attributes.items():
        one = model.only(name)
        assert one.classes == values
        assert torch.equal(one(images), whole[:, start : start + len(values)])
        start += len(values)
    assert start == whole.shape[1]
    with pytest.raises(UserError, match=r"--attribute is missing: the classifier knows"):
        model.only()
    with pytest.raises(UserError, match="--attribute hats is unknown"):
        model.only("hats")


def test_the_inception_score_is_of_the_attribute_that_is_named(classifier, drawn, trained, capsys):
    options = ["--scores", "is", "--images", "20", "--split", "train", "--json", "--classifier", str(classifier)]
    found = {}
    for name in ("shape", "colour"):
        assert main(["evaluate", str(trained), "--data", str(drawn), *options, "--attribute", name]) == 0
        found[name] = json.loads(capsys.readouterr().out)["scores"]["is"]
        assert found[name]["name"].startswith(f"inception score (small, from-scratch on {name} of data ")
    assert found["shape"]["features_sha256"] != found["colour"]["features_sha256"]
    assert (found["shape"]["unit"], found["colour"]["unit"]) == ("of 2 classes", "of 3 classes")
    assert main(["evaluate", str(trained), "--data", str(drawn), *options]) == 2
    assert "--attribute is missing" in capsys.readouterr().err


def test_features_of_the_classifier_are_its_backbones(classifier, drawn, trained, capsys):
    from crvae.frozen.backbones import digest

    options = ["--scores", "kid", "--images", "20", "--split", "train", "--json", "--features", "classifier"]
    assert main(["evaluate", str(trained), "--data", str(drawn), *options, "--classifier", str(classifier)]) == 0
    score = json.loads(capsys.readouterr().out)["scores"]["kid"]
    assert score["name"].startswith("KID (small, from-scratch on 2 attributes of data ")
    assert score["features_sha256"] == digest(load_classifier(classifier).backbone)
    assert main(["evaluate", str(trained), "--data", str(drawn), *options]) == 2
    assert "--features classifier needs --classifier" in capsys.readouterr().err


def test_unknown_values_teach_nothing():
    config = ClassifierConfig(backbone="small", attributes={"a": ["x", "y"], "b": ["p", "q", "r"]})
    model = Classifier(config)
    logits = torch.randn(4, 5, requires_grad=True)
    values = torch.tensor([[0, -1], [1, -1], [-1, -1], [1, -1]])
    error = _error(model, logits, values)
    known = logits[[0, 1, 3], :2]
    torch.testing.assert_close(error, F.cross_entropy(known, torch.tensor([0, 1, 1])))
    error.backward()
    assert logits.grad is not None
    assert logits.grad[2].abs().sum() == 0
    assert logits.grad[:, 2:].abs().sum() == 0


def test_a_moved_batch_is_the_images_elsewhere():
    images = torch.rand(2, 3, 16, 16)
    for seed in range(8):
        moved = _moved(images, torch.Generator().manual_seed(seed))
        assert moved.shape == images.shape
        inner = moved[..., 4:12, 4:12]
        places = [
            (r, c) for r in range(2, 7) for c in range(2, 7) if torch.equal(inner, images[..., r : r + 8, c : c + 8])
        ]
        assert len(places) == 1


def test_a_classifier_of_one_column_from_before_opens(tmp_path):
    model = Classifier(ClassifierConfig(backbone="small", method="from-scratch", attributes={"label": ["x", "y"]}))
    save(tmp_path / "c", model.eval(), {})
    path = tmp_path / "c" / "config.json"
    body = json.loads(path.read_text())
    del body["classifier"]["attributes"]
    body["classifier"] |= {"column": "label", "classes": ["x", "y"]}
    path.write_text(json.dumps(body))
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(load_classifier(tmp_path / "c").only()(images), model(images))


def test_mistakes_are_one_sentence(drawn, tmp_path, capsys):
    for names, said in (("maker", "have one value of 'maker'"), ("shape,hats", "no label column 'hats'")):
        options = ["--out", str(tmp_path / "c"), "--backbone", "small", "--attributes", names]
        assert main(["classifier", str(drawn), *options]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
