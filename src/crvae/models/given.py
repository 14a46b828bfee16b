"""What a caller gives a model, checked by shape, type and device alone: no value is read, so a check never waits for a device."""

from __future__ import annotations

import math
from numbers import Integral, Real

import torch
from torch import Tensor

from crvae.errors import UserError


def check_images(x: object, *shapes: tuple[int, ...], dtype: torch.dtype, device: torch.device | None = None) -> None:
    """Raises UserError if `x` is not images `b c h w` of one of `shapes` `c h w`, of the model's `dtype` and `device`."""
    check_precision(dtype)
    if not _fits(x, shapes, dtype, device):
        _refuse(x, "images", shapes, " in [-1, 1]", dtype, device)


def check_latents(
    z: object, shape: tuple[int, ...], *, dtype: torch.dtype, device: torch.device, exact: bool = False
) -> None:
    """Raises UserError if `z` is not latents `b *d` of `shape` `*d`, of the model's `dtype` and `device`.

    With `exact` they may be float64 too.
    """
    check_precision(dtype)
    double = exact and isinstance(z, Tensor) and z.dtype == torch.float64
    if not _fits(z, (shape,), torch.float64 if double else dtype, device):
        _refuse(z, "z", (shape,), "", dtype, device)


def check_precision(dtype: torch.dtype) -> None:
    """Raises UserError if a model's weights are not of float32, in which it computes; autocast rounds on its own."""
    if dtype != torch.float32:
        kind = str(dtype).removeprefix("torch.")
        raise UserError(
            f"the model was converted to {kind}, and computes in float32: call model.float(), and use torch.autocast to round"
        )


def check_count(count: object, name: str = "count") -> None:
    """Raises UserError, calling it `name`, if `count` is not a whole number of at least 1."""
    if not isinstance(count, Integral):
        raise UserError(f"{name} must be a whole number, got {count!r}")
    if int(count) < 1:
        raise UserError(f"{name} must be at least 1, got {count}")


def check_truncation(truncation: object) -> None:
    """Raises UserError if `truncation` is not a finite number."""
    if not (isinstance(truncation, Real) and math.isfinite(truncation)):
        raise UserError(f"truncation must be a finite number, got {truncation!r}")


def seeded_generator(seed: object) -> torch.Generator:
    """A generator on the CPU. Raises UserError if `seed` is not a whole number of 64 bits."""
    if not (isinstance(seed, Integral) and -(2**63) <= int(seed) < 2**64):
        raise UserError(f"seed must be a whole number of at most 64 bits, got {seed!r}")
    return torch.Generator().manual_seed(int(seed))


def check_steps(t: object, total: int, *, least: int = 0) -> None:
    """Raises UserError if `t` is not a whole number from `least` to `total`, the blocks of a latent.

    With `least` 0 it is a number of first blocks, with 1 the place of one block.
    """
    if not (isinstance(t, Integral) and least <= int(t) <= total):
        name = "steps" if least == 0 else "step"
        raise UserError(f"{name} must be a whole number from {least} to {total}, the model's time steps, got {t!r}")


def _fits(given: object, shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype, device: torch.device | None) -> bool:
    return (
        isinstance(given, Tensor)
        and tuple(given.shape[1:]) in shapes
        and given.shape[0] > 0
        and (given.dtype == dtype or (given.is_floating_point() and torch.is_autocast_enabled(given.device.type)))
        and device in (None, given.device)
    )


def _refuse(
    given: object,
    name: str,
    shapes: tuple[tuple[int, ...], ...],
    values: str,
    dtype: torch.dtype,
    device: torch.device | None,
) -> None:
    """Raises the UserError that says what `given` is and what it must be."""
    form = " or ".join(f"b {_spaced(shape)}" for shape in shapes) + values
    if not isinstance(given, Tensor):
        raise UserError(f"{name} must be a tensor {form}, got {type(given).__name__}")
    shape = tuple(given.shape)
    if shape[1:] not in shapes:
        advice = f". Pass {name}[None]" if shape in shapes else ""
        raise UserError(f"{name} must be {form}, got {_spaced(shape) or 'a single number'}{advice}")
    if not shape[0]:
        raise UserError(f"{name} must be at least one, got an empty batch {_spaced(shape)}")
    if given.dtype != dtype:
        ours, theirs = (str(kind).removeprefix("torch.") for kind in (dtype, given.dtype))
        stored = name == "images" and not given.is_floating_point()
        advice = (
            "Convert values 0 to 255 with crvae.pictures.from_8_bit(images)" if stored else f"Pass {name}.to({dtype})"
        )
        raise UserError(f"{name} must be {ours} {form}, got {theirs}. {advice}")
    raise UserError(f"{name} must be on the model's device {device}, got {given.device}. Pass {name}.to(model.device)")


def _spaced(shape: tuple[int, ...]) -> str:
    return " ".join(map(str, shape))
