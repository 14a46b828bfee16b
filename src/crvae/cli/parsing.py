"""Command lines become dataclasses through tyro; what a user can fix becomes one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import types
from collections.abc import Iterable, Iterator
from shlex import quote
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
from pydantic import BaseModel, ValidationError

from crvae.cli.kinds import KINDS
from crvae.config.complaints import sentence
from crvae.errors import UserError, near

Command = TypeVar("Command")

ANSWERS = ("true", "false")
"""Words that are refused right after a flag, which takes no value: they are not meant as the next positional argument."""


class Option(NamedTuple):
    """One option of a command, as it is typed, or a positional argument."""

    name: str
    """With its dashes and the parts that it lies in: `--prior.flow.width`. A positional argument has no dashes: `run`."""
    flag: str
    """How a flag is switched off, `--train.no-deterministic`; empty for an option that takes a value."""
    part: str
    """Name of the class that has the option as a field."""


def parse(command: type[Command], args: list[str], *, name: str, default: Any = None) -> Command:
    """Parses `args` into `command`, a leading `~` taken for the home folder.

    Raises UserError if something is wrong with them; --help prints and exits.
    """
    args = [_at_home(arg) for arg in args]
    given = {} if default is None else {"default": default}
    known = list(options(command, default))
    see = f"(crvae {name} --help documents the options)"
    if not {"-h", "--help"} & set(args) and (valued := _valued(args, known, ANSWERS)):
        raise UserError(f"{valued} {see}")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                command, args=args, prog=f"crvae {name}", config=(tyro.conf.AvoidSubcommands,), registry=KINDS, **given
            )
    except ValidationError as error:
        raise UserError(_invalid(error, known)) from None
    except SystemExit as stop:
        if not stop.code:
            raise
        refused = _refused(stop)
        if refused is None:
            raise UserError(f"{_unknown(_plain(complaint.getvalue()), args, known)} {see}") from None
        raise UserError(_invalid(refused, known)) from None


def meant(arg: str, option: str) -> bool:
    """Whether `arg` is `option`, with or without a value behind `=`, or a misspelling of it."""
    typed = arg.split("=")[0]
    return typed.startswith("--") and (typed == option or bool(near(typed, [option])))


def _at_home(arg: str) -> str:
    """`~/x` and `--out=~/x` with the home folder; the shell leaves the second as it is."""
    option, equals, value = arg.partition("=") if arg.startswith("--") else ("", "", arg)
    return f"{option}{equals}{os.path.expanduser(value)}" if value.startswith("~") else arg


def _unknown(said: str, args: list[str], known: list[Option]) -> str:
    """What tyro said, or rather which of `args` is not known, with an option that is near."""
    if choice := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", said):
        typed, option, listed = choice.groups()
        choices = re.findall(r"'([^']*)'", listed)
        name = option if option.startswith("-") else option.upper()
        return f"{name} must be {' or '.join(choices)}, got {typed!r}{near(typed, choices)}"
    if not said.startswith(("Unrecognized", "Missing", "Required")):
        return said.replace(": must be ", " must be ", 1)
    if missing := _not_there(args, known):
        return missing
    surplus = said.removeprefix("Unrecognized options: ").strip()
    if surplus == said:
        return said
    word = _first(surplus, args)
    if valued := _valued(args, known, ("yes", "no", "on", "off", "1", "0", word.lower())):
        return valued
    place = "--out" in {option.name for option in known} and "--out" not in _typed(args)
    return f"{word!r} is one word too many" + (f". If it is where to write, pass --out {quote(word)}" if place else "")


def _not_there(args: list[str], known: list[Option]) -> str:
    """Says which of `args` is typed as an option but is not one, with one that is near; empty if all are options."""
    names = [*(name for option in known for name in (option.name, option.flag) if name.startswith("-")), "--help"]
    alone = {f"--{option.name}" for option in known if not option.name.startswith("-")}
    for typed in _typed(args):
        option = _dashed(typed)
        if option in alone:
            return f"there is no option {typed}: type its value alone"
        if option not in names:
            inside = re.sub(r"^--no-(.*[.])", r"--\1no-", option)  # where the `no-` of a part's flag is
            return f"there is no option {typed}{near(inside, names)}"
    return ""


def _typed(args: list[str]) -> list[str]:
    """The words that are typed as options, without the values that `=` gives them; a number below 0 is not one."""
    words = args[: args.index("--")] if "--" in args else args
    return [word.split("=")[0] for word in words if re.match(r"--.|-(?!(inf|infinity|nan)$)[a-z]", word, re.IGNORECASE)]


def _dashed(option: str) -> str:
    """An option may be typed with `_` for `-`."""
    return option.replace("_", "-")


def _valued(args: list[str], known: list[Option], values: Iterable[str]) -> str:
    """Says which flag of `args` has a value: one given by `=`, or one of `values` as the next word; empty if none has."""
    flags = {name: option for option in known if option.flag for name in (option.name, option.flag)}
    words = args[: args.index("--")] if "--" in args else args
    for number, word in enumerate(words):
        typed, equals, value = word.partition("=")
        following = [value] if equals else words[number + 1 : number + 2]
        if (option := flags.get(_dashed(typed))) and following and (equals or following[0].lower() in values):
            return f"{typed} takes no value, got {following[0]!r}. Pass {option.name} or {option.flag}"
    return ""


def _first(surplus: str, args: list[str]) -> str:
    """The first of the words that tyro lists with commas, broken into lines: the longest of `args` that the list begins with."""
    listed = "".join(surplus.split())
    words = [(word, "".join(word.split())) for word in args]
    return max((word for word, bare in words if f"{listed},".startswith(f"{bare},")), key=len, default=surplus)


def options(command: type, default: Any = None, prefix: str = "--") -> Iterator[Option]:
    """All options of a dataclass or pydantic model, those of its parts included, however deep, and positional arguments.

    `default` is an instance of `command`, or None for the defaults of its fields.
    """
    for field, annotation, value in _fields(command, default):
        name = field.replace("_", "-")
        parts = list(_parts(type(value))) or list(_parts(annotation))
        for part in parts:
            yield from options(part, value if isinstance(value, part) else None, f"{prefix}{name}.")
        if tyro.conf.Positional in getattr(annotation, "__metadata__", ()):
            yield Option(name, "", command.__name__)
        elif not parts:
            flag = annotation is bool and isinstance(value, bool)
            yield Option(f"{prefix}{name}", f"{prefix}no-{name}" if flag else "", command.__name__)


def _parts(annotation: Any) -> Iterator[type]:
    """The classes with options of their own that a field may hold: itself, or some of a union's."""
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        for part in get_args(annotation):
            yield from _parts(part)
    elif isinstance(annotation, type) and (dataclasses.is_dataclass(annotation) or issubclass(annotation, BaseModel)):
        yield annotation


def _fields(command: type, default: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, annotation and default value of each field; None if it has no default."""
    hints = get_type_hints(command, include_extras=True)
    if issubclass(command, BaseModel):
        found = {name: field.get_default(call_default_factory=True) for name, field in command.model_fields.items()}
    else:
        found = {
            field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            for field in dataclasses.fields(command)
            if field.init
        }
    for name, value in found.items():
        yield name, hints[name], getattr(default, name, value)


def _invalid(error: ValidationError, known: list[Option]) -> str:
    """The first problem that pydantic found in a part of the command, its option named in full."""
    within = {option.part: option.name[: option.name.rindex(".") + 1] for option in known if "." in option.name}
    return sentence(error, within.get(error.title, "--"))


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
