"""The released Stage1 models as our Autoencoder (specification, sections 2, 3 and 6).

A file holds a table of networks: encoder, decoder and, for crVAE, the two networks around the channel recurrence in the
places 3 and 4; a discriminator comes last and is skipped. Every layer must be the one that our model has there.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from crvae.config.stage1 import ModelConfig
from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.models.latent import ConvolutionalLatent, DenseLatent, RecurrentLatent
from crvae.storage.weights import skeleton
from crvae.torch7.layers import Layer, Unlike, kind_of, layers, parameters
from crvae.torch7.reader import read_torch7

GROUPS = 8
"""Channel groups in place of time steps if there is no recurrence."""


def import_torch7(path: Path) -> Autoencoder:
    """The Stage1 model in a file that the authors' code saved, in evaluation mode, every layer checked against ours.

    Raises UserError, in one sentence, if the file is damaged or holds another model. The decoder's running statistics are
    those of the file.
    """
    networks = _networks(path, read_torch7(path))
    try:
        found = [layers(network) for network in networks]
        config = configuration(found)
        model = skeleton(path, lambda: Autoencoder(config))
        names = {module: name for name, module in model.named_modules()}
        state = {}
        for theirs, ours in zip(found, _counterparts(model), strict=True):
            if len(theirs) != len(ours):
                raise Unlike(f"a network has {len(theirs)} layers where {len(ours)} are needed")
            for layer, module in zip(theirs, ours, strict=True):
                state |= {f"{names.get(module)}.{key}": value for key, value in parameters(layer, module).items()}
    except Unlike as error:
        raise UserError(f"{path} is not one of the released Stage1 models: {error}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise UserError(f"{path} is not one of the released Stage1 models: {first['msg']}") from None
    model.to_empty(device="cpu")
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def configuration(networks: list[list[Layer]]) -> ModelConfig:
    """What the layers say of the model's size and kind. Raises Unlike or ValidationError if they say nothing sensible."""
    encoder = networks[0]
    convolutions = [layer for layer in encoder if layer.kind == "convolution"]
    norms = [layer for layer in [*encoder, *networks[1]] if layer.kind == "batch norm"]
    if not convolutions or not norms:
        raise Unlike("its encoder has no convolutions or no batch norm")
    digits = encoder[0].kind == "convolution"  # the others begin with CReLU
    width = _whole(convolutions[0].number("nOutputPlane"))
    recurrences = [layer for network in networks[2:] for layer in network if layer.kind == "lstm"]
    last = [layer for layer in encoder if layer.kind in ("linear", "offset", "convolution")][-1]
    latent = "recurrent" if recurrences else "dense" if last.kind == "linear" else "convolutional"
    flat = latent == "dense" or (recurrences and digits)  # fully connected mean path
    channels = _whole(_size(last) / 16 if flat else convolutions[-1].number("nOutputPlane"))
    steps = GROUPS if channels % GROUPS == 0 else 1
    if recurrences:  # each step sees 4x4 positions of the trunk's 8 base widths, divided by the steps
        steps = _whole(16 * 8 * width / max(1, recurrences[0].number("inputSize")))
    return ModelConfig(
        latent=latent,  # type: ignore[arg-type]
        size=28 if digits else 64,
        channels=1 if digits else 3,
        width=width,
        latent_channels=channels,
        steps=steps,
        likelihood="bernoulli" if digits else "gaussian",
        batch_norm_eps=float(min(layer.number("eps") for layer in norms)),
        batch_norm_momentum=float(norms[-1].number("momentum")),
        release=True,
    )


def _networks(path: Path, content: object) -> list[Any]:
    """Encoder, decoder, and the two networks of the recurrence where there are any."""
    table = content if isinstance(content, dict) else {}
    if 1 not in table or 2 not in table:
        raise UserError(f"{path} is not one of the released Stage1 models: it holds no encoder and decoder")
    return [table.get(index) for index in range(1, 5 if 4 in table else 3)]


def _counterparts(model: Autoencoder) -> list[list[nn.Module]]:
    """Our layers, network by network, in the order in which theirs run."""
    latent, end = model.latent, nn.Sigmoid() if model.config.likelihood == "bernoulli" else nn.Tanh()
    encoder, decoder = _leaves(model.encoder), [*_leaves(model.decoder), end]
    if isinstance(latent, DenseLatent):
        return [[*encoder, latent.mean, latent.log_variance], [latent.generate, *decoder]]
    if isinstance(latent, ConvolutionalLatent):
        return [[*encoder, *_leaves(latent.mean), latent.log_variance], [*_leaves(latent.project), *decoder]]
    assert isinstance(latent, RecurrentLatent)
    return [
        [*encoder, *_leaves(latent.mean)],
        [*_leaves(latent.project), *decoder],
        _leaves(latent.log_variance),
        _leaves(latent.transform),
    ]


def _leaves(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if kind_of(part)]


def _size(layer: Layer) -> int:
    """Values that come out of a linear layer or an offset."""
    bias = layer.fields.get("bias")
    weight = layer.fields.get("weight")
    if layer.kind == "linear" and getattr(weight, "ndim", 0) == 2:
        return weight.shape[0]  # type: ignore[union-attr]
    return int(getattr(bias, "size", 0))


def _whole(value: float) -> int:
    if not math.isfinite(value) or value != int(value):
        raise Unlike(f"a size is {value}, no whole number")
    return int(value)
