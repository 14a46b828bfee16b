"""The networks: no losses, no files but their own, no devices."""

from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import Discriminator
from crvae.models.gaussian import DiagonalGaussian
from crvae.models.recurrence import ChannelRecurrence

__all__ = ["Autoencoder", "ChannelRecurrence", "DiagonalGaussian", "Discriminator"]
