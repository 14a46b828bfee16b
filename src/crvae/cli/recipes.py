"""`crvae recipes`: what can be trained by name."""

from __future__ import annotations

import json
from dataclasses import dataclass

from crvae.cli.parsing import parse


@dataclass
class Recipes:
    """List the recipes: what, command, cost, measured result."""

    json: bool = False
    """Print one JSON document: a list of recipes, their whole configuration included."""


def run(args: list[str]) -> None:
    command = parse(Recipes, args, name="recipes")
    from crvae.recipes import RECIPES

    if command.json:
        rows = [
            {
                "recipe": name,
                "summary": recipe.summary,
                "command": recipe.command,
                "cost": recipe.cost,
                "result": recipe.result,
                "config": recipe.config.model_dump(),
            }
            for name, recipe in RECIPES.items()
        ]
        print(json.dumps(rows, indent=2))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("recipe", no_wrap=True), "what", "cost", "measured result", box=box.SIMPLE_HEAD)
    for name, recipe in RECIPES.items():
        table.add_row(name, recipe.summary, recipe.cost, recipe.result)
    console = Console()
    console.print(table)
    console.print("Each is run by: crvae train RECIPE --data DATA --out RUN", highlight=False)
