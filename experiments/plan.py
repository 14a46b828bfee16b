"""What a table or figure compares, and how it is run: rows that share everything but what their name says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

FROM_PRIOR = {"gamma": 2.5, "tau": 20.0, "steps": 150, "restarts": 2, "start": "prior"}
"""How completions under N(0, I) are searched: the restarts begin at draws of the prior."""


@dataclass(frozen=True)
class Row:
    """One model of a table: a recipe, and the options that depart from it."""

    name: str
    recipe: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A table or figure: the rows trained alike on one dataset, and what is made of them."""

    title: str
    data: str
    """Prepared dataset."""
    images: dict[str, int]
    """Images that each row sees, for each budget."""
    rows: tuple[Row, ...]
    scores: str
    """What `crvae compare` computes of them."""
    scored: int = 0
    """Images that it takes; 0 for its own default."""
    originals: bool = True
    """Whether the picture of reconstructions, which shows the dataset's images, is kept among the results."""
    faces: bool = False
    """Whether the data are faces with attributes, which the classifier then knows, all of them."""
    judge: tuple[str, ...] = ()
    """Options of the classifier's training, where not the defaults."""
    probed: bool = False
    """Whether what each block knows and decides of the attributes is measured too."""
    views: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """How `crvae evaluate` scores each run where all seeds are reported together (`experiments.views`): name -> its options."""
    order: bool = False
    """Whether the first blocks are measured instead, all seeds together (`experiments.order`)."""
    search: dict[str, Any] = field(default_factory=lambda: dict(FROM_PRIOR))
    """How the judge's completions are searched."""
    shared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Options of all rows, for each budget."""

    def at(self, budget: str) -> tuple[Row, ...]:
        """The rows with the options of a budget."""
        return tuple(replace(row, options=(*row.options, *self.shared.get(budget, ()))) for row in self.rows)
