"""`crvae cost RECIPE...`: what recipes cost, beside the paper's figures."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError
from crvae.progress import progress, waiting

if TYPE_CHECKING:
    from crvae.config.stage1 import Stage1Config
    from crvae.config.stage2 import Stage2Config
    from crvae.evaluation.cost import Cost

PAPER = """\
The paper (section 5, Titan X, batch 128): inference 5.8 ms (crVAE-GAN) against 2.6 ms (VAE-GAN), generation 4.0 against 2.2 ms;
training memory 4.5 against 6.2 GB; 130M against 164M parameters. Those two counts cannot be reproduced from the authors' release:
no base width, grouping of sub-networks or unit gives both, and base width 32, which the release trains, gives the counts above."""


@dataclass
class CostCommand:
    """Parameters, FLOPs, peak training memory, and latency of recipes on this machine."""

    recipes: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names of recipes (`crvae recipes` lists them). Stage2's are measured on an untrained Stage1 of their family."""
    batch: int = 0
    """Images in a training batch, for the memory; 0 takes each recipe's."""
    limit: float = 120.0
    """Seconds for one recipe, about; what they do not allow is not measured."""
    quick: bool = False
    """Leave out memory and batches of 128."""
    json: bool = False
    """Print one JSON document."""


def run(args: list[str]) -> None:
    command = parse(CostCommand, args, name="cost")
    configs = [_configuration(name, command.batch) for name in command.recipes]
    if not configs:
        raise UserError("cost needs the name of a recipe: crvae cost RECIPE… (`crvae recipes` lists them)")
    if not command.limit >= 1:
        raise UserError(f"--limit must be at least 1 second, got {command.limit}")
    with waiting("loading"):
        from crvae.evaluation.cost import cost, not_quiet

    costs = []
    for number, config in enumerate(configs, 1):
        said = f"measuring {config.recipe}, {number} of {len(configs)}, at most about {command.limit:.0f} seconds"
        print(said, file=sys.stderr, flush=True)
        with progress() as advance:
            measured = cost(
                config, limit=command.limit, quick=command.quick, progress=advance, what=f"measuring {config.recipe}"
            )
        costs.append(measured)
        if warning := not_quiet(measured.others, config.recipe):
            print(f"crvae: {warning}", file=sys.stderr)
    if command.json:
        print(json.dumps([dataclasses.asdict(cost) for cost in costs], indent=2))
    else:
        _print(costs)


def _configuration(name: str, batch: int) -> Stage1Config | Stage2Config:
    from crvae.recipes import named

    recipe = named(name)
    try:
        return recipe.with_options({"train__batch": batch} if batch else {})
    except UserError as error:
        raise UserError(str(error).replace("--train.batch", "--batch")) from None


def _print(costs: list[Cost]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(cost.recipe for cost in costs), box=box.SIMPLE_HEAD)
    for name in _names(cost.parameters for cost in costs):
        counts = (cost.parameters.get(name) for cost in costs)
        table.add_row(f"parameters, {name.replace('_', ' ')}", *("" if n is None else f"{n:,}" for n in counts))
    for name in _names(cost.flops_per_image for cost in costs):
        flops = (cost.flops_per_image.get(name) for cost in costs)
        table.add_row(f"GFLOP an image, {name}", *("" if n is None else f"{n / 1e9:.2f}" for n in flops))
    memory = [None if cost.peak_memory_bytes is None else cost.peak_memory_bytes / 1e9 for cost in costs]
    table.add_row("peak training memory, GB", *("not measured" if size is None else f"{size:.2f}" for size in memory))
    measured = [
        name for name in _names(cost.latency_ms for cost in costs) if any(cost.latency_ms.get(name) for cost in costs)
    ]
    for name in measured:
        for batch in _names(cost.latency_ms.get(name, {}) for cost in costs):
            table.add_row(f"{name}, ms a batch of {batch}", *(_latency(cost, name, batch) for cost in costs))
    console = Console()
    console.print(table)
    read = (
        "latencies are medians, in brackets the middle half of the calls"
        if measured
        else "latencies did not fit into --limit"
    )
    console.print(f"on {costs[0].device}; {read}", highlight=False)
    if "sampling" in measured:
        console.print(
            "generation: from a given z, or one of N(0, I); sampling: the draw of z from the recipe's prior included"
        )
    console.print(PAPER, highlight=False)


def _names(parts: Iterable[Mapping[str, object]]) -> list[str]:
    """The keys of all, each once."""
    return list(dict.fromkeys(name for part in parts for name in part))


def _latency(cost: Cost, name: str, batch: str) -> str:
    if name not in cost.latency_ms:
        return ""
    if batch not in cost.latency_ms[name]:
        return "not measured"
    low, high = cost.latency_middle_half_ms[name][batch]
    return f"{cost.latency_ms[name][batch]:.1f} ({low:.1f} to {high:.1f})"
