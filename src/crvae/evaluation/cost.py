"""What a Stage1 recipe costs: parameters, floating-point operations, memory and latency (section 5 of the paper)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from crvae.config.stage1 import Stage1Config
from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.training.launch import devices
from crvae.training.stage1 import Stage1, build
from crvae.training.step import TrainingStep

BATCHES = (1, 16, 128)
"""Batch sizes at which latency is measured; the paper's is 128."""


@dataclass(frozen=True)
class Cost:
    """One recipe's cost. Parameters are counts, memory is bytes, latency is milliseconds a batch; None: not measured."""

    recipe: str
    parameters: dict[str, int]
    flops_per_image: dict[str, int]
    peak_memory_bytes: int | None
    latency_ms: dict[str, dict[str, float]]
    device: str


def cost(config: Stage1Config) -> Cost:
    """Counts and measures everything. Latency and memory are this machine's, in the recipe's precision."""
    fabric, precision = devices(config.train.precision, deterministic=False)
    return Cost(
        recipe=config.recipe,
        parameters=parameters(config),
        flops_per_image=flops_per_image(config),
        peak_memory_bytes=peak_memory(config),
        latency_ms=latency(config, fabric),
        device=f"{device_name(fabric.device)}, {torch.get_num_threads()} threads, {precision}",
    )


def parameters(config: Stage1Config) -> dict[str, int]:
    """Learned numbers of each sub-network, biases included (specification, section 8). `discriminator` has no latent head."""
    model, discriminator = build(config)
    decoder = sum(_count(part) for part in (model.decoder, *model.latent.decoding()))
    counts = {"encoder": _count(model) - decoder, "decoder": decoder, "autoencoder": _count(model)}
    head = [] if discriminator is None else discriminator.groups().get("latent_head", [])
    latent_head, whole = sum(p.numel() for p in head), 0 if discriminator is None else _count(discriminator)
    return {**counts, "discriminator": whole - latent_head, "latent_head": latent_head}


def flops_per_image(config: Stage1Config) -> dict[str, int]:
    """Floating-point operations (two for a multiply-add) of matrix products and convolutions, an image.

    `train` is one step of both sides, `inference` image -> z, `generation` z -> image. Counted in fp32 on the processor.
    """
    batch = 4
    stage = Stage1(config)
    step = TrainingStep(stage, Fabric(accelerator="cpu", devices=1))
    model, stored = stage.model.train(), random_batch(config, batch)
    x = torch.rand(batch, *model.image_shape) * 2 - 1
    z = model.prior.sample(batch)
    works: dict[str, Callable[[], Any]] = {
        "train": lambda: step(stored, step.complete),
        "inference": torch.no_grad()(lambda: model.encode(x).sample()),
        "generation": torch.no_grad()(lambda: model.decode(z)),
    }
    return {name: count_flops(list(stage.networks.values()), work) // batch for name, work in works.items()}


def random_batch(config: Stage1Config, batch: int, device: torch.device | str = "cpu") -> tuple[Tensor]:
    """Stored images of noise, as a training step takes them: uint8 `b c h w`."""
    model = config.model
    return (torch.randint(0, 256, (batch, model.channels, model.size, model.size), dtype=torch.uint8, device=device),)


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


def latency(config: Stage1Config, fabric: Fabric) -> dict[str, dict[str, float]]:
    """Milliseconds a batch, in evaluation mode: `inference` is image -> z, `generation` z -> image (section 5)."""
    model = prepared(build(config)[0], fabric)
    return {
        name: {str(batch): 1e3 * seconds(work, fabric) for batch, work in ((b, works(model, b)[name]) for b in BATCHES)}
        for name in ("inference", "generation")
    }


def prepared(model: Autoencoder, fabric: Fabric) -> Autoencoder:
    """The model as it is used on the device: in evaluation mode, channels last."""
    return model.to(fabric.device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]


def works(model: Autoencoder, batch: int) -> dict[str, Callable[[], Tensor]]:
    """`inference` and `generation` of one batch of random images and latents."""
    x = torch.rand(batch, *model.image_shape, device=model.device) * 2 - 1
    z = model.prior.sample(batch)
    return {"inference": lambda: model.encode(x).sample(), "generation": lambda: model.decode(z)}


def seconds(work: Callable[[], Any], fabric: Fabric, budget: float = 1.0) -> float:
    """The median time of `work` under the fabric's precision, after one call to warm up; at least 3 calls, about `budget` s."""
    times = []
    with torch.no_grad(), fabric.autocast():
        work()
        while len(times) < 3 or (sum(times) < budget and len(times) < 100):
            _wait(fabric)
            started = time.perf_counter()
            work()
            _wait(fabric)
            times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def _wait(fabric: Fabric) -> None:
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()


def peak_memory(config: Stage1Config) -> int | None:
    """Peak bytes of two training steps above what importing takes, in a fresh process; None where the system does not say."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "crvae.evaluation.peak"],
            input=config.model_dump_json(),
            capture_output=True,
            text=True,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise UserError(
            f"a training step of {config.recipe} did not fit into memory or failed ({last}): lower --batch"
        ) from None
    return json.loads(done.stdout)


def device_name(device: torch.device) -> str:
    """The processor's or the card's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return f"{len(lines)} x {lines[0]}"
    except (OSError, IndexError):
        import platform

        return platform.processor() or platform.machine()


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
