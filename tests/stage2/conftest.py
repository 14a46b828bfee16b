"""What the tests of Stage2 share beside its tiny run."""

from __future__ import annotations

import pytest

from crvae.errors import UserError
from crvae.frozen.squeezenet import weights
from reference.stage2 import draw


@pytest.fixture(scope="session")
def paint():
    """paint(folder, count, size) draws pictures."""
    return draw


@pytest.fixture(scope="session")
def offline_network() -> str:
    """The name of the perceptual network whose weights come from the package index; skips where that is out of reach."""
    try:
        weights()
    except UserError as error:
        pytest.skip(str(error))
    return "squeezenet"
