"""What a prior p(z) is: one class a kind, each named by `kind` in config.json."""

from __future__ import annotations

from typing import Literal

from crvae.config.base import Frozen


class NormalPriorConfig(Frozen):
    """N(0, I), the paper's prior: nothing to choose, nothing learned."""

    kind: Literal["normal"] = "normal"
