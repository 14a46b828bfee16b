"""Table 2's judge on faces: masks where the card says, attributes and KID of what was filled in."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from crvae.cli import main
from crvae.config.stage1 import DiscriminatorConfig, ModelConfig
from crvae.models import Autoencoder, PaperDiscriminator
from crvae.storage.models import save
from crvae.training.classifier import Classifier, ClassifierConfig
from crvae.training.classifier import save as save_classifier
from experiments import completion

COUNT = 20
SEARCH = {"steps": 2, "restarts": 1, "tau": 0}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Data with boxes and attributes, two models, a classifier, and a judge of few images."""
    monkeypatch.setattr(completion, "JUDGED", COUNT)
    generator, lines = np.random.default_rng(0), ["file,tone"]
    (tmp_path / "pictures").mkdir()
    for number in range(300):
        image = generator.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "pictures" / f"{number}.png")
        lines.append(f"{number}.png,{('dark', 'light')[number % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    options = ["--size", "32", "--workers", "1", "--labels", str(tmp_path / "labels.csv")]
    assert main(["prepare", str(tmp_path / "pictures"), str(tmp_path / "data"), *options]) == 0
    card = json.loads((tmp_path / "data" / "card.json").read_text())
    assert card["splits"]["validation"]["count"] >= COUNT
    card["boxes"] = {"eyes": [0.25, 0.25, 0.5, 0.75], "hat": [0, 0, 0.25, 1]}
    (tmp_path / "data" / "card.json").write_text(json.dumps(card))
    for seed, name in enumerate(("one", "other")):
        torch.manual_seed(seed)
        model = Autoencoder(ModelConfig(latent="recurrent", size=32, width=2, latent_channels=8, steps=4)).eval()
        config = DiscriminatorConfig(kernels=5, kernel_size=3, group=4)
        discriminator = PaperDiscriminator(config, model.config, None).eval()
        save(tmp_path / name, model, recipe="test", images=0, discriminator=discriminator)
    kinds = {"tone": ["dark", "light"], "side": ["left", "right"]}
    save_classifier(tmp_path / "c", Classifier(ClassifierConfig(backbone="small", attributes=kinds)), {})
    return tmp_path


def test_faces_are_judged_by_masks_and_attributes_of_their_own(place, capsys, monkeypatch):
    one, other, work = str(place / "one"), str(place / "other"), place / "work"
    compared, preferred = [], completion.preferred
    monkeypatch.setattr(
        completion,
        "preferred",
        lambda *sides: compared.append([side.mean().item() for side in sides]) or preferred(*sides),
    )
    work.mkdir()
    completion.judge(one, other, str(place / "data"), str(place / "c"), work, SEARCH)
    table = json.loads((work / "judge.json").read_text())
    assert list(table["masks"]) == ["right-half", "eyes", "hat"]
    for values in table["masks"].values():
        assert set(values["means"]) == {"hidden_error", "distance", "agreement", "confidence"}
        for model in range(2):
            shares = [part["agreement"]["value"] for part in values["attributes"][model].values()]
            assert np.mean(shares) == pytest.approx(values["means"]["agreement"][model])
            assert values["kid"][model]["low"] <= values["kid"][model]["value"] <= values["kid"][model]["high"]
    means = [pair for values in table["masks"].values() for pair in values["means"].items()]
    signs = {"hidden_error": -1, "distance": -1, "agreement": 1, "confidence": 1}  # less error is better
    expected = [[signs[name] * mean for mean in pair] for name, pair in means]
    np.testing.assert_allclose(compared, expected, rtol=1e-4)
    grey = 128
    for mask, hidden in (("eyes", np.s_[8:16, 8:24]), ("hat", np.s_[:8])):
        file = next((work / "judge" / "one" / mask / "occluded" / mask).glob("*.png"))
        expected = np.asarray(Image.open(work / "judge" / "one" / mask / "original" / file.name)).copy()
        expected[hidden] = grey
        assert (np.asarray(Image.open(file)) == expected).all()
    printed = capsys.readouterr().out
    assert printed.count("| KID of the completed images |") == 3
    assert printed.count("| tone |") == printed.count("| side |") == 3
