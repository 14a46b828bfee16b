"""The layers of a Torch7 network in the order in which they run, and their parameters as ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crvae.models.layers import CReLU, Offset
from crvae.torch7.reader import Instance

LAYERS = 1_000
"""A network of more layers is refused."""

KINDS = {
    "SpatialConvolution": "convolution",
    "SpatialConvolutionMM": "convolution",
    "SpatialFullConvolution": "transposed convolution",
    "SpatialBatchNormalization": "batch norm",
    "BatchNormalization": "batch norm",
    "Linear": "linear",
    "Add": "offset",
    "LSTM": "lstm",
    "ReLU": "relu",
    "LeakyReLU": "leaky relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
}
"""Class of nn or cudnn -> kind."""

SILENT = ("Identity", "MulConstant", "JoinTable", "View", "Reshape", "Contiguous", "Copy")
"""Classes that only move values about. CReLU is Identity and MulConstant joined, then ReLU."""

OURS = {
    nn.Conv2d: "convolution",
    nn.ConvTranspose2d: "transposed convolution",
    nn.BatchNorm2d: "batch norm",
    nn.BatchNorm1d: "batch norm",
    nn.Linear: "linear",
    Offset: "offset",
    nn.LSTM: "lstm",
    CReLU: "relu",
    nn.LeakyReLU: "leaky relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
}
"""Our modules -> kind."""


class Unlike(Exception):
    """In what a network is not like the released ones."""


@dataclass(frozen=True)
class Layer:
    kind: str
    fields: dict[Any, Any] = field(repr=False)

    def number(self, name: str) -> float:
        """A number among its fields. Raises Unlike if there is none."""
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unlike(f"a {self.kind} has no {name}")
        return value

    def array(self, name: str, shape: torch.Size | tuple[int, ...]) -> Tensor:
        """A tensor among its fields, as float32 of `shape`. Raises Unlike if it has not as many finite values."""
        value = self.fields.get(name)
        if not isinstance(value, np.ndarray):
            raise Unlike(f"a {self.kind} has no {name}")
        count = int(np.prod(shape))
        if value.size != count:
            raise Unlike(f"the {name} of a {self.kind} has {value.size:,} values where {count:,} are needed")
        array = np.array(value, dtype=np.float32).reshape(tuple(shape))
        if not np.isfinite(array).all():
            raise Unlike(f"the {name} of a {self.kind} holds values that are not finite")
        return torch.from_numpy(array)


def layers(network: Any) -> list[Layer]:
    """The layers of a network, containers and silent ones left out. Raises Unlike for a class that no released model has."""
    found: list[Layer] = []
    _walk(network, found, ())
    return found


def _walk(module: Any, found: list[Layer], above: tuple[int, ...]) -> None:
    if not isinstance(module, Instance):
        raise Unlike("it holds something else where a network should be")
    if id(module) in above or len(above) > 20 or len(found) > LAYERS:
        raise Unlike("its containers never end")
    short = module.name.rpartition(".")[2]
    if short in SILENT:
        return
    if short in KINDS:
        found.append(Layer(KINDS[short], module.fields))
        return
    children = module.fields.get("modules")
    if not isinstance(children, dict):
        raise Unlike(f"it holds a layer of class {module.name[:60]!r}")
    for index in range(1, len(children) + 1):
        _walk(children.get(index), found, (*above, id(module)))


def kind_of(module: nn.Module) -> str | None:
    """Kind of one of our modules; None for containers and for what only moves values about."""
    return next((kind for ours, kind in OURS.items() if isinstance(module, ours)), None)


def parameters(layer: Layer, module: nn.Module) -> dict[str, Tensor]:
    """The parameters of `layer` under the names of `module`. Raises Unlike if they are not of one kind and shape."""
    if kind_of(module) != layer.kind:
        raise Unlike(f"there is a {layer.kind} where a {kind_of(module)} should be")
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return _convolution(layer, module)
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return _batch_norm(layer, module)
    if isinstance(module, nn.LSTM):
        return _lstm(layer, module)
    if isinstance(module, nn.Linear):
        shape = module.weight.shape
        return {"weight": layer.array("weight", shape), "bias": _bias(layer, shape[0])}
    if isinstance(module, Offset):
        return {"bias": layer.array("bias", module.bias.shape)}
    if isinstance(module, nn.LeakyReLU) and layer.number("negval") != module.negative_slope:
        raise Unlike(f"a leaky relu has slope {layer.number('negval')}, not {module.negative_slope}")
    return {}


def _convolution(layer: Layer, module: nn.Conv2d | nn.ConvTranspose2d) -> dict[str, Tensor]:
    """Both store `out in kh kw` (transposed: `in out kh kw`), as torch does."""
    wanted = (*module.kernel_size, *module.stride, *module.padding)
    found = tuple(layer.number(name) for name in ("kH", "kW", "dH", "dW", "padH", "padW"))
    if found != wanted:
        raise Unlike(f"a {layer.kind} has kernel, stride and padding {found}, not {wanted}")
    return {"weight": layer.array("weight", module.weight.shape), "bias": _bias(layer, module.out_channels)}


def _batch_norm(layer: Layer, module: nn.BatchNorm1d | nn.BatchNorm2d) -> dict[str, Tensor]:
    """Another epsilon than ours moves into the running variance: their sum is all that evaluation sees."""
    shape = (module.num_features,)
    variance = layer.array("running_var", shape).double() + (layer.number("eps") - module.eps)
    return {
        "weight": layer.array("weight", shape),
        "bias": layer.array("bias", shape),
        "running_mean": layer.array("running_mean", shape),
        "running_var": variance.float(),
        "num_batches_tracked": torch.tensor(0),
    }


def _lstm(layer: Layer, module: nn.LSTM) -> dict[str, Tensor]:
    """cuDNN's one flat vector: for every layer its four input and four recurrent matrices, then all layers' biases alike.

    The gates come in the order input, forget, cell, output, as torch stacks them.
    """
    if layer.fields.get("mode") != "CUDNN_LSTM" or layer.number("numDirections") != 1:
        raise Unlike("a recurrence is not a one-directional LSTM")
    size, hidden, depth = module.input_size, module.hidden_size, module.num_layers
    if (layer.number("inputSize"), layer.number("hiddenSize"), layer.number("numLayers")) != (size, hidden, depth):
        raise Unlike(f"an LSTM is not {size} -> {hidden} in {depth} layers")
    names = [f"weight_{part}_l{level}" for level in range(depth) for part in ("ih", "hh")]
    names += [f"bias_{part}_l{level}" for level in range(depth) for part in ("ih", "hh")]
    shapes = [getattr(module, name).shape for name in names]
    flat = layer.array("weight", (sum(shape.numel() for shape in shapes),))
    parts = flat.split([shape.numel() for shape in shapes])
    return {name: part.view(shape).clone() for name, part, shape in zip(names, parts, shapes, strict=True)}


def _bias(layer: Layer, count: int) -> Tensor:
    """The bias, or zeros where the layer was made without one."""
    return torch.zeros(count) if layer.fields.get("bias") is None else layer.array("bias", (count,))
