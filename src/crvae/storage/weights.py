"""A model as files: config.json, and safetensors that are checked name by name, shape by shape, value by value."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from crvae.config.base import FORMAT, check_format
from crvae.errors import UserError, brief
from crvae.files import write_bytes, write_text

CONFIG_LIMIT = 1 << 18
"""A larger config.json is refused, in bytes."""

DTYPES = {torch.float32: "F32", torch.int64: "I64"}
"""The kinds of numbers that models hold, as safetensors calls them."""
HALF = "F16"
"""What may stand in a file in the place of F32: half the size."""
DRAWS = {"normal_", "uniform_", "kaiming_uniform_"}
"""Functions that draw initial weights; the others of torch.nn.init call these."""

Module = TypeVar("Module", bound=nn.Module)


def save_config(folder: Path, stage: int, **parts: Any) -> None:
    """Writes `folder`/config.json: the format, the stage, and one object for each of `parts`."""
    body: dict[str, Any] = {"format": FORMAT, "stage": stage}
    body |= {name: part.model_dump() if isinstance(part, BaseModel) else part for name, part in parts.items()}
    write_text(folder / "config.json", json.dumps(body, indent=2) + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """The content of `folder`/config.json. Raises UserError if it is missing, too large, broken or too new."""
    path = folder / "config.json"
    try:
        if path.stat().st_size > CONFIG_LIMIT:
            raise UserError(f"{path} is larger than {CONFIG_LIMIT} bytes and cannot be a model's configuration")
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} holds no model: config.json is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {brief(error)}") from None
    check_format(body, path)
    return body


def parse_part(folder: Path, body: dict[str, Any], name: str, kind: type[Any]) -> Any:
    """The part `name` of a config.json as the configuration class `kind`. Raises UserError if it does not validate."""
    try:
        return kind.model_validate(body.get(name))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = brief(".".join(str(part) for part in (name, *first["loc"])))
        raise UserError(f"{folder / 'config.json'}: {where}: {first['msg']}") from None


def save_weights(path: Path, module: nn.Module, without: str = "", half: bool = False) -> None:
    """Writes all parameters and buffers of `module` as safetensors, whole or not at all; `half`: floats as 16 bits.

    `without` names a module inside that is left out.
    """
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in module.state_dict().items()
        if not without or not name.startswith(f"{without}.")
    }
    write_bytes(path, serialised(tensors))


def skeleton(folder: Path, build: Callable[[], Module]) -> Module:
    """What `build` makes, with shapes but without memory, for `load_weights`.

    So a configuration from elsewhere cannot make this process allocate more than its weights' file holds. Raises UserError
    if it describes nothing that can be built.
    """
    try:
        with _Undrawn(), torch.device("meta"):
            return build()
    except UserError as error:
        raise UserError(f"{folder / 'config.json'}: {error}") from None
    except (RuntimeError, ValueError, OverflowError) as error:
        raise UserError(f"{folder / 'config.json'} describes a model that cannot be built: {brief(error)}") from None


class _Undrawn(TorchFunctionMode):
    """Draws no initial weights: without memory they have no values, and to draw them there torch imports its compiler."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """`func` as it is, but for those that draw, which leave a tensor without memory."""
        given = kwargs or {}
        tensor = args[0] if args else given.get("tensor")
        if func.__name__ in DRAWS and isinstance(tensor, Tensor) and tensor.is_meta:
            return tensor
        return func(*args, **given)


def load_weights(path: Path, module: nn.Module) -> None:
    """Fills `module` from safetensors at `path`; every name, shape and dtype must match and every value be finite.

    Floats of 16 bits (`half`) become those of 32. Raises UserError naming the file and the first tensor that does not fit;
    `module` is then untouched.
    """
    expected = module.state_dict()
    try:
        with safe_open(path, "pt") as file:
            names = set(file.keys())
            for name in sorted(names ^ set(expected)):
                raise UserError(f"{path}: tensor {name!r} is {'missing' if name in expected else 'not of this model'}")
            for name, tensor in expected.items():  # shapes first: nothing large is read for a file that does not fit
                shape, dtype = tuple(file.get_slice(name).get_shape()), file.get_slice(name).get_dtype()
                if shape != tuple(tensor.shape):
                    raise UserError(
                        f"{path}: tensor {name!r} has shape {shape}, the configuration needs {tuple(tensor.shape)}"
                    )
                if dtype != DTYPES.get(tensor.dtype) and not (dtype == HALF and tensor.is_floating_point()):
                    raise UserError(f"{path}: tensor {name!r} is {dtype}, not {tensor.dtype}")
            tensors = {name: file.get_tensor(name) for name in expected}
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a readable safetensors file: {brief(error)}") from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{path}: tensor {name!r} holds values that are not finite")
    if any(tensor.is_meta for tensor in expected.values()):
        module.to_empty(device="cpu")
    module.load_state_dict(tensors)
