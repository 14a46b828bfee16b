"""Command lines become dataclasses through tyro; what a user can fix becomes one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
from typing import Any, TypeVar

import tyro
from pydantic import BaseModel, ValidationError

from crvae.cli.kinds import KINDS
from crvae.config.complaints import sentence
from crvae.errors import UserError, near

Command = TypeVar("Command")


def parse(command: type[Command], args: list[str], *, name: str, default: Any = None) -> Command:
    """Parses `args` into `command`, a leading `~` taken for the home folder.

    Raises UserError if something is wrong with them; --help prints and exits.
    """
    args = [_at_home(arg) for arg in args]
    given = {} if default is None else {"default": default}
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                command, args=args, prog=f"crvae {name}", config=(tyro.conf.AvoidSubcommands,), registry=KINDS, **given
            )
    except ValidationError as error:
        raise UserError(sentence(error)) from None
    except SystemExit as stop:
        if not stop.code:
            raise
        refused = _refused(stop)
        if refused is None:
            said = _plain(complaint.getvalue())
            raise UserError(
                f"{_unknown(said, args, options(command, default))} (crvae {name} --help documents the options)"
            ) from None
        fields = {getattr(field.type, "__name__", field.type): field.name for field in dataclasses.fields(command)}  # type: ignore[arg-type]
        part = fields.get(refused.title)
        raise UserError(sentence(refused, f"--{part}." if part else "--")) from None


def _at_home(arg: str) -> str:
    """`~/x` and `--out=~/x` with the home folder; the shell leaves the second as it is."""
    option, equals, value = arg.partition("=") if arg.startswith("--") else ("", "", arg)
    return f"{option}{equals}{os.path.expanduser(value)}" if value.startswith("~") else arg


def _unknown(said: str, args: list[str], known: list[str]) -> str:
    """What tyro said, or rather which of `args` is not known, with an option that is near."""
    if choice := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", said):
        typed, option, listed = choice.groups()
        known = [word for word in re.findall(r"'([^']*)'", listed) if word != "None"]
        name = option if option.startswith("-") else option.upper()
        return f"{name} must be {' or '.join(known)}, got {typed!r}{near(typed, known)}"
    if not said.startswith(("Unrecognized", "Missing", "Required")):
        return said.replace(": must be ", " must be ", 1)
    typed = [arg.split("=")[0].replace("_", "-") for arg in args if arg.startswith("--")]
    for option in typed:
        if option.replace("--no-", "--", 1) not in known:
            return f"there is no option {option}{near(option, known)}"
    surplus = said.removeprefix("Unrecognized options: ").strip()
    return said if surplus == said else f"{surplus!r} is one word too many"


def options(command: type, default: Any = None, prefix: str = "--") -> list[str]:
    """All options of a command as they are typed, those of its parts included."""
    found = []
    for field in dataclasses.fields(command):
        name, part = f"{prefix}{field.name.replace('_', '-')}", getattr(default, field.name, None)
        names = type(part).model_fields if isinstance(part, BaseModel) else ()
        found += [f"{name}.{inner.replace('_', '-')}" for inner in names] or [name]
    return [*found, "--help"]


def _refused(error: BaseException | None) -> ValidationError | None:
    """The validation error that tyro met before it gave up."""
    while error is not None and not isinstance(error, ValidationError):
        error = error.__context__
    return error


def _plain(box: str) -> str:
    """The first paragraph of tyro's framed message, without its frame, its title, and the help of the options it names."""
    paragraph: list[str] = []
    for line in box.replace("│", " ").splitlines()[1:]:
        if line.strip("─╰╯- "):
            paragraph.append(line)
        elif paragraph:  # a rule
            break
    indents = [len(line) - len(line.lstrip()) for line in paragraph]
    kept = [line.strip() for line, indent in zip(paragraph, indents, strict=True) if indent < indents[0] + 8]
    return " ".join(kept).removeprefix("Error parsing ") or "the command line cannot be parsed"
