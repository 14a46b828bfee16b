"""What networks trained on ImageNet have in common: how images are normalised for them, and timm's, by name."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from crvae.errors import UserError, brief
from crvae.extras import require

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue, images in [0, 1]: what torchvision's networks expect."""

PREFIX = "timm:"
"""Before the name of any timm model."""


class Found(NamedTuple):
    """A timm network with what it expects."""

    network: Any
    size: int
    """Height and width of its images, in pixels."""
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def from_timm(name: str, pretrained: bool, **options: Any) -> Found:
    """timm's model `name`, which begins with PREFIX, made with timm's own `options`.

    Raises UserError if timm is missing, has no such model, or cannot make it or fetch its weights.
    """
    require(name, "timm")
    import timm
    from timm.data.config import resolve_model_data_config

    model = name.removeprefix(PREFIX)
    if not timm.is_model(model):
        raise UserError(f"timm has no model {model!r}: choose one that `timm.list_models()` names")
    try:
        network: nn.Module = timm.create_model(model, pretrained=pretrained, **options)
    except Exception as error:  # timm's downloads fail in many ways; none of them is a bug of ours
        raise UserError(f"{name} cannot be used ({brief(error)}): choose another network") from None
    expects = resolve_model_data_config(network)
    return Found(network, expects["input_size"][-1], tuple(expects["mean"]), tuple(expects["std"]))
