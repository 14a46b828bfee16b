"""The layers that torch does not have, or has in a slower form; and the initial weights."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class CReLU(nn.Module):
    """Concatenated rectifier: positive and negative part side by side, `b c h w -> b (2 c) h w` (Shang et al. 2016)."""

    def forward(self, x: Float[Tensor, "b c *d"]) -> Float[Tensor, "b c2 *d"]:
        return F.relu_(torch.cat([x, -x], dim=1))


class TransposedConvolution(nn.ConvTranspose2d):
    """torch's, with another way to its bias's gradient: torch's own takes longer than the input's on a CPU in bf16."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:  # type: ignore[override]
        return self.transpose(x, self.weight)

    def transpose(self, x: Float[Tensor, "b c h w"], kernel: Float[Tensor, "c c2 k k"]) -> Float[Tensor, "b c2 h2 w2"]:
        options = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        bias = self.bias
        if bias is None or not self.training:
            return F.conv_transpose2d(x, kernel, bias, *options)  # type: ignore[arg-type]
        return _SumsToBias.apply(F.conv_transpose2d(x, kernel, bias.detach(), *options), bias)  # type: ignore[arg-type]


class SmoothTransposedConvolution(TransposedConvolution):
    """Doubling by repetition and a 3x3 convolution behind it, as the one transposed 4x4 convolution that both make up.

    A plain map comes out plain but at its border; a free 4x4 kernel draws a grid into it. Costs what a transposed convolution costs.
    """

    def __init__(self, inputs: int, outputs: int, padding: int = 1):
        super().__init__(inputs, outputs, 3, 2, padding)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return self.transpose(x, sum(F.pad(self.weight, shift) for shift in _SHIFTS))  # type: ignore[arg-type]


_SHIFTS = [(left, 1 - left, top, 1 - top) for left in (0, 1) for top in (0, 1)]


class _SumsToBias(torch.autograd.Function):
    """Passes maps that contain the bias already, and sums their gradient for it."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, bias: Tensor) -> Tensor:
        ctx.dtype = bias.dtype
        return maps.view_as(maps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return gradient, gradient.sum((0, 2, 3)).to(ctx.dtype)


class Offset(nn.Module):
    """A learned constant of the given shape, added to every image's features."""

    def __init__(self, *shape: int):
        super().__init__()
        self.bias = nn.Parameter(torch.empty(shape).uniform_(-0.01 * math.sqrt(3), 0.01 * math.sqrt(3)))

    def forward(self, x: Float[Tensor, " b *d"]) -> Float[Tensor, " b *d"]:
        return x + self.bias


class UnscaledDropout(nn.Module):
    """Drops whole channels (of maps) or single values (of vectors) and leaves the others as they are.

    Evaluation multiplies by the share kept instead, which is what training shows on average.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "b c *d"]) -> Float[Tensor, "b c *d"]:
        if not self.training:
            return x * (1 - self.rate)
        kept = torch.empty(x.shape[:2], device=x.device).bernoulli_(1 - self.rate)
        return x * kept.view(*kept.shape, *[1] * (x.ndim - 2)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class MinibatchDiscrimination(nn.Module):
    """Appends how close each image is to the others of its group (Salimans et al. 2016).

    A group is `group` consecutive images (0: the whole batch; a shorter last group is compared alone). Each of `kernels`
    statistics is the mean over the group, the image itself included, of exp(-|M_i - M_j|_1).
    """

    def __init__(self, features: int, kernels: int, kernel_size: int, group: int):
        super().__init__()
        self.project = nn.Linear(features, kernels * kernel_size)
        self.kernel_size = kernel_size
        self.group = group

    def forward(self, x: Float[Tensor, "b features"]) -> Float[Tensor, "b features_and_kernels"]:
        m = self.project(x).float()  # distances in fp32: exp amplifies the rounding error of a sum
        groups = m.split(self.group or len(m))
        if len(groups) > 1 and len(groups[-1]) == self.group:
            closeness = self._closeness(rearrange(m, "(n g) k -> n g k", g=self.group)).flatten(0, 1)
        else:
            closeness = torch.cat([self._closeness(part[None])[0] for part in groups])
        return torch.cat([x, closeness.to(x.dtype)], dim=1)

    def points(self, x: Float[Tensor, "b features"]) -> Float[Tensor, "b kernels s"]:
        """What the kernels compare of each image."""
        return rearrange(self.project(x).float(), "b (k s) -> b k s", s=self.kernel_size)

    def beside(
        self, x: Float[Tensor, "b features"], others: Float[Tensor, "g kernels s"]
    ) -> Float[Tensor, "b features_and_kernels"]:
        """The same, each image alone in a group with the images whose `points` are `others`."""
        distance = (self.points(x)[:, None] - others).abs().sum(-1)  # b g kernels
        closeness = (1 + torch.exp(-distance).sum(1)) / (1 + len(others))
        return torch.cat([x, closeness.to(x.dtype)], dim=1)

    def _closeness(self, m: Float[Tensor, "n g k"]) -> Float[Tensor, "n g kernels"]:
        m = rearrange(m, "n g (k s) -> n g k s", s=self.kernel_size)
        distance = (m[:, :, None] - m[:, None]).abs().sum(-1)  # n g g k
        return torch.exp(-distance).mean(2)


def initialise(module: nn.Module) -> None:
    """The release's initial weights for encoder, decoder and latent (specification, sections 2.4 and 3.7).

    Convolutions U(±sqrt(1/(k k out))), all their and the linear layers' biases 0, batch norm as torch has it,
    the LSTM's input-side forget gate opened by a bias of 1.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            bound = math.sqrt(1 / (layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels))
            nn.init.uniform_(layer.weight, -bound, bound)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.LSTM):
            for depth in range(layer.num_layers):
                with torch.no_grad():
                    getattr(layer, f"bias_ih_l{depth}")[layer.hidden_size : 2 * layer.hidden_size] = 1
