"""pythae 0.1.2's VAEGAN, trained by its own trainer's optimiser steps, on the dense networks of `birds-vae-gan`.

Installed by `make bench`: pip install -e '.[bench]' && pip install --no-deps pythae==0.1.2.
"""

from __future__ import annotations

import tempfile

import torch
from pythae.models import VAEGAN, VAEGANConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseDiscriminator, BaseEncoder
from pythae.trainers import CoupledOptimizerAdversarialTrainer, CoupledOptimizerAdversarialTrainerConfig
from torch import Tensor, nn

from crvae.config.stage1 import Stage1Config
from crvae.training.stage1 import build


class Encoder(BaseEncoder):
    def __init__(self, trunk: nn.Module, mean: nn.Module, log_variance: nn.Module):
        super().__init__()
        self.trunk, self.mean, self.log_variance = trunk, mean, log_variance

    def forward(self, x: Tensor) -> ModelOutput:
        h = self.trunk(x).flatten(1)
        return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))


class Decoder(BaseDecoder):
    def __init__(self, generate: nn.Module, layers: nn.Module, shape: tuple[int, ...]):
        super().__init__()
        self.layers = nn.Sequential(generate, nn.Unflatten(1, shape), layers, nn.Tanh())

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z))


class Discriminator(BaseDiscriminator):
    """Layers 1 to 4 are the features', layer 5 the adversarial head; the reconstruction is compared at layer 3 (Larsen et al.)."""

    def __init__(self, features: nn.Sequential, head: nn.Module):
        super().__init__()
        self.layers = nn.ModuleList([*features, nn.Sequential(head, nn.Unflatten(0, (-1, 1)), nn.Sigmoid())])
        self.depth = len(self.layers)

    def forward(self, x: Tensor, output_layer_levels: list[int] | None = None) -> ModelOutput:
        output = ModelOutput()
        last = max(output_layer_levels) if output_layer_levels else self.depth
        for level, layer in enumerate(self.layers[:last], 1):
            x = layer(x)
            if output_layer_levels and level in output_layer_levels:
                output[f"embedding_layer_{level}"] = x
        if last == self.depth:
            output["embedding"] = x
        return output


class Peer:
    """`peer(x)` is one iteration on a batch `b 3 64 64` in fp32."""

    def __init__(self, config: Stage1Config):
        model, discriminator = build(config)
        assert discriminator is not None
        latent = model.latent
        encoder = Encoder(model.encoder, latent.mean, latent.log_variance)
        decoder = Decoder(latent.generate, model.decoder, latent.transformed_shape)
        judge = Discriminator(discriminator.features, discriminator.adversarial_head)
        settings = VAEGANConfig(input_dim=model.image_shape, latent_dim=latent.shape[0], reconstruction_layer=3)
        self.model = VAEGAN(settings, encoder, decoder, judge).train()
        # the trainer asks for a dataset and a folder to be built; the steps below use neither
        images = torch.zeros(2, *model.image_shape)
        with tempfile.TemporaryDirectory() as folder:
            options = CoupledOptimizerAdversarialTrainerConfig(output_dir=folder, no_cuda=True)
            self.trainer = CoupledOptimizerAdversarialTrainer(
                self.model, [{"data": image} for image in images], None, options
            )
            self.trainer.prepare_training()

    def __call__(self, x: Tensor) -> None:
        self.trainer._optimizers_step(self.model({"data": x}))
