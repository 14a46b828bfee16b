"""Minibatch discrimination by a double loop over the images of each group (specification, 1.9)."""

from __future__ import annotations

import math

from torch import Tensor, tensor


def closeness(m: Tensor, group: int) -> Tensor:
    """`m`: projected features `b kernels size`. The mean over a group, the image itself included, of exp(-L1 distance)."""
    rows = m.tolist()
    group = group or len(rows)
    out = []
    for i, own in enumerate(rows):
        start = i // group * group
        members = rows[start : start + group]
        means = []
        for kernel, values in enumerate(own):
            total = 0.0
            for other in members:
                total += math.exp(-sum(abs(a - b) for a, b in zip(values, other[kernel], strict=True)))
            means.append(total / len(members))
        out.append(means)
    return tensor(out)
