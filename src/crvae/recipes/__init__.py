"""Named, complete configurations. A recipe is data: nothing in the code asks which one runs."""

from __future__ import annotations

from crvae.recipes.fast import FAST
from crvae.recipes.recipe import Recipe
from crvae.recipes.stage1 import STAGE1
from crvae.recipes.stage2 import STAGE2

__all__ = ["RECIPES", "Recipe"]

RECIPES: dict[str, Recipe] = {**FAST, **STAGE1, **STAGE2}
"""Recipe by name."""
