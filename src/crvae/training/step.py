"""One optimiser step of every side of a stage on one batch, as training, `crvae cost` and the benchmarks make it."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric

from crvae.errors import UserError
from crvae.training import averaging
from crvae.training.optimising import Optimising
from crvae.training.stage import Carry, Stage, Stored, Terms, seeded


class TrainingStep:
    """`step(stored, images)`: one batch through every side, after `images` seen; then one step of the averaged weights.

    Each side's step hands the next one what it takes, the first one takes the stage's inputs. A batch that is accumulated
    passes in parts. What is not finite changes no weight.
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

    @property
    def complete(self) -> int:
        """Images seen from which on every side takes part."""
        return max(side.after for side in self.sides)

    def __call__(self, stored: Stored, images: int) -> tuple[Terms, torch.Tensor]:
        """The named terms, means over the batch's parts, and whether every loss and gradient was finite; still on the device."""
        config, fabric = self.config, self.fabric
        stored = tuple(part.to(fabric.device, non_blocking=True) for part in stored)
        parts = list(zip(*(part.chunk(config.accumulate) for part in stored), strict=True))
        carries: list[Carry] = [()] * len(parts)
        first_slot = fabric.global_rank * config.accumulate
        finite = torch.ones((), dtype=torch.bool, device=fabric.device)
        named: Terms = {}
        self.stage.begin(images)
        for number, side in enumerate(self.sides):
            if images < side.after:
                continue
            for i, part in enumerate(parts):
                seeded(config.seed, number, first_slot + i, images)
                loss, terms, carries[i] = side.forward(*(carries[i] or self.stage.inputs(part)))
                # the guard is not a number where the loss is not finite, and so are all gradients then
                guard = 1 + 0 * loss.detach()
                side.backward(guard * loss / len(parts), last=i == len(parts) - 1)
                finite = finite & torch.isfinite(loss.detach())
                for name, term in terms.items():
                    named[name] = named.get(name, 0) + term.detach() / len(parts)
            finite = finite & side.update(images)
        averaging.update(
            self.stage.averaged,
            self.stage.networks[self.stage.averaged_network],
            images=images + config.batch,
            batch=config.batch,
            half_life=config.average_half_life_images,
        )
        return named, finite

    def rates(self, images: int) -> dict[str, float]:
        """Learning rate of each group of parameters after `images` seen."""
        return {name: rate for side in self.sides for name, rate in side.rates(images).items()}
