"""How a completion is searched: the settings and their limits, without torch, so that a command refuses at once."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from crvae.errors import UserError, check_word

Start = Literal["prior", "posterior"]
Optimiser = Literal["adam", "lbfgs"]

LIMITS: dict[str, tuple[type, float, float]] = {
    "gamma": (Real, 0, 1e9),
    "tau": (Real, 0, 1e9),
    "steps": (Integral, 1, 100_000),
    "rate": (Real, 1e-9, 1e3),
    "restarts": (Integral, 1, 1_000),
    "seed": (Integral, 0, 2**62),
}
"""Field -> its kind of number, least and most."""

GAMMA = {"normal": 2.5, "learned": 0.02}
"""Weight of the prior where none is given: a learned one is fitted to latents that carry hundreds of nats."""

CHOICES = {"start": get_args(Start), "optimiser": get_args(Optimiser)}
"""Field -> its words."""


@dataclass(frozen=True)
class Search:
    """How z is searched; the weights are for squared errors summed over the values of an image in [-1, 1].

    Raises UserError if a value is outside its limits, which are those of `crvae complete`.
    """

    gamma: float | None = None
    """Weight of -log p(z), in nats, from 0 on; None: GAMMA of the model's prior."""
    tau: float = 20.0
    """Weight of log(1 - D), from 0 on; above 0 it needs the discriminator."""
    steps: int = 150
    """The most steps of one restart, 1 or more."""
    rate: float = 0.2
    """Adam's learning rate, above 0; L-BFGS: how far its first step moves each latent value."""
    restarts: int = 2
    """Starting points for every image, 1 or more."""
    start: Start = "posterior"
    """Restarts begin at draws from the prior, or from the posterior of the image with its hidden pixels in one colour."""
    optimiser: Optimiser = "adam"
    seed: int = 0
    """The same seed gives the same starting points; from 0 on."""

    def __post_init__(self) -> None:
        for name, (kind, least, most) in LIMITS.items():
            value: Any = getattr(self, name)
            if name == "gamma" and value is None:
                continue
            if not isinstance(value, kind):
                number = "a whole number" if kind is Integral else "a number"
                raise UserError(f"--{name} must be {number}, got {value!r}")
            if not least <= value <= most:
                raise UserError(f"--{name} must be from {least} to {most:,}, got {value}")
        for name, words in CHOICES.items():
            check_word(f"--{name}", getattr(self, name), words)
