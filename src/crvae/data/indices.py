"""What may stand for the positions of images: whole numbers and masks, as lists, of NumPy or of PyTorch."""

from __future__ import annotations

import operator

import numpy as np
import torch
from torch import Tensor


def whole_number(index: object) -> int | None:
    """The whole number that `index` is, with or without NumPy or PyTorch; None if it is anything else, a bool included."""
    if getattr(index, "ndim", 0) or isinstance(index, bool) or getattr(index, "dtype", None) == torch.bool:
        return None
    try:
        return operator.index(index)  # type: ignore[arg-type]
    except TypeError:
        return None


def evenly(length: int, most: int) -> Tensor:
    """`most` positions or fewer from the first of `length` to the last, evenly spaced."""
    kind = torch.float32 if length <= 1 << 24 else torch.float64  # float32 has every whole number up to there
    return torch.linspace(0, length - 1, min(most, length), dtype=kind).long()


def values_of(indices: object) -> np.ndarray:
    """An array of whole numbers or of bools. Raises TypeError for other values, and for bools among numbers."""
    if isinstance(indices, Tensor):
        indices = indices.detach().cpu()
        indices = indices.double() if indices.is_floating_point() else indices  # NumPy has no bfloat16
    mixed = False
    try:
        rows = np.asarray(indices)
        if rows.dtype.kind in "iu" and isinstance(indices, list | tuple):
            mixed = any(isinstance(value, bool | np.bool_) for value in indices)
    except ValueError:  # lists of different lengths
        rows = np.empty(1, dtype=object)
    if rows.size == 0 and rows.dtype != bool:  # an empty list has no kind
        return np.empty(0, dtype=np.int64)
    if mixed or rows.dtype.kind not in "iub":
        kind = "bools among numbers" if mixed else "other values" if rows.dtype == object else f"{rows.dtype} values"
        raise TypeError(f"indices must be whole numbers, or a mask of one bool for each image, got {kind}")
    return rows
