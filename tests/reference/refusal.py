"""What a command says that refuses."""

from __future__ import annotations

import pytest

from crvae.cli import main


def refused(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of a command that ends with code 2."""
    capsys.readouterr()
    assert main(args) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("crvae: ")]
    assert len(said) == 1, said
    return said[0]
