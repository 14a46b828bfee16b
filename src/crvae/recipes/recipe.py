"""A named, complete configuration, and the same with some of its options changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from crvae.config.complaints import sentence
from crvae.config.stage1 import Stage1Config
from crvae.config.stage2 import Stage2Config
from crvae.errors import UserError, near


@dataclass(frozen=True)
class Recipe:
    """A configuration with what a reader wants to know before running it."""

    summary: str
    cost: str
    result: str
    config: Stage1Config | Stage2Config

    @property
    def command(self) -> str:
        stage1 = " --stage1 RUN1" if self.config.stage == 2 else ""
        return f"crvae train {self.config.recipe}{stage1} --data DATA --out RUN"

    def configured(self, parts: Mapping[str, Any]) -> Stage1Config | Stage2Config:
        """The configuration with these parts (`model`, `train`, ...). Raises UserError if they are not valid together."""
        try:
            return type(self.config).model_validate({"recipe": self.config.recipe, **parts})
        except ValidationError as error:
            raise UserError(sentence(error)) from None

    def with_options(self, options: Mapping[str, Any]) -> Stage1Config | Stage2Config:
        """The configuration with other values of some options: {"train__images": 6400}.

        The names are those of the command, with two underscores for each dot and one for each hyphen.
        Raises UserError if there is no such option, or if a value is not allowed.
        """
        parts = self.config.model_dump(exclude={"format", "stage", "recipe", "stage1"})
        known = dict(_leaves(parts))
        for name, value in options.items():
            if name not in known:
                raise UserError(
                    f"there is no option {name}{near(name, known)}. Options are named like the command's: train__images for --train.images"
                )
            place, field = known[name]
            place[field] = value
        return self.configured(parts)


def _leaves(part: dict[str, Any], prefix: str = ""):
    """The name of each option below `part`, with the dictionary and the key that hold its value."""
    for field, value in part.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{field}__")
        else:
            yield f"{prefix}{field}", (part, field)
