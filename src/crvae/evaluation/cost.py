"""What a recipe costs: parameters, floating-point operations, memory and latency (section 5 of the paper)."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from crvae.config.stage1 import Stage1Config
from crvae.config.stage2 import Stage2Config
from crvae.devices import device_name
from crvae.errors import UserError
from crvae.evaluation.latency import QUIET, Others, Times, in_turns
from crvae.models.autoencoder import Autoencoder
from crvae.models.priors import build_prior, prior_config
from crvae.progress import Progress, silent
from crvae.training.fabric import Fabric
from crvae.training.launch import devices
from crvae.training.stage1 import Stage1, build
from crvae.training.step import TrainingStep

EXPECTED = 120.0
"""Seconds that a recipe is said to take where no limit is set."""

BATCHES = (1, 16, 128)
"""Batch sizes at which latency is measured; the paper's is 128."""

Config = Stage1Config | Stage2Config


@dataclass(frozen=True)
class Cost:
    """One recipe's cost. Parameters are counts, memory is bytes, latency is milliseconds a batch; None: not measured."""

    recipe: str
    parameters: dict[str, int]
    flops_per_image: dict[str, int]
    peak_memory_bytes: int | None
    latency_ms: dict[str, dict[str, float]]
    """Medians, by work and batch; what the time limit did not allow is left out."""
    latency_middle_half_ms: dict[str, dict[str, tuple[float, float]]]
    """The quartiles about each median."""
    device: str
    others: float | None = None
    """Processors that other programs kept busy while the latencies were measured."""


def not_quiet(others: float | None, measured: str) -> str:
    """A sentence if `others`, of the `Cost` of what is named `measured`, made its latencies too long; else nothing."""
    if others is None or others <= QUIET:
        return ""
    return (
        f"the machine was not quiet: other programs kept {others:.1f} processors busy while {measured} was measured,"
        " so latencies are too long"
    )


def cost(
    config: Config,
    *,
    limit: float = math.inf,
    quick: bool = False,
    only: int | None = None,
    progress: Progress = silent,
    what: str = "measuring",
) -> Cost:
    """Counts and measures everything, in about `limit` seconds. Latency and memory are this machine's, in the recipe's precision.

    `quick` leaves out memory and the largest batch. `only` is the one batch at which latency is measured, without the counts
    of operations. `progress` is told `what` and the seconds so far. Raises UserError if a frozen network that the recipe trains
    with cannot be fetched, or a training step does not fit into memory.
    """
    begun, expected = time.perf_counter(), limit if math.isfinite(limit) else EXPECTED

    def tick() -> None:
        passed = time.perf_counter() - begun
        progress(what, round(passed), round(max(passed, expected)))

    tick()
    fabric, precision = devices(config.train.precision, deterministic=False)
    if isinstance(config, Stage2Config):
        from crvae.evaluation.cost_stage2 import flops_per_image as flops
        from crvae.evaluation.cost_stage2 import parameters as count
    else:
        flops, count = flops_per_image, parameters
    counted, operations = count(config), {} if only else flops(config)  # type: ignore[arg-type]
    tick()
    others = Others()
    share = 0.3 if quick else 0.5
    left = max(1.0, share * (limit - (time.perf_counter() - begun)))
    batches = (only,) if only else BATCHES[:-1] if quick else BATCHES
    times = latency(config, fabric, batches, budget=3 if quick or only else 6, limit=left, tick=tick)
    used = others.used()
    memory = None if quick else peak_memory(config, max(1.0, limit - (time.perf_counter() - begun)), tick)
    return Cost(
        recipe=config.recipe,
        parameters=counted,
        flops_per_image=operations,
        peak_memory_bytes=memory,
        latency_ms={work: {batch: t.median for batch, t in found.items()} for work, found in times.items()},
        latency_middle_half_ms={
            work: {batch: (t.low, t.high) for batch, t in found.items()} for work, found in times.items()
        },
        device=f"{device_name(fabric.device)}, {torch.get_num_threads()} threads, {precision}",
        others=used,
    )


def parameters(config: Stage1Config) -> dict[str, int]:
    """Learned numbers of each sub-network, biases included (specification, section 8). `discriminator` has no latent head.

    `prior` are those that a learned prior adds.
    """
    model, discriminator = build(config)
    decoder = sum(_count(part) for part in (model.decoder, *model.latent.decoding()))
    counts = {"encoder": _count(model) - decoder, "decoder": decoder, "autoencoder": _count(model)}
    head = [] if discriminator is None else discriminator.groups().get("latent_head", [])
    latent_head, whole = sum(p.numel() for p in head), 0 if discriminator is None else _count(discriminator)
    prior = _count(with_prior(config, model).prior)
    return {**counts, "discriminator": whole - latent_head, "latent_head": latent_head, "prior": prior}


def with_prior(config: Stage1Config, model: Autoencoder) -> Autoencoder:
    """The model with the prior of its recipe in place, not fitted."""
    model.prior = build_prior(prior_config(config.prior), model.latent_shape, model.config.steps)
    return model


def flops_per_image(config: Stage1Config) -> dict[str, int]:
    """Floating-point operations (two for a multiply-add) of matrix products and convolutions, an image.

    `train` is one step of both sides, `inference` image -> z, `generation` z -> image. Counted in fp32 on the processor.
    """
    batch = 4
    stage = Stage1(config)
    step = TrainingStep(stage, Fabric(accelerator="cpu", devices=1))
    model, stored = stage.model.train(), random_batch(config, batch)
    x = torch.rand(batch, *model.image_shape) * 2 - 1
    z = torch.randn(batch, *model.latent_shape)
    works: dict[str, Callable[[], Any]] = {
        "train": lambda: step(stored, step.complete),
        "inference": torch.no_grad()(lambda: model.encode(x).sample()),
        "generation": torch.no_grad()(lambda: model.decode(z)),
    }
    return {name: count_flops(list(stage.networks.values()), work) // batch for name, work in works.items()}


def random_batch(config: Config, batch: int, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
    """Stored images of noise, as a training step takes them: uint8 `b c h w`, for Stage2 at both sizes."""
    sizes = (config.model.size,)
    if isinstance(config, Stage2Config):
        sizes += (config.model.output_size,)
    shapes = [(batch, config.model.channels, size, size) for size in sizes]
    return tuple(torch.randint(0, 256, shape, dtype=torch.uint8, device=device) for shape in shapes)


def count_flops(modules: list[nn.Module], work: Callable[[], Any]) -> int:
    """Floating-point operations of `work`, those of the `nn.LSTM`s in `modules` included.

    torch's counter does not know the CPU's LSTM: its products are added from their shapes, three times where there is a backward
    (for the inputs' and the weights' gradients).
    """
    unseen = 0

    def add(lstm: nn.Module, inputs: tuple[Tensor, ...], _: Any) -> None:
        nonlocal unseen
        assert isinstance(lstm, nn.LSTM)
        batch, steps, width = inputs[0].shape
        for _layer in range(lstm.num_layers):
            products = 2 * batch * steps * (width + lstm.hidden_size) * 4 * lstm.hidden_size
            unseen += products * (3 if torch.is_grad_enabled() else 1)
            width = lstm.hidden_size

    lstms = {layer for module in modules for layer in module.modules() if isinstance(layer, nn.LSTM)}
    handles = [lstm.register_forward_hook(add) for lstm in lstms]
    try:
        with FlopCounterMode(display=False) as counter:
            work()
    finally:
        for handle in handles:
            handle.remove()
    return counter.get_total_flops() + unseen


def latency(
    config: Config,
    fabric: Fabric,
    batches: tuple[int, ...],
    budget: float,
    limit: float,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, dict[str, Times]]:
    """Milliseconds a batch, in evaluation mode, by work and batch: `inference` is image -> z, `generation` z -> image (section 5).

    `sampling` also draws z, from the recipe's learned prior; for N(0, I) drawing costs next to nothing. All works at all batches
    take turns.
    """
    if isinstance(config, Stage2Config):
        from crvae.evaluation.cost_stage2 import upsampling

        found = {batch: upsampling(config, batch, fabric) for batch in batches}
    else:
        model = prepared(with_prior(config, build(config)[0]), fabric)
        found = {batch: works(model, batch) for batch in batches}
    contestants = {f"{name} {batch}": work for batch, named in found.items() for name, work in named.items()}
    with torch.no_grad(), fabric.autocast():
        times = in_turns(contestants, budget, limit, tick)
    names = dict.fromkeys(name for named in found.values() for name in named)
    return {
        name: {str(batch): times[f"{name} {batch}"] for batch in batches if f"{name} {batch}" in times}
        for name in names
    }


def prepared(model: Autoencoder, fabric: Fabric) -> Autoencoder:
    """The model as it is used on the device: in evaluation mode, channels last."""
    return model.to(fabric.device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]


def works(model: Autoencoder, batch: int) -> dict[str, Callable[[], Tensor]]:
    """`inference` and `generation` of one batch of random images and latents; with a learned prior `sampling` from it."""
    x = torch.rand(batch, *model.image_shape, device=model.device) * 2 - 1
    z = torch.randn(batch, *model.latent_shape, device=model.device)
    found = {"inference": lambda: model.encode(x).sample(), "generation": lambda: model.decode(z)}
    if _count(model.prior):
        found["sampling"] = lambda: model.decode(model.prior.draw_like(z))
    return found


def peak_memory(config: Config, limit: float = math.inf, tick: Callable[[], object] = lambda: None) -> int | None:
    """Peak bytes of two training steps above what importing takes, in a fresh process; `tick` is called every second.

    None where the system does not say, or where it took over `limit` seconds. Raises UserError if it failed.
    """
    until = time.monotonic() + limit
    process = subprocess.Popen(
        [sys.executable, "-m", "crvae.evaluation.peak"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            body: str | None = config.model_dump_json()
            while True:
                try:
                    said, complaint = process.communicate(body, timeout=1.0)
                    break
                except subprocess.TimeoutExpired:
                    body = None
                    tick()
                    if time.monotonic() > until:
                        return None
        finally:
            process.kill()
    if process.returncode:
        last = (complaint.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise UserError(f"a training step of {config.recipe} did not fit into memory or failed ({last}): lower --batch")
    return json.loads(said.splitlines()[-1])  # a library that is imported may print too


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
