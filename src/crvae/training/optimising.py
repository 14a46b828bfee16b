"""One side's optimiser: rates by images seen, clipped gradients, and a guard that lets nothing infinite into the weights."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from crvae.config.schedule import ScheduleConfig
from crvae.training.fabric import Fabric
from crvae.training.stage import Side

COOL = 0.02
"""Where a run that cools down ends, as a share of its rate."""


class Optimising:
    """A side with its optimiser, wrapped for the device; `set_rates`, `averaging`, `forward`, `backward` and `update` make its step."""

    def __init__(self, side: Side, config: ScheduleConfig, fabric: Fabric):
        self.name, self.groups, self.after, self._resting = side.name, side.groups, side.after, side.resting
        self.config, self.fabric = config, fabric
        groups = [{"params": group.parameters} for group in side.groups]
        betas, cuda = (config.beta1, config.beta2), fabric.device.type == "cuda"
        self.optimiser = torch.optim.Adam(groups, lr=config.rate, betas=betas, fused=True, capturable=cuda)
        for options in self.optimiser.param_groups if cuda else ():
            options["lr"] = torch.tensor(config.rate, device=fabric.device)  # where a recorded step reads it
        self.forward, self._wrapped = fabric.setup(side.step, self.optimiser)
        self.parameters = [p for group in side.groups for p in group.parameters]

    def rates(self, images: int) -> dict[str, float]:
        """Learning rate of each group after `images` seen."""
        config = self.config
        halvings = images // config.halve_every_images if config.halve_every_images else 0
        steps = (images - self.after) // config.batch
        warming = 1 / 50 if steps < 10 else 1 / 5 if steps < 30 else 1.0
        rate = config.rate * 0.5**halvings * shape(images, config)
        return {g.name: rate * g.rate * (warming if g.warm_up else 1.0) for g in self.groups}

    def averaging(self, last: bool) -> AbstractContextManager:
        """Around `forward` and `backward`: only the `last` part of an accumulated batch averages its gradients over ranks."""
        return self.fabric.no_backward_sync(self.forward, enabled=not last)

    def backward(self, loss: Tensor) -> None:
        """Adds the loss's gradients."""
        self.fabric.backward(loss)

    def set_rates(self, images: int) -> None:
        """Gives each group its learning rate after `images` seen."""
        for rate, options in zip(self.rates(images).values(), self.optimiser.param_groups, strict=True):
            if isinstance(options["lr"], Tensor):
                options["lr"].fill_(rate)
            else:
                options["lr"] = rate

    def update(self) -> Tensor:
        """Clips and applies the gradients, unless any is not finite. Returns whether they were, still on the device."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        finite = torch.isfinite(torch.nn.utils.get_total_norm(gradients))
        for group in self.groups:
            if group.clip:
                torch.nn.utils.clip_grad_value_(group.parameters, group.clip)
        self._step(skipped=(~finite).float())
        self.optimiser.zero_grad()
        return finite

    def _step(self, skipped: Tensor) -> None:
        """Steps all groups, or none if `skipped` is 1, on the device; those that rest at this step are left out."""
        every = self.optimiser.param_groups
        for rests in (False, True):
            chosen = [options for options, group in zip(every, self.groups, strict=True) if group.rests == rests]
            if chosen:
                self.optimiser.param_groups = chosen
                halted = torch.maximum(skipped, self._resting()) if rests else skipped
                self.optimiser.found_inf = halted  # type: ignore[attr-defined]  # read by the fused kernel
                self._wrapped.step()
        self.optimiser.param_groups = every


def shape(images: int, config: ScheduleConfig) -> float:
    """The share of every rate after `images` seen: a straight rise at the start, a cosine down to COOL at the end."""
    share = min(1.0, (images + config.batch) / config.ramp_images) if config.ramp_images else 1.0
    begin = config.images * (1 - config.cool_down)
    if images <= begin or not config.cool_down:  # the last batch may reach beyond the end
        return share
    passed = min(1.0, (images - begin) / (config.images - begin))
    return share * (COOL + (1 - COOL) * 0.5 * (1 + math.cos(math.pi * passed)))
