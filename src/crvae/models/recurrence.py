"""The channel recurrence: blocks of channels through an LSTM (section 3.2)."""

from __future__ import annotations

import itertools
from numbers import Integral
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crvae.errors import UserError


class ChannelRecurrence(nn.Module):
    """Passes features through an LSTM, block of channels after block of channels: `b c h w -> b c' h w`.

    The channels are sliced into `steps` blocks of consecutive channels; each, flattened (channel, row, column), is one
    time step's input, and each output is projected back to a block of maps of the same height and width.

    >>> recurrence = ChannelRecurrence(64, spatial=(4, 4), steps=8)
    >>> recurrence(torch.zeros(2, 64, 4, 4)).shape
    torch.Size([2, 64, 4, 4])

    Raises ValueError if a count is not a whole number from 1, or `steps` does not divide the channels; when called, UserError
    if the maps are not of these channels, height and width.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int | None = None,
        *,
        spatial: tuple[int, int] = (4, 4),
        steps: int = 8,
        hidden: int = 512,
        layers: int = 2,
        norm: bool = False,
        residual: bool = False,
        mixing: Literal["lstm", "perceptron"] = "lstm",
        permute: bool = False,
    ):
        """
        channels, out_channels: of input and output (the same unless given).
        spatial: height and width of the maps. steps: time steps T. hidden, layers: units and depth of the LSTM.
        norm: batch norm between LSTM and projection, as the paper's variance path has it.
        residual: adds the input (through a 1x1 convolution where the channels differ) to the output.
        mixing: `perceptron` replaces the LSTM by an as deep perceptron on each block alone (control).
        permute: deals the channels to the blocks in a fixed random order, and the outputs back to their places (control).
        """
        super().__init__()
        out_channels = channels if out_channels is None else out_channels
        _check_sizes(channels, out_channels, spatial, steps, hidden, layers)
        if mixing not in ("lstm", "perceptron"):
            raise ValueError(f"mixing must be lstm or perceptron, got {mixing!r}")
        self.steps, self.spatial, self.permute = steps, tuple(spatial), permute
        self.shape = (channels, *self.spatial)
        """Of the maps that it takes: (c, h, w)."""
        area = spatial[0] * spatial[1]
        size = channels // steps * area
        self.lstm = self.perceptron = None
        if mixing == "lstm":
            self.lstm = nn.LSTM(size, hidden, layers, batch_first=True)
        else:
            sizes = [size, *[3 * hidden] * layers, hidden]  # 3 times as wide: about the parameters of four gates
            self.perceptron = nn.Sequential(
                *(layer for i, o in itertools.pairwise(sizes) for layer in (nn.Linear(i, o), nn.Tanh()))
            )
        self.norm = nn.BatchNorm1d(hidden, eps=1e-5, momentum=0.1) if norm else None
        self.project = nn.Linear(hidden, out_channels // steps * area)
        self.skip = None
        if residual:
            self.skip = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)
        if permute:
            self.register_buffer("order_in", _shuffled(channels))
            self.register_buffer("order_out", _shuffled(out_channels).argsort())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        """Maps of its channels, height and width. Raises UserError for others."""
        if x.shape[1:] != self.shape:
            wanted, given = (" ".join(map(str, shape)) for shape in (self.shape, x.shape))
            raise UserError(f"the recurrence takes maps b {wanted}, got {given}")
        h, w = self.spatial
        inputs = x[:, self.order_in] if self.permute else x  # type: ignore[index]
        sequence = rearrange(inputs, "b (t c) h w -> b t (c h w)", t=self.steps, h=h, w=w)
        features = rearrange(self._mix(sequence), "b t k -> (b t) k")
        if self.norm is not None:
            features = self.norm(features)
        out = rearrange(self.project(features), "(b t) (c h w) -> b (t c) h w", t=self.steps, h=h, w=w)
        if self.permute:
            out = out[:, self.order_out]  # type: ignore[index]
        return out if self.skip is None else out + self.skip(x)

    def _mix(self, sequence: Float[Tensor, "b t k"]) -> Float[Tensor, "b t hidden"]:
        if self.lstm is None:
            return self.perceptron(sequence)  # type: ignore[misc]
        slow = sequence.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if slow or self._lacks_gradient(sequence):
            return _by_matrix_products(self.lstm, sequence)
        return self.lstm(sequence)[0]

    def _lacks_gradient(self, sequence: Float[Tensor, "b t k"]) -> bool:
        """Whether a gradient is wanted where cuDNN has none: outside of training, for the input or for the LSTM's weights."""
        if not sequence.is_cuda or self.training or not torch.is_grad_enabled():
            return False
        return sequence.requires_grad or any(weight.requires_grad for weight in self.lstm.parameters())  # type: ignore[union-attr]


def _check_sizes(
    channels: object, out_channels: object, spatial: object, steps: object, hidden: object, layers: object
) -> None:
    """Raises ValueError if one is not a whole number from 1 (`spatial`: a pair), or `steps` does not divide the channels."""
    if not (isinstance(spatial, tuple | list) and len(spatial) == 2 and all(map(_is_size, spatial))):
        raise ValueError(f"spatial must be two whole numbers from 1, height and width, got {spatial!r}")
    counts = {"channels": channels, "out_channels": out_channels, "hidden": hidden, "layers": layers}
    for name, count in counts.items():
        if not _is_size(count):
            raise ValueError(f"{name} must be a whole number from 1, got {count!r}")
    for count in (channels, out_channels):
        if not _is_size(steps) or count % steps:  # type: ignore[operator]
            raise ValueError(
                f"steps must be a whole number that divides the channels: {steps!r} steps, {count} channels"
            )


def _is_size(count: object) -> bool:
    return isinstance(count, Integral) and int(count) >= 1


def _shuffled(channels: int) -> Int64[Tensor, " channels"]:
    """Always the same order of so many channels: what deals a latent's also puts back its log-variances."""
    return torch.randperm(channels, generator=torch.Generator().manual_seed(0))


def _by_matrix_products(lstm: nn.LSTM, sequence: Float[Tensor, "b t k"]) -> Float[Tensor, "b t hidden"]:
    """What `lstm` computes, for autocast on CPUs: nn.LSTM itself crawls in bf16, and takes 1.6 times as long in fp32.

    And for gradients outside of training on CUDA, as completion needs them: cuDNN has none there.

    Matrix products run in autocast's precision, gates and cell in fp32. All steps' inputs are multiplied at once.
    """
    for depth in range(lstm.num_layers):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weight_in, weight_back, bias_in, bias_back = (getattr(lstm, f"{name}_l{depth}") for name in names)
        hidden = cell = None
        outputs = []
        entering = F.linear(sequence, weight_in, bias_in + bias_back)  # b t (4 hidden)
        weight_back = weight_back.to(entering.dtype)  # once: autocast would round frozen weights anew at every step
        for gates in entering.unbind(1):
            if hidden is not None:
                gates = gates + F.linear(hidden, weight_back)
            entry, keep, candidate, exit_ = gates.float().chunk(4, dim=1)
            added = torch.sigmoid(entry) * torch.tanh(candidate)
            cell = added if cell is None else torch.sigmoid(keep) * cell + added
            hidden = torch.sigmoid(exit_) * torch.tanh(cell)
            outputs.append(hidden)
        sequence = torch.stack(outputs, dim=1)
    return sequence
