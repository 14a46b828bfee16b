"""The seven networks of the authors' crVAE-GAN + MI at any base width b, written plainly from the specification (3.1 to 3.6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT, STEPS, SIDE = 64, 8, 4
BATCH_NORM = {"eps": 1e-6, "momentum": 0.9}


class Concatenated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.relu(x), F.relu(-x)], 1)


class Plus(nn.Module):
    def __init__(self):
        super().__init__()
        self.offset = nn.Parameter(0.01 * torch.randn(LATENT, SIDE, SIDE))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset


class ChannelDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * F.dropout2d(x, 0.5) if x.ndim == 4 else 0.5 * F.dropout(x, 0.5)


class BatchDiscrimination(nn.Module):
    def __init__(self, inputs: int):
        super().__init__()
        self.project = nn.Linear(inputs, 500)

    def forward(self, x: Tensor) -> Tensor:
        m = self.project(x).view(-1, 100, 5)
        distance = (m[:, None] - m[None]).abs().sum(3)
        return torch.cat([x, torch.exp(-distance).mean(1)], 1)


def _normed(convolution: nn.Module, width: int, activation: nn.Module) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(width, **BATCH_NORM), activation]


class Encoder(nn.Module):
    """x -> (mean, trunk features h)."""

    def __init__(self, b: int):
        super().__init__()
        self.trunk = nn.Sequential(
            Concatenated(),
            *_normed(nn.Conv2d(6, b, 5, 2, 2), b, Concatenated()),
            *_normed(nn.Conv2d(2 * b, 2 * b, 3, 2, 1), 2 * b, Concatenated()),
            *_normed(nn.Conv2d(4 * b, 4 * b, 3, 2, 1), 4 * b, Concatenated()),
            *_normed(nn.Conv2d(8 * b, 8 * b, 3, 1, 1), 8 * b, nn.LeakyReLU(0.1)),
            *_normed(nn.Conv2d(8 * b, 8 * b, 3, 2, 1), 8 * b, Concatenated()),
            *_normed(nn.Conv2d(16 * b, 8 * b, 3, 1, 1), 8 * b, nn.LeakyReLU(0.1)),
        )
        self.mean = nn.Sequential(nn.Conv2d(8 * b, LATENT, 3, 1, 1), Plus())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.mean(h), h


class Recurrence(nn.Module):
    """h -> log-variance (with `norm`), or z -> u."""

    def __init__(self, channels: int, hidden: int, norm: bool):
        super().__init__()
        self.lstm = nn.LSTM(channels // STEPS * SIDE**2, hidden, 2, batch_first=True)
        out = nn.Linear(hidden, LATENT // STEPS * SIDE**2)
        self.out = nn.Sequential(nn.BatchNorm1d(hidden), out) if norm else out

    def forward(self, x: Tensor) -> Tensor:
        features, _ = self.lstm(x.reshape(len(x), STEPS, -1))
        return self.out(features.reshape(len(x) * STEPS, -1)).view(len(x), LATENT, SIDE, SIDE)


def decoder(b: int) -> nn.Sequential:
    def up(inputs: int, outputs: int) -> list[nn.Module]:
        return _normed(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), outputs, nn.LeakyReLU(0.1))

    return nn.Sequential(
        Plus(),
        nn.Conv2d(LATENT, 8 * b, 3, 1, 1),
        nn.BatchNorm2d(8 * b, **BATCH_NORM),
        *up(8 * b, 8 * b),
        *_normed(nn.Conv2d(8 * b, 8 * b, 3, 1, 1), 8 * b, nn.LeakyReLU(0.1)),
        *up(8 * b, 4 * b),
        *up(4 * b, 2 * b),
        *up(2 * b, 2 * b),
        *_normed(nn.Conv2d(2 * b, 2 * b, 3, 1, 1), 2 * b, nn.LeakyReLU(0.1)),
        nn.Conv2d(2 * b, 3, 3, 1, 1),
        nn.Tanh(),
    )


def features(b: int) -> nn.Sequential:
    widths, layers = [3, 2 * b, 4 * b, 8 * b, 8 * b], []
    for i, kernel in enumerate((5, 5, 5, 3)):
        convolution = nn.Conv2d(widths[i], widths[i + 1], kernel, 1, kernel // 2)
        layers += [convolution, nn.MaxPool2d(2), nn.ReLU(), ChannelDropout()]
    return nn.Sequential(*layers)


class Normalised(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt((x**2).sum(1, keepdim=True) + 1e-10)


def adversarial_head(b: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(128 * b, 32 * b),
        Normalised(),
        ChannelDropout(),
        nn.ReLU(),
        BatchDiscrimination(32 * b),
        nn.Linear(32 * b + 100, 1),
        nn.Sigmoid(),
    )


def latent_head(b: int) -> nn.Sequential:
    values = LATENT * SIDE**2
    return nn.Sequential(
        *_normed(nn.Conv2d(8 * b, 2 * b, 3, 1, 1), 2 * b, nn.LeakyReLU(0.2)),
        *_normed(nn.Conv2d(2 * b, 2 * b, 1), 2 * b, nn.LeakyReLU(0.1)),
        nn.Flatten(),
        nn.Linear(32 * b, values),
        nn.Unflatten(1, (LATENT, SIDE, SIDE)),
        Plus(),
    )
