"""Whether two runs ended alike, bit for bit: networks, averages, optimisers, published model, last samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def difference(one: Any, other: Any, where: str = "") -> str | None:
    """Where two nested states first differ, or None."""
    if type(one) is not type(other):
        return where
    if isinstance(one, torch.Tensor):
        return None if one.dtype == other.dtype and torch.equal(one, other) else where
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return f"{where}: names"
        pairs = [(one[key], other[key], f"{where}/{key}") for key in one]
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            return f"{where}: length"
        pairs = [(a, b, f"{where}/{i}") for i, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return None if one == other else where
    return next((found for pair in pairs if (found := difference(*pair))), None)


def last_state(run: Path, folder: str = "checkpoints") -> dict[str, Any]:
    newest = sorted(path for path in (run / folder).iterdir() if path.name.isdigit())[-1]
    return torch.load(newest / "state.pt", weights_only=True)


def assert_same_end(run: Path, other: Path) -> None:
    for folder in ("checkpoints", "prior"):
        if (run / folder).exists() or (other / folder).exists():
            found = difference(last_state(run, folder), last_state(other, folder))
            assert found is None, f"{folder}: states differ at {found}"
    files = ("model.safetensors", "prior.safetensors", "discriminator.safetensors", "config.json")
    for name in (f"model/{file}" for file in files):
        if (run / name).exists() or (other / name).exists():
            assert (run / name).read_bytes() == (other / name).read_bytes(), name
    grids = [sorted((folder / "samples").glob("*.png"))[-1] for folder in (run, other)]
    assert grids[0].name == grids[1].name
    assert grids[0].read_bytes() == grids[1].read_bytes(), "samples"
