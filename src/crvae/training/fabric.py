"""Lightning Fabric without what it would bring along: it imports all of torchmetrics, where that is installed, to read its version.

Without, what `crvae train` imports takes a quarter less. Import Fabric from here.
"""

from __future__ import annotations

import sys

hidden = "torchmetrics" not in sys.modules
if hidden:
    sys.modules["torchmetrics"] = None  # pyright: ignore[reportArgumentType]  # as if it were not installed

from lightning_fabric import Fabric  # noqa: E402
from lightning_fabric.plugins.environments import (  # noqa: E402
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

if hidden:
    del sys.modules["torchmetrics"]

__all__ = ["ClusterEnvironment", "Fabric", "LightningEnvironment", "SLURMEnvironment", "TorchElasticEnvironment"]
