"""How long, how fast, how often a stage trains: the part of its configuration that all stages share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crvae.config.base import Frozen


class ScheduleConfig(Frozen):
    """How long, how fast, how often: what every stage's training has."""

    images: int = Field(default=1_000_000, ge=1)
    """Total, in images seen; rounded up to whole batches."""
    batch: int = Field(default=128, ge=2)
    """Images of one optimiser step, over all devices."""
    accumulate: int = Field(default=1, ge=1)
    """Parts in which each device runs its share of a batch that does not fit."""
    rate: float = Field(default=3e-4, gt=0)
    """Adam's learning rate."""
    halve_every_images: int = Field(default=0, ge=0)
    """Halve all learning rates whenever this many images have been seen; 0 never."""
    ramp_images: int = Field(default=0, ge=0)
    """Images over which all learning rates rise from 0 at the start."""
    cool_down: float = Field(default=0.0, ge=0, le=1)
    """Share of the run, at its end, in which all learning rates fall to 2% along a cosine; 0: they do not."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Adam's first decay rate."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Adam's second decay rate."""
    average_half_life_images: int = Field(default=20_000, ge=0)
    """Half-life of the averaged weights, in images; at most 5% of the images seen so far."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the convolutions; auto takes bf16 where the processor is faster by it."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of initial weights, data order and every random draw."""
    report_images: int = Field(default=2_000, ge=1)
    """A line of metrics.jsonl every so many images."""
    snapshot_images: int = Field(default=50_000, ge=0)
    """A grid of samples every so many images; 0 only at the end."""
    checkpoint_images: int = Field(default=50_000, ge=1)
    """A checkpoint every so many images (and at the end)."""
    keep_checkpoints: int = Field(default=3, ge=1)
    """How many of the newest checkpoints are kept."""
    log: Literal["tensorboard", "wandb"] = "tensorboard"
    """Where curves and samples are shown: TensorBoard, or Weights & Biases also, which needs its package and an account or
    WANDB_MODE=offline."""
    deterministic: bool = False
    """On a GPU, use deterministic algorithms only, and record no step as a CUDA graph (CPUs are always exact)."""

    @property
    def seen(self) -> int:
        """Images seen at the end: whole batches."""
        return -(-self.images // self.batch) * self.batch
