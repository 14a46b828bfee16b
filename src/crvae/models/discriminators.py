"""The discriminators by the `kind` of their configuration. A new one is a file with a `Discriminator`, and a line here."""

from __future__ import annotations

from crvae.config.stage1 import DiscriminatorConfig, ModelConfig
from crvae.errors import UserError, near
from crvae.models.discriminator import Discriminator, PaperDiscriminator
from crvae.models.projected import ProjectedDiscriminator

DISCRIMINATORS: dict[str, type[Discriminator]] = {
    "paper": PaperDiscriminator,
    "projected": ProjectedDiscriminator,
}


def build_discriminator(
    config: DiscriminatorConfig, model: ModelConfig, latent_shape: tuple[int, ...] | None = None
) -> Discriminator:
    """The discriminator of a Stage1 run; with `latent_shape` it has a latent head. Raises UserError for an unknown kind."""
    if config.kind not in DISCRIMINATORS:
        meant = near(config.kind, DISCRIMINATORS)
        raise UserError(f"there is no discriminator of kind {config.kind!r}{meant}: choose {', '.join(DISCRIMINATORS)}")
    return DISCRIMINATORS[config.kind](config, model, latent_shape)
