"""The networks: no losses, no files but their own, no devices."""

from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import Discriminator, PaperDiscriminator
from crvae.models.gaussian import DiagonalGaussian
from crvae.models.recurrence import ChannelRecurrence
from crvae.models.upsampler import Upsampler

__all__ = ["Autoencoder", "ChannelRecurrence", "DiagonalGaussian", "Discriminator", "PaperDiscriminator", "Upsampler"]
