"""One thing wrong on a command line: the message names it, and none of the options that are right."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Annotated, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from crvae.cli import COMMANDS, main
from crvae.cli.parsing import parse
from crvae.errors import UserError
from fuzzing import many

LINES = [
    *(name for name in COMMANDS if name not in ("study", "train")),
    "study create", "study serve", "study report", "train fast-crvae-gan-mi", "train emoji-stage2-128", "train --resume RUN",
    "prepare --inspect DATA",
]  # fmt: skip
"""How each kind of command begins."""

VALUES = {"N": "1", "X": "0.5", "TEXT": "x", "FILE": "x", "1-65535": "8000"}
"""Word of the help -> a value."""

SEVERAL = ("--runs", "--scores")
"""Options that may take several values."""


class Choices(NamedTuple):
    """What `--help` says of a command."""

    alone: list[str]
    """A value for each positional argument."""
    valued: dict[str, str]
    """Option that takes a value -> one."""
    flags: dict[str, str]
    """Flag -> how it is switched off."""

    @property
    def names(self) -> set[str]:
        return {*self.valued, *self.flags, *self.flags.values(), "--help"}

    def typed(self, option: str, equals: bool = False) -> list[str]:
        """The words that give an option, or that switch a flag on."""
        if option not in self.valued:
            return [option]
        return [f"{option}={self.valued[option]}"] if equals else [option, self.valued[option]]

    def all(self) -> list[str]:
        """A line with everything that the command has, those with several values first."""
        several = [option for option in SEVERAL if option in self.valued]
        options = [*several, *(option for option in [*self.valued, *self.flags] if option not in several)]
        return [*self.alone, *(word for option in options for word in self.typed(option))]


@functools.cache
def choices(line: str) -> Choices:
    """Reads the help of a command."""
    said = StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")  # wider help stands in several columns
        with redirect_stdout(said), pytest.raises(SystemExit):
            main([*line.replace(" RUN", "").split(), "--help"])
    found = Choices([], {}, {})
    for row in said.getvalue().splitlines():
        if flag := re.match(r"  (--[a-z][\w.-]*), (--[\w.-]*\bno-[\w.-]+)", row):
            found.flags[flag[1]] = flag[2]
        elif valued := re.match(r"  (--[a-z][\w.-]*) (\S+)", row):
            found.valued[valued[1]] = value(valued[2])
        elif alone := re.match(r"  (\[?[A-Z][A-Z0-9]+\]?…?(?= )|\{[\w,-]+\}|\[\[)", row):
            found.alone.append(value(alone[1]))
    for option in line.split():
        found.valued.pop(option, None)
    assert found.alone or found.valued
    return found


def some(names: Iterable[str], count: int) -> list[str]:
    """About so many of the names, from the first to the last: a parser of a hundred options is not built in an instant."""
    names = list(names)
    return names[:: max(1, len(names) // count)]


def value(word: str) -> str:
    """A value for what the help calls `word`."""
    if word.startswith("{"):
        return word.strip("{}").split(",")[0]
    return VALUES.get(word.strip("[]"), "x")


def underscored(option: str) -> str:
    """`--no_json` for `--no-json`."""
    return re.sub(r"(?<=\w)-(?=[^=]*(=|$))", "_", option)


def slip(option: str, kind: str, place: int) -> str:
    """The option with one slip of the fingers."""
    word = option.removeprefix("--")
    place %= len(word)
    before, letter, after = word[:place], word[place], word[place + 1 :]
    slips = {
        "doubled": letter * 2 + after,
        "lost": after,
        "other": "q" + after,
        "swapped": after[:1] + letter + after[1:],
    }
    return f"--{before}{slips[kind]}"


def complaint(args: list[str]) -> str:
    """The one sentence of a command that ends with code 2."""
    said = StringIO()
    with redirect_stderr(said):
        assert main(args) == 2
    assert said.getvalue().count("\n") == 1
    return said.getvalue()


def named(said: str, wrong: str, real: set[str]) -> None:
    """The sentence is about `wrong`, and what it offers in its place is a real option."""
    assert re.match(rf"crvae: there is no option {re.escape(wrong)}(:| \()", said), said
    offered = re.search(r"did you mean '(.*?)'", said)
    assert not offered or offered[1] in real, said


@pytest.mark.parametrize("line", LINES)
def test_a_typo_is_named_among_all_options_that_are_right(line):
    found = choices(line)
    words, everything = line.split(), found.all()
    for number, option in enumerate(some([*found.valued, *found.flags, *found.flags.values()], 8)):
        wrong = slip(option, ("doubled", "lost", "other")[number % 3], len(option) // 2)
        typo = [f"{wrong}=1"] if number % 2 else [wrong]
        for args in ([*words, *everything, *typo], [*words, *typo, *everything]):
            said = complaint(args)
            named(said, wrong, found.names)
            assert "did you mean" in said or len(option) < 8, said


@many(60)
@given(data=st.data())
def test_one_typo_is_named_wherever_it_is_typed(data):
    line = data.draw(st.sampled_from([line for line in LINES if line != "import-torch7"]))  # which has no options
    found = choices(line)
    options = sorted(found.names - {"--help"})
    option = data.draw(st.sampled_from(options))
    kind = data.draw(st.sampled_from(["doubled", "lost", "other", "swapped"]))
    wrong = slip(option, kind, data.draw(st.integers(0, 60)))
    if wrong in found.names:
        return
    typo = [f"{wrong}=1"] if data.draw(st.booleans()) else [wrong, *found.typed(option)[1:]]
    others = data.draw(st.lists(st.sampled_from(options), unique=True, max_size=8))
    groups = [found.typed(other, data.draw(st.booleans())) for other in others]
    if data.draw(st.booleans()):
        groups = [[underscored(group[0]), *group[1:]] for group in groups]
    places: list[list[str]] = [[] for _ in found.alone]
    groups, alone = data.draw(st.permutations([*groups, *places, typo])), iter(found.alone)
    groups = [group or [next(alone)] for group in groups]
    said = complaint([*line.split(), *(word for group in groups for word in group)])
    named(said, wrong, found.names)


@pytest.mark.parametrize("line", LINES)
def test_a_flag_with_a_value_is_named(line):
    found = choices(line)
    before, others = [*line.split(), *found.alone], found.all()[len(found.alone) :]
    for on in some(found.flags, 4):
        off = found.flags[on]
        typed = [[on, "False"], [off, "maybe"], [underscored(on), "0"], [f"{on}=true"], [f"{underscored(off)}=no"]]
        for number, words in enumerate(typed):
            flag, wrong = words if len(words) == 2 else words[0].split("=")
            said = complaint([*before, *others, *words] if number % 2 else [*before, *words, *others])
            assert said.startswith(f"crvae: {flag} takes no value, got {wrong!r}. Pass {on} or {off} ("), said


@pytest.mark.parametrize("line", LINES)
def test_a_word_too_many_is_named(line):
    found = choices(line)
    words, everything = line.split(), found.all()
    for option in some((option for option in found.valued if option not in SEVERAL), 3):
        place = everything.index(option) + 2
        for word in ("stray", "a b", "x" * 200, "-5", "", "a, b"):
            said = complaint([*words, *everything[:place], word, *everything[place:], "another"])
            assert said.startswith(f"crvae: {word!r} is one word too many ("), said


@pytest.mark.parametrize("line", ["train fast-crvae-gan-mi", "train emoji-stage2-128", "prior RUN"])
def test_a_number_out_of_range_is_named_in_full(line):
    numbers = [option for option, value in choices(line).valued.items() if value in (VALUES["N"], VALUES["X"])]
    first = {option.rpartition(".")[0]: option for option in reversed(numbers) if "." in option}
    assert "--prior.flow" in first or "stage2" in line
    for option in first.values():
        assert complaint([*line.split(), option, "-1"]).startswith(f"crvae: {option} must be "), option


@pytest.mark.parametrize("line", LINES)
def test_the_word_none_is_not_a_value_of_numbers_and_choices(line):
    """An option without a default holds None in Python; typed, it is a word as any other."""
    found = choices(line)
    options = [option for option, value in found.valued.items() if value != "x"]
    before = [*line.split(), *(found.alone if line.startswith(("train", "prior")) else found.all())]
    for option in some(options, 40 if line == "prepare" else 8):
        for typed in ([option, "None"], [f"{option}=None"]):
            assert re.match(rf"crvae: {option} must be .*, got 'None'", complaint([*before, *typed])), option


def test_a_choice_without_a_default_says_its_words_in_order():
    assert complaint(["prepare", "A", "B", "--crop", "centre"]).startswith(
        "crvae: --crop must be center or box or none, got 'centre' (did you mean 'center'?) ("
    )
    assert complaint(["prepare", "A", "B", "--channels", "2"]).startswith("crvae: --channels must be 1 or 3, got '2' (")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sample --run R --out o", "there is no option --run: type its value alone"),
        ("sample -x R --out o", "there is no option -x"),
        ("sample R -out o", "there is no option -out (did you mean '--out'?)"),
        ("sample R --out o -- --cuont", "'--cuont' is one word too many"),
        ("sample R --out o -inf", "'-inf' is one word too many ("),
        ("decode Z faces", "'faces' is one word too many. If it is where to write, pass --out faces ("),
        ("decode Z --out=o faces", "'faces' is one word too many ("),
        ("evaluate --json no R --data d", "--json takes no value, got 'no'"),
        ("export R --half=true", "--half takes no value, got 'true'"),
        ("export R --half true", "--half takes no value, got 'true'"),
        ("train emoji-vae --prior.flow 3", "there is no option --prior.flow (did you mean '--prior.flow."),
        ("train emoji-vae --prior.flow.width", "Missing value for argument '--prior.flow.width'"),
        ("train emoji-vae --no-train.deterministic", "(did you mean '--train.no-deterministic'?)"),
    ],
)
def test_what_else_can_be_wrong(line, says):
    assert says in complaint(line.split())


class Flow(BaseModel):
    depth: int = Field(default=1, ge=1)


class Mixture(BaseModel):
    soft: bool = True


@dataclasses.dataclass
class Inner:
    either: Annotated[Flow | Mixture, "tagged"] = dataclasses.field(default_factory=Mixture)
    rate: float = 1.0


@dataclasses.dataclass
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    quick: bool = False


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--inner.rate 2 --inner.either.no-soft --quikc", "there is no option --quikc (did you mean '--quick'?)"),
        ("--inner.either.soft --inner.rtae 2", "there is no option --inner.rtae (did you mean '--inner.rate'?)"),
        ("--inner.either.soft=no --inner.rate 2", "--inner.either.soft takes no value, got 'no'"),
    ],
)
def test_parts_of_parts_and_unions_have_options(line, says):
    with pytest.raises(UserError, match=re.escape(says)):
        parse(Outer, line.split(), name="outer")


def test_of_a_union_the_part_that_the_default_has_is_taken():
    default = Outer(Inner(either=Flow()))
    with pytest.raises(UserError, match=r"there is no option --inner\.either\.soft "):
        parse(Outer, ["--inner.either.depth", "2", "--inner.either.soft"], name="outer", default=default)
    with pytest.raises(UserError, match=r"^--inner\.either\.depth must be greater than or equal to 1, got 0$"):
        parse(Outer, ["--inner.either.depth", "0"], name="outer", default=default)
