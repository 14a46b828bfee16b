"""The priors by the `kind` of their configuration. A new one is a file with a `Prior`, and a line here."""

from __future__ import annotations

from typing import Any

from crvae.config.prior import PriorConfig
from crvae.errors import UserError, near
from crvae.models.autoregressive import AutoregressivePrior
from crvae.models.flow import FlowPrior
from crvae.models.prior import NormalPrior, Prior

PRIORS: dict[str, type[Prior]] = {
    "normal": NormalPrior,
    "flow": FlowPrior,
    "autoregressive": AutoregressivePrior,
}


def prior_config(section: PriorConfig) -> Any:
    """The configuration of the kind of prior that a run's section names. Raises UserError for an unknown kind."""
    if section.kind not in PRIORS:
        meant = near(section.kind, PRIORS)
        raise UserError(f"--prior.kind must be one of {', '.join(PRIORS)}, got {section.kind!r}{meant}")
    return getattr(section, section.kind, None) or PRIORS[section.kind].configuration()


def build_prior(config: Any, shape: tuple[int, ...], steps: int) -> Prior:
    """The prior of `config` over latents `shape` of one image, in `steps` blocks; its weights are fresh."""
    return PRIORS[config.kind](config, shape, steps)
