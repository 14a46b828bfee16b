"""Named, complete configurations. A recipe is data: nothing in the code asks which one runs."""

from __future__ import annotations

from crvae.errors import UserError, near
from crvae.recipes.fast import FAST
from crvae.recipes.recipe import Recipe
from crvae.recipes.stage1 import STAGE1
from crvae.recipes.stage2 import STAGE2

__all__ = ["RECIPES", "Recipe", "named"]

RECIPES: dict[str, Recipe] = {**FAST, **STAGE1, **STAGE2}
"""Recipe by name."""


def named(name: str) -> Recipe:
    """The recipe called `name`. Raises UserError, with a name that is near, if there is none."""
    if name not in RECIPES:
        raise UserError(f"there is no recipe {name!r}{near(name, RECIPES)}; `crvae recipes` lists them")
    return RECIPES[name]
