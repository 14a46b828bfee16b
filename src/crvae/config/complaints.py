"""What pydantic finds wrong with a configuration, in one sentence."""

from __future__ import annotations

from pydantic import ValidationError


def sentence(error: ValidationError, prefix: str = "--") -> str:
    """The first problem of a ValidationError in one sentence. The field is named as its option is typed."""
    first = error.errors()[0]
    option = ".".join(str(part) for part in first["loc"]).replace("_", "-")
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if first["type"] == "value_error":
        colon = "" if message.startswith("must ") else ":"
        return f"{prefix}{option}{colon} {message}" if option and not message.startswith("--") else message
    if first["type"] == "extra_forbidden":
        return f"{prefix}{option} is not an option"
    return f"{prefix}{option} must be {message}, got {first['input']!r}"
