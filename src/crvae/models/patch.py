"""The patchified residual trunk: no convolution but the last ones runs at full size, so a step costs a fraction of the paper's.

encoder: the image is cut into patches (pixel-unshuffle), then residual blocks at every side down to 4, halved in between.
decoder: the same backwards; it doubles by a 1x1 convolution and a pixel-shuffle, and ends in two convolutions near full size.

Sides are 16, 8, 4 up to 64 pixels and 32, 16, 8, 4 above; channels there are 2b, 3b, 6b, 8b with b = `width`. An image whose
size is not a multiple of its patches is padded with its edge on the way in and cut on the way out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crvae.config.stage1 import ModelConfig

CHANNELS = {32: 2, 16: 3, 8: 6, 4: 8}
"""Side of the maps -> their channels, in base widths b."""

BLOCKS = 2
"""Residual blocks at every side."""

BRANCH = 0.1
"""Scale of the last convolution of every residual branch at the start: a new trunk is close to a plain pyramid."""


class Patches(nn.Module):
    """`b c h w -> b (c p p) h/p w/p`, padded with the edge's pixels to `side` patches of `patch` pixels."""

    def __init__(self, size: int, side: int, patch: int):
        super().__init__()
        self.patch = patch
        self.margin = margin(size, side * patch)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        if any(self.margin):
            x = F.pad(x, (*self.margin, *self.margin), mode="replicate")
        return F.pixel_unshuffle(x, self.patch)


class Crop(nn.Module):
    """Cuts the margin that `Patches` added: `b c h w -> b c size size`."""

    def __init__(self, size: int, padded: int):
        super().__init__()
        self.size = size
        self.first = margin(size, padded)[0]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        kept = slice(self.first, self.first + self.size)
        return x[..., kept, kept]


class Residual(nn.Module):
    """x + convolution(act(norm(convolution(act(norm(x)))))): `b k h w -> b k h w`."""

    def __init__(self, config: ModelConfig, width: int):
        super().__init__()
        self.branch = nn.Sequential(
            *_active(config, width), nn.Conv2d(width, width, 3, padding=1, bias=False),
            *_active(config, width), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        return x + self.branch(x)


def encoder(config: ModelConfig) -> nn.Sequential:
    """x `b c h w` -> trunk features `b (8b) 4 4`."""
    sides, patch = layout(config.size)
    width = CHANNELS[sides[0]] * config.width
    layers: list[nn.Module] = [
        Patches(config.size, sides[0], patch),
        nn.Conv2d(config.channels * patch**2, width, 3, padding=1),
    ]
    for side in sides:
        inputs, width = width, CHANNELS[side] * config.width
        if side != sides[0]:
            layers.append(nn.Conv2d(inputs, width, 2, 2))
        layers += [Residual(config, width) for _ in range(BLOCKS)]
    return nn.Sequential(*layers, *_active(config, width))


def decoder(config: ModelConfig) -> nn.Sequential:
    """`b (8b) 4 4` -> `b c h w`, before the last tanh (Gaussian) or sigmoid (Bernoulli)."""
    sides, patch = layout(config.size)
    width = CHANNELS[sides[-1]] * config.width
    layers: list[nn.Module] = []
    for side in reversed(sides):
        inputs, width = width, CHANNELS[side] * config.width
        if side != sides[-1]:
            layers += [nn.Conv2d(inputs, 4 * width, 1), nn.PixelShuffle(2)]
        layers += [Residual(config, width) for _ in range(BLOCKS)]
    last = 2 if patch % 2 == 0 else 1  # pixels of a position of the maps before the last shuffle
    fine = 2 * config.width // (1 if last == 2 else 2)
    return nn.Sequential(
        *layers,
        *_active(config, width),
        nn.Conv2d(width, fine * (patch // last) ** 2, 3, padding=1),
        nn.PixelShuffle(patch // last),  # at half size, or full where the patch is odd
        _leaky(),
        nn.Conv2d(fine, config.channels * last**2, 3, padding=1),
        nn.PixelShuffle(last),
        Crop(config.size, sides[0] * patch),
    )


def initialise(network: nn.Module) -> None:
    """Kaiming's normal weights, biases 0; residual branches start small, and so does the image."""
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        nn.init.kaiming_normal_(layer.weight, a=0.1)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, Residual):
                layer.branch[-1].weight.mul_(BRANCH)  # type: ignore[union-attr, operator]


def layout(size: int) -> tuple[tuple[int, ...], int]:
    """The sides of the maps, largest first, and the pixels of a patch's side, for images of `size` pixels."""
    sides = (16, 8, 4) if size <= 64 else (32, 16, 8, 4)
    return sides, -(-size // sides[0])


def margin(size: int, padded: int) -> tuple[int, int]:
    """Pixels added before and after each row and column."""
    return (padded - size) // 2, (padded - size + 1) // 2


def _active(config: ModelConfig, width: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(width, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum), _leaky()


def _leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(0.1, inplace=True)
