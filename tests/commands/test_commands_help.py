"""What holds for every command: its help, and its complaints about options."""

from __future__ import annotations

import re

import pytest

from crvae.cli import COMMANDS, main
from reference.refusal import refused

SUBCOMMANDS = [
    *([name] for name in COMMANDS if name not in ("study", "train", "prepare")),
    ["study", "create"], ["study", "serve"], ["study", "report"], ["train", "emoji-vae"], ["train", "emoji-stage2-128"],
    ["train", "--resume"], ["prepare"], ["prepare", "--inspect", "DATA"],
]  # fmt: skip


def help_of(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert not stop.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("command", SUBCOMMANDS, ids=" ".join)
def test_help_has_no_names_of_types(command, capsys):
    text = help_of(command, capsys)
    assert not re.search(r"\b(STR|INT|FLOAT|PATH|BOOL)\b|\{None\}|NoneType", text)
    assert "--help" in text


@pytest.mark.parametrize(("command", "arguments"), [("demo", "RUN [RUN2]"), ("recipes", "[NAME]"), ("sample", "RUN")])
def test_the_usage_brackets_what_may_be_left_out(command, arguments, capsys):
    usage = help_of([command], capsys).partition("\n\n")[0]
    assert re.search(rf"\] {re.escape(arguments)}( \[?-|$)", " ".join(usage.split()))


def described(text: str) -> dict[str, str]:
    """Option -> what its help says, from the framed text."""
    found: dict[str, str] = {}
    option = ""
    for line in text.splitlines():
        inner = line.strip("│ ").strip()
        begin = re.match(r"(?:-h, )?(--[a-z][\w.-]*)", inner)
        if begin and not found.get(option, "").endswith(","):
            option = begin[1]
            found[option] = ""
        if option and not line.startswith(("╭", "╰")):
            found[option] += f" {inner}"
        elif line.startswith(("╭", "╰")):
            option = ""
    return found


@pytest.mark.parametrize("command", SUBCOMMANDS, ids=" ".join)
def test_every_option_says_what_it_is_and_its_default(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # wider help stands in several columns
    options = described(help_of(command, capsys))
    for option, text in options.items():
        if option == "--help":
            continue
        about = re.sub(r"^ (?:-h, )?--\S+( [A-Z\d…\[\]-]+| \{[^}]*\}| \|)*", "", text)
        assert "(required)" in text or "(default:" in text or "(repeatable)" in text, text
        assert len(re.sub(r"\((default|required)[^)]*\)", "", about).split()) >= 2, text


@pytest.mark.parametrize("command", SUBCOMMANDS, ids=" ".join)
def test_a_misspelt_option_is_named_with_a_near_one(command, capsys):
    options = re.findall(r"(?<![\w-])--([a-z][a-z0-9.-]{4,})", help_of(command, capsys))
    command = [*command, "RUN"] if command[-1] == "--resume" else command
    for option in [option for option in dict.fromkeys(options) if option != "help" and not option.startswith("no-")][
        :3
    ]:
        said = refused([*command, f"--{option}x", "1"], capsys)
        assert f"there is no option --{option}x (did you mean '--" in said
    assert "there is no option --qqqqqq " in refused([*command, "--qqqqqq", "1"], capsys)


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("smaple RUN --out OUT", "'sample'"),
        ("train emoji-crvae-gan-m --data DATA --out OUT", "'emoji-crvae-gan-mi'"),
        ("recipes emoji-crvae-gan-m", "'emoji-crvae-gan-mi'"),
        ("cost emoji-crvae-gan-m", "'emoji-crvae-gan-mi'"),
        ("study creat --runs A B", "'create'"),
        ("traverse RUN profil --out x.png", "'profile'"),
        ("traverse RUN style --steps 2 --out x.png", "'--step'"),
        ("encode RUN OUT --images x --format crzz", "'crz'"),
        ("prepare SOURCE OUT --crop centre", "'center'"),
        ("prepare avatar OUT", "'avatars'"),
        ("prepare avatars OUT --style avatars", "'avataaars'"),
        ("classifier DATA --out OUT --method finetune", "'fine-tune'"),
        ("train emoji-vae --data D --out O --model.trunk pathc", "'patch'"),
    ],
)
def test_a_near_name_is_offered(line, near, capsys):
    assert f"did you mean {near}?" in refused(line.split(), capsys)


def test_recipes_say_what_each_stage_is_run_with(capsys):
    stage1, stage2 = (
        "crvae train RECIPE --data DATA --out RUN\n",
        "crvae train RECIPE --stage1 RUN1 --data DATA --out RUN\n",
    )
    for words, both in (([], True), (["--all"], True), (["birds"], True), (["mnist"], False)):
        assert main(["recipes", *words]) == 0
        said = capsys.readouterr().out
        assert stage1 in said
        assert (stage2 in said) == both
