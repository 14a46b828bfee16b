"""What the training loop knows of what it trains: its networks, its sides, where its batches come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from crvae.config.schedule import ScheduleConfig
from crvae.data import PreparedData

Terms = dict[str, Tensor]
"""Named loss terms, and what else a step tells the log."""

Stored = tuple[Tensor, ...]
"""One batch as it is kept: the same rows in one or several forms."""

Carry = tuple[Any, ...]
"""What one side's step hands to the next one's."""

SNAPSHOT = 64
"""Images in a snapshot grid."""


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate: a multiple of the run's rate, and a limit on each gradient value (0: none).

    rests: they and their moments stay as they are at the steps at which their side rests.
    """

    name: str
    parameters: list[nn.Parameter]
    rate: float
    clip: float = 0.0
    warm_up: bool = False
    rests: bool = False


def never() -> Tensor:
    """0, for a side that never rests."""
    return torch.zeros(())


@dataclass(frozen=True)
class Side:
    """One optimiser step of every batch: `step(*carry)` -> (loss, named terms, what the next side's step takes)."""

    name: str
    step: nn.Module
    groups: list[Group] = field(default_factory=list)
    after: int = 0
    """Images seen before its first step."""
    resting: Callable[[], Tensor] = never
    """Whether the groups that rest do so at this step, 1 or 0, on the device: known when `step` has seen the batch's last part."""


@dataclass(frozen=True)
class Part:
    """A stage's part in its run: what it is called, where its count begins, and its share of the progress bar."""

    title: str = "training"
    counted: str = "images"
    headline: str = "reconstruction"
    """The term that a line of progress names."""
    checkpoints: str = "checkpoints"
    """The folder of its checkpoints, in the run's."""
    rate: str = "train.rate"
    """What its learning rate is called in the run's configuration."""
    before: int = 0
    """Images that earlier stages see: in reports and snapshots its own count is added to them."""
    cost: float = 1.0
    """Time that one of its images takes, where one of the first stage's takes 1."""
    later: float = 0.0
    """Time of the stages after it, in the same measure."""


class Stage(Protocol):
    """What is trained, as the loop sees it: Stage1, its prior, or Stage2."""

    config: Any
    """The run's configuration."""
    networks: dict[str, nn.Module]
    """What a checkpoint holds."""
    averaged_network: str
    """Which of the networks the averaged weights follow."""
    sides: list[Side]

    @property
    def part(self) -> Part:
        """Its part in the run."""
        ...

    @property
    def averaged(self) -> nn.Module:
        """The averaged weights, which are published."""
        ...

    @property
    def schedule(self) -> ScheduleConfig:
        """How long, how fast, how often."""
        ...

    def batches(self, data: PreparedData, start: int, rank: int, world: int) -> Iterator[Stored]:
        """This rank's endless batches from `start` images seen on: a function of the seed and of `start` alone."""
        ...

    def begin(self, images: int) -> None:
        """Called before each batch with the images seen so far, which what is optimised may depend on."""
        ...

    def inputs(self, stored: Stored) -> Carry:
        """A batch on the device (8-bit images, say) -> what the first side's step takes."""
        ...

    def publish(self, folder: Path, images: int, data: PreparedData) -> None:
        """Makes the averaged weights fit for use and writes them to `folder`, `images` seen; global draws are the run's seed's."""
        ...

    def snapshot(self) -> Tensor:
        """SNAPSHOT samples of the averaged weights from one fixed z: `b c h w` in [-1, 1]. Call it after `publish`."""
        ...


def seeded(seed: int, *key: int) -> None:
    """Seeds torch for one micro-batch: every random draw is a function of the run's seed and `key`.

    The key is (side, slot, images seen); the slot counts a batch's parts over ranks and accumulation alike, so that both
    ways of splitting it draw the same numbers.
    """
    digest = hashlib.blake2b(repr((seed, *key)).encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "big") >> 1)
