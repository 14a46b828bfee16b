"""A named, complete configuration."""

from __future__ import annotations

from dataclasses import dataclass

from crvae.config.stage1 import Stage1Config
from crvae.config.stage2 import Stage2Config


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
