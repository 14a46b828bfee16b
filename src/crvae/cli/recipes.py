"""`crvae recipes`: what can be trained by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from crvae.cli.parsing import parse

if TYPE_CHECKING:
    from crvae.recipes import Recipe


@dataclass
class Recipes:
    """List the recipes: by family; all of them; or one of them in full."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[NAME]")] = ""
    """A recipe, which is shown in full, or a family, whose recipes are listed."""
    all: bool = False
    """List every recipe with what it is, its cost and its measured result."""
    json: bool = False
    """Print one JSON document: a list of recipes, their whole configuration included."""


def run(args: list[str]) -> None:
    """Prints what was asked for."""
    command = parse(Recipes, args, name="recipes")
    from crvae.recipes import RECIPES, named

    chosen = {name: recipe for name, recipe in RECIPES.items() if command.name in ("", name, family(name))}
    if not chosen:
        named(command.name)
    if command.json:
        print(json.dumps([_document(name, recipe) for name, recipe in chosen.items()], indent=2))
    elif command.name in RECIPES:
        _one(command.name, RECIPES[command.name])
    elif command.all or command.name:
        _table(chosen)
    else:
        _families(chosen)


def family(name: str) -> str:
    """`birds-crvae-gan` -> `birds`."""
    return name.split("-")[0]


def _document(name: str, recipe: Recipe) -> dict[str, Any]:
    about = {"recipe": name, "summary": recipe.summary, "command": recipe.command}
    return about | {"cost": recipe.cost, "result": recipe.result, "config": recipe.config.model_dump()}


def _families(recipes: dict[str, Recipe]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("family", no_wrap=True), "recipes, each called FAMILY-…", box=box.SIMPLE_HEAD)
    for name in dict.fromkeys(map(family, recipes)):
        members = [member.removeprefix(f"{name}-") for member in recipes if family(member) == name]
        table.add_row(name, ", ".join(members))
    console = Console(highlight=False)
    console.print(table)
    console.print(_run_by(recipes), soft_wrap=True)
    console.print("Start with fast-crvae-gan-mi.")
    console.print("crvae recipes FAMILY and crvae recipes --all say more; crvae recipes RECIPE shows one in full")


def _table(recipes: dict[str, Recipe]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("recipe", no_wrap=True), "what", "cost", "measured result", box=box.SIMPLE_HEAD)
    for name, recipe in recipes.items():
        table.add_row(name, recipe.summary, recipe.cost, recipe.result)
    console = Console(highlight=False)
    console.print(table)
    console.print(_run_by(recipes), soft_wrap=True)


def _run_by(recipes: dict[str, Recipe]) -> str:
    """How to train them, in a line, and in a second one those that need a Stage1 run."""
    said = "Each is run by: crvae train RECIPE --data DATA --out RUN"
    if any(recipe.config.stage == 2 for recipe in recipes.values()):
        said += "\nThose of Stage2 by:    crvae train RECIPE --stage1 RUN1 --data DATA --out RUN"
    return said


def _one(name: str, recipe: Recipe) -> None:
    import yaml

    print(f"{name}: {recipe.summary}\n")
    print(f"command:          {recipe.command}\ncost:             {recipe.cost}\nmeasured result:  {recipe.result}\n")
    print(yaml.safe_dump(recipe.config.model_dump(), sort_keys=False), end="")
