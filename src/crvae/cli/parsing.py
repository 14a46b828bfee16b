"""Command lines become dataclasses through tyro; what a user can mend becomes one sentence."""

from __future__ import annotations

from typing import Any, TypeVar

import tyro
from pydantic import ValidationError

from crvae.errors import UserError

Command = TypeVar("Command")


def parse(command: type[Command], args: list[str], *, name: str, default: Any = None) -> Command:
    """Parses `args` into `command`. Raises UserError for a value that validation refuses, SystemExit(2) for bad syntax."""
    given = {} if default is None else {"default": default}
    try:
        return tyro.cli(command, args=args, prog=f"crvae {name}", config=(tyro.conf.AvoidSubcommands,), **given)
    except ValidationError as error:
        raise UserError(sentence(error)) from None


def sentence(error: ValidationError, prefix: str = "--") -> str:
    """The first problem of a ValidationError in one sentence, the field named as its option is typed."""
    first = error.errors()[0]
    option = ".".join(str(part) for part in first["loc"]).replace("_", "-")
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if first["type"] == "value_error":
        return f"{prefix}{option}: {message}" if option and not message.startswith("--") else message
    if first["type"] == "extra_forbidden":
        return f"{prefix}{option} is not an option"
    return f"{prefix}{option} must be {message}, got {first['input']!r}"
