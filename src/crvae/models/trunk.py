"""The convolutional encoder and decoder around the bottleneck (specification, sections 2.1, 2.2 and 6).

64 pixels are the paper's; other sizes take away or add stride-2 stages next to the image; 28 pixels are the release's
digits network. `block` is convolution, batch norm, activation everywhere.
"""

from __future__ import annotations

import math

from torch import nn

from crvae.config.stage1 import ModelConfig
from crvae.models.layers import CReLU, SmoothTransposedConvolution, TransposedConvolution


def block(config: ModelConfig, convolution: nn.Module, activation: nn.Module) -> nn.Sequential:
    norm = nn.BatchNorm2d(
        convolution.out_channels,  # type: ignore[arg-type]
        eps=config.batch_norm_eps,
        momentum=config.batch_norm_momentum,
    )
    return nn.Sequential(convolution, norm, activation)


def leaky() -> nn.LeakyReLU:
    """In place: batch norm, before it, has no use for its own output, and memory traffic is what activations cost."""
    return nn.LeakyReLU(0.1, inplace=True)


def encoder(config: ModelConfig) -> nn.Sequential:
    """x `b c h w` -> trunk features `b (8b) 4 4`."""
    b = config.width
    if config.size == 28:
        third = 3 if config.release and config.latent == "recurrent" else 5
        return nn.Sequential(
            block(config, nn.Conv2d(config.channels, b, 5, 2, 3), CReLU()),  # 2b 15 15
            block(config, nn.Conv2d(2 * b, 2 * b, 3, 1, 1), leaky()),
            block(config, nn.Conv2d(2 * b, 2 * b, 3, 2, 1), CReLU()),  # 4b 8 8
            block(config, nn.Conv2d(4 * b, 4 * b, 3, 1, 1), leaky()),
            block(config, nn.Conv2d(4 * b, 4 * b, third, 2, third // 2), CReLU()),  # 8b 4 4
            block(config, nn.Conv2d(8 * b, 8 * b, 3, 1, 1), leaky()),
        )
    stages: list[nn.Module] = [CReLU(), block(config, nn.Conv2d(2 * config.channels, b, 5, 2, 2), CReLU())]  # 2b, half
    for _ in range(_halvings(config) - 4):
        stages.append(block(config, nn.Conv2d(2 * b, b, 3, 2, 1), CReLU()))  # 2b: only above 64 pixels
    if config.size >= 64:
        stages.append(block(config, nn.Conv2d(2 * b, 2 * b, 3, 2, 1), CReLU()))  # 4b 16 16
    width = 4 * b if config.size >= 64 else 2 * b
    return nn.Sequential(
        *stages,
        block(config, nn.Conv2d(width, 4 * b, 3, 2, 1), CReLU()),  # 8b 8 8
        block(config, nn.Conv2d(8 * b, 8 * b, 3, 1, 1), leaky()),
        block(config, nn.Conv2d(8 * b, 8 * b, 3, 2, 1), CReLU()),  # 16b 4 4
        block(config, nn.Conv2d(16 * b, 8 * b, 3, 1, 1), leaky()),  # 8b 4 4
    )


def decoder(config: ModelConfig) -> nn.Sequential:
    """`b (8b) 4 4` -> `b c h w`, before the last tanh (Gaussian) or sigmoid (Bernoulli)."""
    b = config.width

    def up(inputs: int, outputs: int, padding: int = 1) -> nn.Sequential:
        if config.upsampling == "smooth":
            return block(config, SmoothTransposedConvolution(inputs, outputs, padding), leaky())
        return block(config, TransposedConvolution(inputs, outputs, 4, 2, padding), leaky())

    def same(width: int) -> nn.Sequential:
        return block(config, nn.Conv2d(width, width, 3, 1, 1), leaky())

    if config.size == 28:
        return nn.Sequential(
            up(8 * b, 8 * b), same(8 * b),  # 8b 8 8
            up(8 * b, 4 * b), same(4 * b),  # 4b 16 16
            up(4 * b, 2 * b, padding=2), same(2 * b),  # 2b 30 30
            nn.Conv2d(2 * b, config.channels, 3),  # c 28 28
        )  # fmt: skip
    return nn.Sequential(
        up(8 * b, 8 * b), same(8 * b),  # 8b 8 8
        up(8 * b, 4 * b),  # 4b 16 16
        up(4 * b, 2 * b),  # 2b 32 32
        *(up(2 * b, 2 * b) for _ in range(_halvings(config) - 3)),  # 2b h w
        same(2 * b),
        nn.Conv2d(2 * b, config.channels, 3, 1, 1),  # c h w
    )  # fmt: skip


def _halvings(config: ModelConfig) -> int:
    """Stride-2 stages between the image and the 4x4 bottleneck."""
    return int(math.log2(config.size // 4))
