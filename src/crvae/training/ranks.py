"""What data-parallel ranks share."""

from __future__ import annotations

import torch.distributed as distributed
from torch import Tensor


def world_size() -> int:
    """How many data-parallel ranks there are."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def mean_over_ranks(value: Tensor) -> Tensor:
    """The mean of a tensor over all data-parallel ranks, on the device; the tensor itself on one."""
    if world_size() == 1:
        return value
    value = value.clone()
    distributed.all_reduce(value)
    return value / world_size()
