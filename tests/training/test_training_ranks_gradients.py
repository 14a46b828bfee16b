"""Two data-parallel ranks with half a batch each give the gradients of one process that accumulates the same two halves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from crvae.config.stage1 import Stage1Config
from crvae.recipes import RECIPES
from crvae.training.launch import devices
from crvae.training.optimising import Optimising
from crvae.training.stage import seeded
from crvae.training.stage1 import Stage1

SEED, BATCH = 3, 32


def gradients(out: Path) -> None:
    """Both sides' gradients of one batch, on all the ranks there are (in two parts on one rank), written by rank 0."""
    body = RECIPES["emoji-crvae-gan-mi"].config.model_dump()
    body["model"]["width"] = 2
    body["train"] |= {"batch": BATCH, "precision": "fp32"}
    config = Stage1Config.model_validate(body)
    fabric, _ = devices("fp32", deterministic=False)
    torch.manual_seed(SEED)
    stage = Stage1(config)
    images = torch.rand(BATCH, 3, 64, 64) * 2 - 1
    halves = images.chunk(2)
    slots = [fabric.global_rank] if fabric.world_size == 2 else [0, 1]
    sides = [Optimising(side, config.train, fabric) for side in stage.sides]
    carries: dict[int, tuple] = {slot: (halves[slot],) for slot in slots}
    for number, side in enumerate(sides):
        for slot in slots:
            seeded(SEED, number, slot, 0)
            with side.averaging(last=slot == slots[-1]):
                loss, _, carries[slot] = side.forward(*carries[slot])
                side.backward(loss / len(slots))
    if fabric.is_global_zero:
        found = {f"{name}.{p}": q.grad for name, net in stage.networks.items() for p, q in net.named_parameters()}
        save_file({name: gradient.contiguous() for name, gradient in found.items() if gradient is not None}, out)


def run(out: Path, ranks: int) -> dict[str, torch.Tensor]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    done = subprocess.run([sys.executable, *launcher, __file__, str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load_file(out)


def test_two_ranks_give_the_gradients_of_two_accumulated_halves(tmp_path):
    one, two = run(tmp_path / "one", 1), run(tmp_path / "two", 2)
    assert set(one) == set(two)
    assert any(name.startswith("discriminator.latent_head") for name in one)
    assert any("lstm" in name for name in one)
    largest = {"model": 0.0, "discriminator": 0.0}
    for name, gradient in one.items():
        largest[name.split(".")[0]] = max(largest[name.split(".")[0]], gradient.abs().max().item())
    assert min(largest.values()) > 1e-4, "there are gradients to compare"
    for name, gradient in one.items():
        torch.testing.assert_close(
            two[name], gradient, rtol=1e-3, atol=1e-5 * largest[name.split(".")[0]], msg=lambda m, n=name: f"{n}: {m}"
        )


if __name__ == "__main__":
    gradients(Path(sys.argv[1]))
