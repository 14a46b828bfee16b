"""What data-parallel ranks share."""

from __future__ import annotations

import torch.distributed as distributed
from torch import Tensor


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean of a tensor over all data-parallel ranks, on the device; the tensor itself on one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    value = value.clone()
    distributed.all_reduce(value)
    return value / distributed.get_world_size()
