"""The priors by the `kind` of their configuration. A new one is a file with a `Prior`, and a line here."""

from __future__ import annotations

from typing import Any

from crvae.models.autoregressive import AutoregressivePrior
from crvae.models.flow import FlowPrior
from crvae.models.prior import NormalPrior, Prior

PRIORS: dict[str, type[Prior]] = {
    "normal": NormalPrior,
    "flow": FlowPrior,
    "autoregressive": AutoregressivePrior,
}


def build_prior(config: Any, shape: tuple[int, ...], steps: int) -> Prior:
    """The prior of `config` over latents `shape` of one image, in `steps` blocks; its weights are fresh."""
    return PRIORS[config.kind](config, shape, steps)
