"""The judge of completions: what it says of the originals themselves, of strangers, and counted out by hand."""

from __future__ import annotations

import pytest
import torch

from crvae.evaluation.completed import judged
from crvae.pictures import from_8_bit
from crvae.training.classifier import Classifier, ClassifierConfig


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    kinds = {"hair": ["none", "long", "short"], "skin": ["dark", "light"]}
    model = Classifier(ClassifierConfig(backbone="small", method="from-scratch", attributes=kinds)).eval()
    with torch.no_grad():
        model.head.weight.mul_(100)
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    colours = torch.randint(0, 256, (2, 40, 3, 1, 1), generator=generator)
    return (colours + torch.randint(-30, 31, (2, 40, 3, 32, 32), generator=generator)).clamp(0, 255).byte()


def test_originals_agree_with_themselves(classifier, images):
    found = judged(classifier, images[0], images[0])
    assert found.agrees.all()
    assert torch.equal(found.confidence, found.original_confidence)
    for part in found.table().values():
        assert part["agreement"]["value"] == 1
        assert part["confidence"] == part["original_confidence"]


def test_what_it_says_is_what_counting_gives(classifier, images):
    original, completed = images
    found, table = judged(classifier, original, completed), judged(classifier, original, completed).table()
    assert found.attributes == ("hair", "skin")
    views = [classifier(from_8_bit(part)) for part in (original, completed)]
    for a, (name, columns) in enumerate({"hair": slice(3), "skin": slice(3, 5)}.items()):
        before, after = (view[:, columns].softmax(1) for view in views)
        same = [int(p.argmax()) == int(q.argmax()) for p, q in zip(before, after, strict=True)]
        assert 0 < sum(same) < 40  # else this test shows nothing
        assert found.agrees[:, a].tolist() == same
        assert table[name]["agreement"]["value"] == sum(same) / 40
        assert table[name]["confidence"]["value"] == pytest.approx(sum(float(p.max()) for p in after) / 40, abs=1e-5)
        pairs = [int(p.argmax()) == int(q.argmax()) for p in before for q in after]
        assert table[name]["chance"] == pytest.approx(sum(pairs) / 1600)
