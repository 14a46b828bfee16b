"""The classifier: it learns what can be learnt, is told apart by its report, and is loaded back exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crvae.cli import main
from crvae.data import open_data
from crvae.errors import UserError
from crvae.pictures import from_8_bit
from crvae.training.classifier import load_classifier


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """Two classes that anyone can tell apart: discs and stripes, in random colours."""
    folder = tmp_path_factory.mktemp("labelled")
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    shapes = {"discs": (rows - 16) ** 2 + (columns - 16) ** 2 < 120, "stripes": rows % 8 < 4}
    for name, shape in shapes.items():
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(40):
            image = np.where(shape[:, :, None], *generator.integers(0, 256, (2, 3))).astype(np.uint8)
            Image.fromarray(image).save(folder / "pictures" / name / f"{number}.png")
    source, out = str(folder / "pictures"), str(folder / "data")
    assert main(["prepare", source, out, "--size", "32", "--workers", "1"]) == 0
    return folder / "data"


@pytest.fixture(scope="module")
def classifier(labelled, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("classifier") / "c"
    assert main(["classifier", str(labelled), "--out", str(out)]) == 0
    return out


def test_it_learns_and_its_report_is_about_held_out_images(classifier, labelled):
    report = json.loads((classifier / "report.json").read_text())["attributes"]["label"]
    held_out = open_data(labelled).split("validation")
    assert report["images"] == len(held_out)
    assert report["classes"] == ["discs", "stripes"]
    assert report["accuracy"] > 0.9
    assert report["low"] <= report["accuracy"] <= report["high"]
    model = load_classifier(classifier)
    logits = model(from_8_bit(held_out.everything()))
    labels = held_out.labels(range(len(held_out)))
    assert report["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    confusion = np.zeros((2, 2), int)
    for truth, guess in zip(labels.tolist(), logits.argmax(1).tolist(), strict=True):
        confusion[truth, guess] += 1
    assert report["confusion"] == confusion.tolist()
    loss = torch.nn.functional.cross_entropy(logits, labels)
    assert report["log_loss"] == pytest.approx(float(loss), abs=1e-4)


def test_the_inception_score_is_named_by_it(classifier, labelled, trained, capsys):
    options = ["--scores", "is", "--images", "20", "--split", "train", "--json"]
    assert main(["evaluate", str(trained), "--data", str(labelled), *options, "--classifier", str(classifier)]) == 0
    score = json.loads(capsys.readouterr().out)["scores"]["is"]
    assert score["name"].startswith("inception score (efficientnet-lite0, fine-tune on label of data ")
    assert 1 <= score["value"] <= 2
    assert len(score["features_sha256"]) == 64


def test_a_linear_probe_leaves_the_backbone_as_it_was(labelled, tmp_path):
    from crvae.frozen.backbones import backbone, digest

    out = tmp_path / "probe"
    assert main(["classifier", str(labelled), "--out", str(out), "--method", "linear-probe"]) == 0
    assert digest(load_classifier(out).backbone) == digest(backbone("efficientnet-lite0"))


def test_a_folder_of_weights_that_is_something_else(trained, classifier, tmp_path):
    with pytest.raises(UserError, match="is not a classifier"):
        load_classifier(trained / "model")
    with pytest.raises(UserError, match=r"config\.json is missing"):
        load_classifier(tmp_path)
    config = json.loads((classifier / "config.json").read_text())
    config["classifier"]["attributes"]["label"].append("third")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((classifier / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match="shape"):
        load_classifier(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--attributes", "species"], "no label column 'species'"),
        (["--backbone", "nothing"], "there is no backbone 'nothing'"),
        (["--epochs", "-1"], "--epochs"),
        (["--attributes", ","], "--attributes ,"),
        (["--attributes", "label,label"], "twice"),
        (["--attributes", "all"], "has no attributes"),
        (["--backbone", "small", "--method", "linear-probe"], "needs pretrained weights"),
        (["--rate", "nan"], "--rate"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(labelled, tmp_path, capsys, options, said):
    out = tmp_path / "c"
    assert main(["classifier", str(labelled), "--out", str(out), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_data_without_labels_and_a_taken_name(colour, labelled, classifier, tmp_path, capsys):
    assert main(["classifier", str(colour), "--out", str(tmp_path / "c")]) == 2
    assert "no label" in capsys.readouterr().err
    assert main(["classifier", str(labelled), "--out", str(classifier)]) == 2
    assert "already exists" in capsys.readouterr().err
