"""One optimiser step of every side of a stage on one batch, as training, `crvae cost` and the benchmarks make it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from crvae.errors import UserError
from crvae.training import averaging
from crvae.training.fabric import Fabric
from crvae.training.optimising import Optimising
from crvae.training.recording import Recording
from crvae.training.stage import Carry, Stage, Stored, Terms, seeded

Work = tuple[Terms, Tensor, Carry]
"""Of one side and one part of a batch: named terms, whether loss and gradient are finite, and what the next side's step takes."""


class TrainingStep:
    """`step(stored, images)`: one batch through every side, after `images` seen; then one step of the averaged weights.

    Each side's step hands the next one what it takes, the first one takes the stage's inputs. A batch that is accumulated
    passes in parts. What is not finite changes no weight. On one CUDA device each side's work is recorded and launched as one.
    """

    def __init__(self, stage: Stage, fabric: Fabric):
        """Puts the stage's networks on the fabric's device. Raises UserError if a batch does not divide into its parts."""
        self.stage, self.fabric, self.config = stage, fabric, stage.schedule
        parts = fabric.world_size * self.config.accumulate
        if self.config.batch % parts:
            raise UserError(
                f"--train.batch must be a multiple of devices times --train.accumulate ({parts}), got {self.config.batch}"
            )
        for network in (*stage.networks.values(), stage.averaged):
            network.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.sides = [Optimising(side, self.config, fabric) for side in stage.sides]
        self._recorded = fabric.device.type == "cuda" and parts == 1 and not self.config.deterministic
        self._recordings: dict[tuple[int, int], Recording] = {}

    @property
    def complete(self) -> int:
        """Images seen from which on every side takes part."""
        return max(side.after for side in self.sides)

    def __call__(self, stored: Stored, images: int) -> tuple[Terms, Tensor]:
        """The named terms, means over the batch's parts, and whether every loss and gradient was finite; still on the device."""
        config, fabric = self.config, self.fabric
        stored = tuple(part.to(fabric.device, non_blocking=True) for part in stored)
        parts = list(zip(*(part.chunk(config.accumulate) for part in stored), strict=True))
        carries: list[Carry] = [()] * len(parts)
        first_slot = fabric.global_rank * config.accumulate
        finite = torch.ones((), dtype=torch.bool, device=fabric.device)
        named: Terms = {}
        self.stage.begin(images)
        taking_part = [number for number, side in enumerate(self.sides) if images >= side.after]
        for number in taking_part:
            self.sides[number].set_rates(images)
            for i, part in enumerate(parts):
                seeded(config.seed, number, first_slot + i, images)
                work = self._work(number, len(taking_part), len(parts), last=i == len(parts) - 1)
                terms, fine, carries[i] = work(part, carries[i])
                finite = finite & fine
                for name, term in terms.items():
                    named[name] = named.get(name, 0) + term
        averaging.update(
            self.stage.averaged,
            self.stage.networks[self.stage.averaged_network],
            images=images + config.batch,
            batch=config.batch,
            half_life=config.average_half_life_images,
        )
        return named, finite

    def _work(self, number: int, taking_part: int, parts: int, *, last: bool) -> Callable[[Stored, Carry], Work]:
        """What a side does with one part of a batch; it depends on whether others take part, too."""
        work = partial(self._pass, self.sides[number], parts, last)
        if not self._recorded:
            return work
        key = number, taking_part
        if key not in self._recordings:
            self._recordings[key] = Recording(work)
        return self._recordings[key]

    def _pass(self, side: Optimising, parts: int, last: bool, stored: Stored, carry: Carry) -> Work:
        """One part of a batch forwards and backwards, and after the `last` one the side's optimiser step."""
        with side.averaging(last):  # which DDP decides in its forward pass
            loss, terms, carry = side.forward(*(carry or self.stage.inputs(stored)))
            # the guard is not a number where the loss is not finite, and so are all gradients then
            guard = 1 + 0 * loss.detach()
            side.backward(guard * loss / parts)
        finite = torch.isfinite(loss.detach())
        if last:
            finite = finite & side.update()
        return {name: term.detach() / parts for name, term in terms.items()}, finite, carry

    def rates(self, images: int) -> dict[str, float]:
        """Learning rate of each group of parameters after `images` seen."""
        return {name: rate for side in self.sides for name, rate in side.rates(images).items()}
