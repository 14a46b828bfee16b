"""What the training loop knows of a model: its networks, its sides, and how to turn stored images into its inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate: a multiple of the run's rate, and a limit on each gradient value (0: none)."""

    name: str
    parameters: list[nn.Parameter]
    rate: float
    clip: float = 0.0
    warm_up: bool = False


@dataclass(frozen=True)
class Side:
    """One optimiser step of every batch. `step(*inputs)` or `step(*inputs, carry)` -> (loss, named terms, carry)."""

    name: str
    step: nn.Module
    groups: list[Group] = field(default_factory=list)
    after: int = 0
    """Images seen before its first step."""


class Stage(Protocol):
    """Stage1 or Stage2, as the loop sees it."""

    config: Any
    networks: dict[str, nn.Module]
    averaged: nn.Module
    averaged_network: str
    sides: list[Side]

    def begin(self, images: int) -> None:
        """Called before each batch with the images seen so far, which what is optimised may depend on."""
        ...

    def inputs(self, stored: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Stored 8-bit images on the device -> what the first side's step takes."""
        ...

    def sizes(self) -> tuple[int, ...]:
        """The image sizes, in pixels, that training reads of every row."""
        ...

    def publish(self, folder: Path, images: int, batches: Iterable[tuple[Tensor, ...]]) -> None:
        """Makes the averaged weights fit for use (batch statistics over `batches`) and writes them to `folder`."""
        ...

    def snapshot(self) -> Tensor:
        """Samples of the averaged weights from one fixed z: `b c h w` in [-1, 1]. Call it after `publish`."""
        ...


def seeded(seed: int, *key: int) -> None:
    """Seeds torch for one micro-batch: every random draw is a function of the run's seed and `key`.

    The key is (side, slot, images seen); the slot counts a batch's parts over ranks and accumulation alike, so that both
    ways of splitting it draw the same numbers.
    """
    digest = hashlib.blake2b(repr((seed, *key)).encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "big") >> 1)
