"""Features: the same image gives the same numbers, whatever its company; those of real images are kept and checked."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crvae.cache import cache
from crvae.cli import main
from crvae.data import open_data
from crvae.errors import UserError
from crvae.evaluation.features import BATCH, Extractor, feature_extractor, spaced
from crvae.frozen.backbones import KINDS, Backbone, backbone, digest

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """The packages stay where they are; features go to a folder of this test."""
    monkeypatch.setattr("crvae.evaluation.features.cache", lambda: tmp_path / "cache")


class Counting(nn.Module):
    """A small real extractor that knows how often it ran."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 4)
        self.runs = 0

    def forward(self, x):
        self.runs += 1
        assert len(x) == BATCH
        return self.layer(x.mean((2, 3)))


def stored(n: int, size: int = 32, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    return torch.randint(0, 256, (n, channels, size, size), generator=generator).to(torch.uint8)


def test_an_image_has_the_same_features_alone_and_in_any_company():
    extractor = feature_extractor("efficientnet-lite0", CPU)
    images = stored(34)
    features = extractor(images)
    assert features.shape == (34, 1280)
    assert torch.equal(extractor(images[33:]), features[33:])
    assert torch.equal(extractor(images[:5]), features[:5])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(extractor(images[:5]), features[:5])


def test_grey_images_are_shown_in_three_equal_channels():
    extractor = feature_extractor("efficientnet-lite0", CPU)
    grey = stored(2, 28, channels=1)
    assert torch.equal(extractor(grey), extractor(grey.expand(-1, 3, -1, -1)))


def test_real_features_are_computed_once_for_a_dataset_and_a_network(colour, tmp_path):
    network = Counting()
    split = open_data(colour).split("train")
    extractor = Extractor(network, "counting", digest(network), "none")
    first = extractor.of_real(split, 32, 20)
    assert torch.equal(first, extractor(split.images(spaced(len(split), 20))))
    runs = network.runs
    assert torch.equal(extractor.of_real(split, 32, 20), first)
    assert network.runs == runs
    extractor.of_real(split, 32, 21)
    assert network.runs == runs + 1
    other = Extractor(network, "counting", "f" * 64, "none")
    other.of_real(split, 32, 20)
    assert network.runs == runs + 2

    for file in (tmp_path / "cache" / "features").iterdir():
        file.write_bytes(b"damaged")
    assert torch.equal(extractor.of_real(split, 32, 20), first)


def test_a_cache_that_cannot_be_written_costs_time_only(colour, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    network = Counting()
    extractor = Extractor(network, "counting", digest(network), "none")
    assert extractor.of_real(open_data(colour).split("train"), 32, 20).shape == (20, 4)


def test_spaced_rows_cover_the_split():
    assert spaced(10, 10).tolist() == list(range(10))
    assert spaced(10, 3).tolist() == [0, 3, 6]
    assert len(set(spaced(443, 200).tolist())) == 200


def test_the_digest_sees_every_weight():
    one, other = Counting(), Counting()
    assert digest(one) == digest(other)
    with torch.no_grad():
        other.layer.bias[3] += 1e-6
    assert digest(one) != digest(other)


def test_lite0_gets_what_its_package_says_it_expects():
    """RGB (x - 127) / 128 on 0..255."""
    network = Backbone("probe", KINDS["efficientnet-lite0"])
    seen = []
    network.network = nn.Sequential(nn.Identity())
    network.network.register_forward_hook(lambda module, arguments, output: seen.append(output))
    images = torch.rand(1, 3, 128, 128) * 2 - 1
    network(images)
    torch.testing.assert_close(seen[0], ((images + 1) * 127.5 - 127) / 128)


@pytest.mark.parametrize("name", ["nothing", "timm:nothing", ""])
def test_an_unknown_backbone_is_one_sentence(name):
    with pytest.raises(UserError, match=r"there is no backbone|timm has no model"):
        backbone(name)


def test_a_timm_backbone_without_weights_has_its_own_normalisation():
    network = backbone("timm:resnet18", pretrained=False)
    assert (network.width, network.size) == (512, 224)
    assert network.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_unknown_features_end_the_command_with_one_sentence(trained, colour, capsys):
    options = ["--split", "train", "--features", "nothing"]
    assert main(["evaluate", str(trained), "--data", str(colour), *options]) == 2
    assert "there is no backbone 'nothing'" in capsys.readouterr().err
    assert cache()  # the real one, untouched
