"""`crvae cost RECIPE...`: what recipes cost, beside the paper's figures."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError

if TYPE_CHECKING:
    from crvae.config.stage1 import Stage1Config
    from crvae.evaluation.cost import Cost

PAPER = """\
The paper (section 5, Titan X, batch 128): inference 5.8 ms (crVAE-GAN) against 2.6 ms (VAE-GAN), generation 4.0 against 2.2 ms;
training memory 4.5 against 6.2 GB; 130M against 164M parameters. Those two counts cannot be reproduced from the authors' release:
no base width, grouping of sub-networks or unit gives both, and base width 32, which the release trains, gives the counts above."""


@dataclass
class CostCommand:
    """Parameters, FLOPs, peak training memory, and latency of recipes on this machine."""

    recipes: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names of Stage1 recipes (`crvae recipes` lists them)."""
    batch: int = 0
    """Images in a training batch, for the memory; 0 takes each recipe's."""
    json: bool = False
    """Print one JSON document."""


def run(args: list[str]) -> None:
    command = parse(CostCommand, args, name="cost")
    configs = [_configuration(name, command.batch) for name in command.recipes]
    if not configs:
        raise UserError("cost needs the name of a recipe: crvae cost RECIPE… (`crvae recipes` lists them)")
    from crvae.evaluation.cost import cost

    costs = []
    for config in configs:
        print(f"measuring {config.recipe}", file=sys.stderr, flush=True)
        costs.append(cost(config))
    if command.json:
        print(json.dumps([dataclasses.asdict(cost) for cost in costs], indent=2))
    else:
        _print(costs)


def _configuration(name: str, batch: int) -> Stage1Config:
    from pydantic import ValidationError

    from crvae.cli.parsing import sentence
    from crvae.config.stage1 import Stage1Config
    from crvae.recipes import named

    config = named(name).config
    if not isinstance(config, Stage1Config):
        raise UserError(f"{name} is a Stage2 recipe; cost measures Stage1 recipes (`crvae recipes` lists them)")
    if batch:
        try:
            train = config.train.model_dump() | {"batch": batch}
            config = Stage1Config.model_validate(config.model_dump() | {"train": train})
        except ValidationError as error:
            raise UserError(sentence(error).replace("--train.batch", "--batch")) from None
    return config


def _print(costs: list[Cost]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(cost.recipe for cost in costs), box=box.SIMPLE_HEAD)
    for name in costs[0].parameters:
        table.add_row(f"parameters, {name.replace('_', ' ')}", *(f"{cost.parameters[name]:,}" for cost in costs))
    for name in costs[0].flops_per_image:
        table.add_row(f"GFLOP an image, {name}", *(f"{cost.flops_per_image[name] / 1e9:.2f}" for cost in costs))
    memory = [None if cost.peak_memory_bytes is None else cost.peak_memory_bytes / 1e9 for cost in costs]
    table.add_row("peak training memory, GB", *("unknown" if size is None else f"{size:.2f}" for size in memory))
    for name, batches in costs[0].latency_ms.items():
        for batch in batches:
            table.add_row(f"{name}, ms a batch of {batch}", *(f"{c.latency_ms[name][batch]:.1f}" for c in costs))
    console = Console()
    console.print(table)
    console.print(f"on {costs[0].device}", highlight=False)
    console.print(PAPER, highlight=False)
