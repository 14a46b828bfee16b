"""Torch7 files written here, byte for byte as Lua's `torch.save` writes them, and the released networks as such values."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(eq=False)
class Lua:
    """An object of a Lua class."""

    name: str
    fields: dict[Any, Any] = field(default_factory=dict)


@dataclass(eq=False)
class View:
    """A tensor into a storage that others share, as getParameters() leaves them."""

    storage: np.ndarray
    sizes: tuple[int, ...]
    offset: int
    kind: str = "Cuda"

    @property
    def strides(self) -> list[int]:
        return [int(np.prod(self.sizes[axis + 1 :], dtype=int)) for axis in range(len(self.sizes))]


class Writer:
    """Values to bytes; each object is written once and then referred to by its index."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.indices: dict[int, int] = {}
        self.alive: list[Any] = []

    def int(self, value: int) -> None:
        self.out += struct.pack("<i", value)

    def longs(self, *values: int) -> None:
        self.out += struct.pack(f"<{len(values)}q", *values)

    def text(self, value: str) -> None:
        content = value.encode("latin-1")
        self.int(len(content))
        self.out += content

    def value(self, value: Any) -> None:
        if value is None:
            self.int(0)
        elif isinstance(value, bool):
            self.int(5)
            self.int(value)
        elif isinstance(value, int | float):
            self.int(1)
            self.out += struct.pack("<d", value)
        elif isinstance(value, str):
            self.int(2)
            self.text(value)
        elif isinstance(value, tuple):  # a LongStorage
            self.storage(self.keep(np.array(value, dtype="<i8")), "Long")
        elif isinstance(value, dict):
            if self.new(3, value):
                self.int(len(value))
                for key, item in value.items():
                    self.value(key)
                    self.value(item)
        elif isinstance(value, Lua):
            if self.new(4, value):
                self.text("V 1")
                self.text(value.name)
                fresh = dict(value.fields)
                self.alive.append(fresh)
                self.value(fresh)
        elif isinstance(value, View):
            if self.new(4, value):
                self.text("V 1")
                self.text(f"torch.{value.kind}Tensor")
                self.int(len(value.sizes))
                self.longs(*value.sizes, *value.strides, value.offset + 1)
                self.storage(value.storage, value.kind)
        elif isinstance(value, np.ndarray):
            self.value(self.keep(View(np.ascontiguousarray(value).reshape(-1), value.shape, 0)))
        else:
            raise TypeError(type(value))

    def storage(self, storage: np.ndarray, kind: str) -> None:
        if self.new(4, storage):
            self.text("V 1")
            self.text(f"torch.{kind}Storage")
            self.longs(len(storage))
            self.out += storage.tobytes()

    def new(self, kind: int, value: Any) -> bool:
        """Writes kind and index; True where the content must follow."""
        self.int(kind)
        known = id(value) in self.indices
        if not known:
            self.alive.append(value)
            self.indices[id(value)] = len(self.indices) + 1
        self.int(self.indices[id(value)])
        return not known

    def keep(self, value: Any) -> Any:
        self.alive.append(value)
        return value


def dump(value: Any) -> bytes:
    writer = Writer()
    writer.value(value)
    return bytes(writer.out)


def table(*values: Any) -> dict[int, Any]:
    return dict(enumerate(values, 1))


class Networks:
    """The released networks with random weights, layer by layer as the authors' scripts build them."""

    def __init__(self, seed: int, width: int, channels: int = 64, eps: float = 1e-6):
        self.random = np.random.default_rng(seed)
        self.width, self.channels, self.eps = width, channels, eps

    def array(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * self.random.standard_normal(shape)).astype(np.float32)

    def convolution(self, i: int, o: int, k: int, s: int, p: int, full: bool = False) -> Lua:
        fields = {"nInputPlane": i, "nOutputPlane": o, "kW": k, "kH": k, "dW": s, "dH": s, "padW": p, "padH": p}
        shape = (i, o, k, k) if full else (o, i, k, k)
        fields |= {"weight": self.array(*shape, scale=(i * k * k) ** -0.5), "bias": self.array(o, scale=0.1)}
        return Lua("cudnn.SpatialFullConvolution" if full else "cudnn.SpatialConvolution", fields)

    def norm(self, n: int, name: str = "nn.SpatialBatchNormalization", eps: float = 0.0, momentum: float = 0.9) -> Lua:
        fields = {
            "eps": eps or self.eps,
            "momentum": momentum,
            "affine": True,
            "weight": 1 + self.array(n, scale=0.1),
            "bias": self.array(n, scale=0.1),
            "running_mean": self.array(n, scale=0.1),
            "running_var": 1 + self.array(n, scale=0.1) ** 2,
        }
        return Lua(name, fields)

    def linear(self, i: int, o: int) -> Lua:
        return Lua("nn.Linear", {"weight": self.array(o, i, scale=i**-0.5), "bias": self.array(o, scale=0.1)})

    def add(self) -> Lua:
        return Lua("nn.Add", {"bias": self.array(self.channels, 4, 4, scale=0.1), "scalar": False})

    def lstm(self, i: int, h: int) -> Lua:
        count = 4 * h * (i + h) + 4 * h * (h + h) + 16 * h
        fields = {"inputSize": i, "hiddenSize": h, "numLayers": 2, "numDirections": 1, "batchFirst": True}
        fields |= {"mode": "CUDNN_LSTM", "dropout": 0, "weight": self.array(count, scale=h**-0.5)}
        return Lua("cudnn.LSTM", fields)

    def sequential(self, *layers: Lua) -> Lua:
        return Lua("nn.Sequential", {"modules": table(*layers), "train": False, "_type": "torch.CudaTensor"})

    def crelu(self) -> list[Lua]:
        split = Lua(
            "nn.ConcatTable", {"modules": table(Lua("nn.Identity"), Lua("nn.MulConstant", {"constant_scalar": -1}))}
        )
        return [split, Lua("nn.JoinTable", {"dimension": 2}), Lua("cudnn.ReLU", {"inplace": True})]

    def block(self, convolution: Lua, *activation: Lua) -> list[Lua]:
        return [convolution, self.norm(convolution.fields["nOutputPlane"]), *activation]

    def leaky(self) -> Lua:
        return Lua("nn.LeakyReLU", {"negval": 0.1})

    def trunk(self) -> list[Lua]:
        b = self.width
        return [
            *self.crelu(),
            *self.block(self.convolution(6, b, 5, 2, 2), *self.crelu()),
            *self.block(self.convolution(2 * b, 2 * b, 3, 2, 1), *self.crelu()),
            *self.block(self.convolution(4 * b, 4 * b, 3, 2, 1), *self.crelu()),
            *self.block(self.convolution(8 * b, 8 * b, 3, 1, 1), self.leaky()),
            *self.block(self.convolution(8 * b, 8 * b, 3, 2, 1), *self.crelu()),
            *self.block(self.convolution(16 * b, 8 * b, 3, 1, 1), self.leaky()),
        ]

    def tail(self) -> list[Lua]:
        b = self.width
        return [
            *self.block(self.convolution(8 * b, 8 * b, 4, 2, 1, full=True), self.leaky()),
            *self.block(self.convolution(8 * b, 8 * b, 3, 1, 1), self.leaky()),
            *self.block(self.convolution(8 * b, 4 * b, 4, 2, 1, full=True), self.leaky()),
            *self.block(self.convolution(4 * b, 2 * b, 4, 2, 1, full=True), self.leaky()),
            *self.block(self.convolution(2 * b, 2 * b, 4, 2, 1, full=True), self.leaky()),
            *self.block(self.convolution(2 * b, 2 * b, 3, 1, 1), self.leaky()),
            self.convolution(2 * b, 3, 3, 1, 1),
            Lua("nn.Tanh"),
        ]

    def dense(self) -> dict[int, Lua]:
        values, latent = 128 * self.width, 16 * self.channels
        heads = Lua("nn.ConcatTable", {"modules": table(self.linear(values, latent), self.linear(values, latent))})
        encoder = self.sequential(*self.trunk(), Lua("nn.View", {"numElements": values}), heads)
        decoder = self.sequential(self.linear(latent, values), Lua("nn.View", {"numElements": values}), *self.tail())
        return table(encoder, decoder, self.sequential(Lua("nn.BatchDiscrimination", {"anything": 1})))

    def digits(self, latent: str) -> dict[int, Lua]:
        """The 28x28 networks: encoder and decoder, and for crVAE the two of the recurrence."""
        b, z = self.width, self.channels
        third = (3, 2, 1) if latent == "recurrent" else (5, 2, 2)
        trunk = [
            *self.block(self.convolution(1, b, 5, 2, 3), *self.crelu()),
            *self.block(self.convolution(2 * b, 2 * b, 3, 1, 1), self.leaky()),
            *self.block(self.convolution(2 * b, 2 * b, 3, 2, 1), *self.crelu()),
            *self.block(self.convolution(4 * b, 4 * b, 3, 1, 1), self.leaky()),
            *self.block(self.convolution(4 * b, 4 * b, *third), *self.crelu()),
            *self.block(self.convolution(8 * b, 8 * b, 3, 1, 1), self.leaky()),
        ]
        tail = [
            *self.block(self.convolution(8 * b, 8 * b, 4, 2, 1, full=True), self.leaky()),
            *self.block(self.convolution(8 * b, 8 * b, 3, 1, 1), self.leaky()),
            *self.block(self.convolution(8 * b, 4 * b, 4, 2, 1, full=True), self.leaky()),
            *self.block(self.convolution(4 * b, 4 * b, 3, 1, 1), self.leaky()),
            *self.block(self.convolution(4 * b, 2 * b, 4, 2, 2, full=True), self.leaky()),
            *self.block(self.convolution(2 * b, 2 * b, 3, 1, 1), self.leaky()),
            self.convolution(2 * b, 1, 3, 1, 0),
            Lua("nn.Sigmoid"),
        ]
        view = Lua("nn.View", {"numElements": 1})
        values, flat = 128 * b, 16 * z
        if latent == "dense":
            heads = table(self.linear(values, flat), self.linear(values, flat))
            encoder = self.sequential(*trunk, view, Lua("nn.ConcatTable", {"modules": heads}))
            return table(encoder, self.sequential(self.linear(flat, values), view, *tail))
        if latent == "convolutional":
            heads = table(self.convolution(8 * b, z, 3, 1, 1), self.convolution(8 * b, z, 3, 1, 1))
            encoder = self.sequential(*trunk, Lua("nn.ConcatTable", {"modules": heads}))
            return table(encoder, self.sequential(*self.block(self.convolution(z, 8 * b, 3, 1, 1)), *tail))
        mean = self.sequential(view, self.linear(values, flat), Lua("nn.View", {"sizes": (z, 4, 4)}), self.add())
        heads = Lua("nn.ConcatTable", {"modules": table(mean, Lua("nn.Identity"))})
        hidden, block = 16 * b, 2 * z
        variance = self.sequential(view, self.lstm(hidden, hidden), view, self.linear(hidden, block), view)
        return table(
            self.sequential(*trunk, heads),
            self.sequential(self.add(), *self.block(self.convolution(z, 8 * b, 3, 1, 1)), *tail),
            Lua("nn.ParallelTable", {"modules": table(Lua("nn.Identity"), variance)}),
            self.sequential(view, self.lstm(block, hidden), view, self.linear(hidden, block), view),
        )

    def recurrent(self) -> dict[int, Lua]:
        b, z, t = self.width, self.channels, 8
        hidden, block = 128 * b // t, 16 * z // t
        mean = self.sequential(self.convolution(8 * b, z, 3, 1, 1), self.add())
        heads = Lua("nn.ConcatTable", {"modules": table(mean, Lua("nn.Identity"))})
        view = Lua("nn.View", {"numElements": 1})
        norm = self.norm(hidden, "nn.BatchNormalization", eps=1e-5, momentum=0.1)
        variance = self.sequential(
            view, Lua("nn.Contiguous"), self.lstm(hidden, hidden), view, norm, self.linear(hidden, block), view
        )
        return table(
            self.sequential(*self.trunk(), heads),
            self.sequential(self.add(), *self.block(self.convolution(z, 8 * b, 3, 1, 1)), *self.tail()),
            Lua("nn.ParallelTable", {"modules": table(Lua("nn.Identity"), variance)}),
            self.sequential(view, self.lstm(block, hidden), view, self.linear(hidden, block), view),
            self.sequential(Lua("nn.BatchDiscrimination", {"anything": 1})),
        )
