"""What a prior p(z) is: one class a kind, each named by `kind` in config.json."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crvae.config.base import Frozen
from crvae.config.schedule import ScheduleConfig


class NormalPriorConfig(Frozen):
    """N(0, I), the paper's prior: nothing to choose, nothing learned."""

    kind: Literal["normal"] = "normal"
    """The prior that these options are of."""


class FlowPriorConfig(Frozen):
    """A rectified flow over the time-step blocks: a residual perceptron on all of them at once."""

    kind: Literal["flow"] = "flow"
    """The prior that these options are of."""
    width: int = Field(default=512, ge=1, le=8192)
    """Units of the perceptron's residual path."""
    depth: int = Field(default=4, ge=1, le=64)
    """Residual blocks."""
    expansion: int = Field(default=2, ge=1, le=16)
    """Hidden units of each residual block, as a multiple of `width`."""
    joint: float = Field(default=0.5, ge=0, le=1)
    """Share of training's latents with all blocks at one noise level; in the others some blocks are clean."""
    solver_steps: int = Field(default=4, ge=1, le=256)
    """Midpoint steps from noise to a draw; each evaluates the network twice."""


class AutoregressivePriorConfig(Frozen):
    """An LSTM over the time-step blocks: p(z_t | z_1 .. z_t-1) is a mixture of diagonal Gaussians, with an exact density."""

    kind: Literal["autoregressive"] = "autoregressive"
    """The prior that these options are of."""
    width: int = Field(default=256, ge=1, le=4096)
    """Units of the LSTM."""
    mixture: int = Field(default=10, ge=1, le=256)
    """Gaussians in each block's mixture."""
    candidates: int = Field(default=64, ge=1, le=4096)
    """Draws among which `redraw` chooses one; the more, the closer to the exact conditional."""


COST = 0.02
"""Time of one latent while the prior is fitted, where one image of the autoencoder's training takes 1: for the progress bar."""


class PriorConfig(Frozen):
    """The prior p(z) of a run: N(0, I), or one that is fitted to the posteriors of the training images after the autoencoder."""

    kind: str = Field(default="normal", max_length=64)
    """`normal` is N(0, I), the paper's; `flow` draws the best samples; `autoregressive` has an exact density."""
    images: int = Field(default=200_000, ge=1)
    """Total of latents seen while the prior is fitted; each is a new draw of an image's posterior."""
    batch: int = Field(default=256, ge=2)
    """Latents of one optimiser step, over all devices."""
    rate: float = Field(default=2e-3, gt=0)
    """Adam's learning rate."""
    cool_down: float = Field(default=1.0, ge=0, le=1)
    """Share of the fit, at its end, in which the learning rate falls to 2% along a cosine."""
    average_half_life_images: int = Field(default=20_000, ge=0)
    """Half-life of the averaged weights, in latents; at most 5% of the latents seen so far."""
    report_images: int = Field(default=10_000, ge=1)
    """A line of metrics.jsonl every so many latents."""
    checkpoint_images: int = Field(default=100_000, ge=1)
    """A checkpoint every so many latents (and at the end)."""
    flow: FlowPriorConfig = FlowPriorConfig()
    autoregressive: AutoregressivePriorConfig = AutoregressivePriorConfig()

    @property
    def work(self) -> float:
        """Time that the fit takes, in images of the autoencoder's training; roughly."""
        return 0.0 if self.kind == "normal" else COST * self.images

    def schedule(self, train: ScheduleConfig) -> ScheduleConfig:
        """How the prior is fitted in a run whose autoencoder is trained by `train`: seed and arithmetic are the run's."""
        shared = ("precision", "seed", "keep_checkpoints", "log", "deterministic")
        own = ("images", "batch", "rate", "cool_down", "average_half_life_images", "report_images", "checkpoint_images")
        fields = {name: getattr(train, name) for name in shared} | {name: getattr(self, name) for name in own}
        return ScheduleConfig(**fields, snapshot_images=0)
