"""ONNX graphs of a model, each compared with the model and timed before it is kept.

`encoder.onnx`: images `b c h w` in [-1, 1] -> mean and log-variance of the posterior. `decoder.onnx`: z, the channel
recurrence included -> images. `prior.onnx` (learned priors): standard normal noise -> z, the sampler's loop inside.
`upsampler.onnx` (Stage2): small images -> large ones. The batch `b` is free.
"""

from __future__ import annotations

import copy
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crvae.errors import UserError
from crvae.extras import EXTRAS, require
from crvae.files import write_bytes
from crvae.models.autoencoder import Autoencoder
from crvae.models.model import Model, stage1_of
from crvae.models.prior import LearnedPrior, Prior
from crvae.models.upsampler import Upsampler
from crvae.progress import Progress, silent

AGREEMENT = 1e-4
"""The largest difference from the model that a graph may have, in any value."""

REPEATS = 15
"""Timed runs, of which the median counts."""

TIMED_BATCHES = (1, 16)


@dataclass(frozen=True)
class Graph:
    """One file: what it computes, and the names of what goes in and comes out."""

    file: str
    module: nn.Module
    input: str
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """What was found out about a graph: its size, its largest difference from the model, and both latencies in ms by batch."""

    file: str
    bytes: int
    difference: float
    images: int
    latency: dict[int, tuple[float, float]]
    """Batch -> (ONNX Runtime, PyTorch)."""


class Encoding(nn.Module):
    """Images -> (mean, log-variance)."""

    def __init__(self, model: Autoencoder):
        super().__init__()
        self.model = model

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, " b *d"], Float[Tensor, " b *d"]]:
        posterior = self.model.encode(x)
        return posterior.mean, posterior.log_variance


class Decoding(nn.Module):
    """z -> images."""

    def __init__(self, model: Autoencoder):
        super().__init__()
        self.model = model

    def forward(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, "b c h w"]:
        return self.model.decode(z)


class Generating(nn.Module):
    """Standard normal noise -> draws of the prior."""

    def __init__(self, prior: Prior):
        super().__init__()
        self.prior = prior

    def forward(self, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        return self.prior.generate(noise)


def require_onnx() -> None:
    """Raises UserError if the packages of the `onnx` extra are missing."""
    require("--format onnx", *EXTRAS["onnx"])


def write_graphs(
    model: Model,
    folder: Path,
    images: Float[Tensor, "b c h w"],
    progress: Progress = silent,
) -> list[Checked]:
    """Writes all graphs of `model` to `folder` and compares them with it on `images` (Stage1's size) and on prior draws.

    Each graph is three parts of the progress: the model timed, the graph written, compared and timed. Raises UserError if
    one differs by more than AGREEMENT.
    """
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)  # exporting leaves traces in the LSTM
    stage1 = stage1_of(model)
    latents = torch.cat([stage1.encode(images).mean, stage1.prior.sample(len(images))])
    graphs = [
        (Graph("encoder.onnx", Encoding(stage1), "images", ("mean", "log_variance")), images),
        (Graph("decoder.onnx", Decoding(stage1), "z", ("images",)), latents),
    ]
    if isinstance(stage1.prior, LearnedPrior):
        noise = stage1.prior.noise(len(images))
        graphs.append((Graph("prior.onnx", Generating(stage1.prior), "noise", ("z",)), noise))
    if isinstance(model, Upsampler):
        graphs.append((Graph("upsampler.onnx", model, "images", ("large_images",)), stage1.decode(latents)))
    checked = []
    for place, (graph, inputs) in enumerate(graphs):
        done, total = 3 * place, 3 * len(graphs)
        progress("ONNX graphs", done, total)
        expected = _tuple(graph.module(inputs))
        latency = {batch: _latency(graph.module, _batch(inputs, batch)) for batch in TIMED_BATCHES}
        progress("ONNX graphs", done + 1, total)
        write_graph(graph, folder / graph.file, inputs[:2])
        progress("ONNX graphs", done + 2, total)
        checked.append(_check(graph, folder / graph.file, inputs, expected, latency))
        progress("ONNX graphs", done + 3, total)
    return checked


def write_graph(graph: Graph, path: Path, example: Tensor) -> None:
    """Traces the module on `example` (a batch of 2) with a free batch, and writes it with its weights inside."""
    batch = torch.export.Dim("batch", min=1)
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            copy.deepcopy(graph.module),
            (example,),
            dynamo=True,
            dynamic_shapes=({0: batch},),
            input_names=[graph.input],
            output_names=list(graph.outputs),
            verbose=False,
        )
    assert program is not None
    write_bytes(path, program.model_proto.SerializeToString())


def _check(
    graph: Graph, path: Path, inputs: Tensor, expected: tuple[Tensor, ...], torch_ms: dict[int, float]
) -> Checked:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> list[Any]:
        return list(session.run(None, {graph.input: x.numpy()}))

    differences = [
        (torch.from_numpy(found) - wanted).abs().max() for found, wanted in zip(run(inputs), expected, strict=True)
    ]
    difference = float(torch.stack(differences).max())  # which keeps what is not a number
    if not difference <= AGREEMENT:
        raise UserError(
            f"{path.name} differs from the model by {difference:.2g}, over {AGREEMENT}: leave --format onnx out"
        )
    latency = {batch: (_latency(run, _batch(inputs, batch)), ms) for batch, ms in torch_ms.items()}
    return Checked(graph.file, path.stat().st_size, difference, len(inputs), latency)


@torch.no_grad()
def _latency(call: Callable[[Tensor], object], x: Tensor) -> float:
    """Median time of a call, in ms, after two to warm up."""
    times = []
    for _ in range(REPEATS + 2):
        begun = time.perf_counter()
        call(x)
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times[2:])


def _batch(inputs: Tensor, size: int) -> Tensor:
    return inputs[torch.arange(size) % len(inputs)].contiguous()


def _tuple(outputs: Any) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)
