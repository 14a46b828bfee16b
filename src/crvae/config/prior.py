"""What a prior p(z) is: one class a kind, each named by `kind` in config.json."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crvae.config.base import Frozen


class NormalPriorConfig(Frozen):
    """N(0, I), the paper's prior: nothing to choose, nothing learned."""

    kind: Literal["normal"] = "normal"


class FlowPriorConfig(Frozen):
    """A rectified flow over the time-step blocks: a residual perceptron on all of them at once."""

    kind: Literal["flow"] = "flow"
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
    width: int = Field(default=256, ge=1, le=4096)
    """Units of the LSTM."""
    mixture: int = Field(default=10, ge=1, le=256)
    """Gaussians in each block's mixture."""
    candidates: int = Field(default=64, ge=1, le=4096)
    """Draws among which `redraw` chooses one; the more, the closer to the exact conditional."""
