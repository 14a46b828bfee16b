"""Weights, images and scores are, bit for bit, those that identical.json recorded: a change of form changes no number."""

from __future__ import annotations

import json

import pytest

from identical import CASES, RECORD, Unreachable, Workshop, environment

RECORDED = json.loads(RECORD.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Workshop:
    different = {name: (was, environment()[name]) for name, was in RECORDED["environment"].items()}
    different = {name: pair for name, pair in different.items() if pair[0] != pair[1]}
    if different:
        pytest.skip("recorded elsewhere: " + "; ".join(f"{name} {a}, here {b}" for name, (a, b) in different.items()))
    return Workshop(tmp_path_factory.mktemp("identical"))


def test_every_case_is_recorded():
    assert list(RECORDED["hashes"]) == list(CASES), "record again, from code that is trusted: python tests/identical.py"


@pytest.mark.parametrize("name", CASES)
def test_what_was_recorded(name, shop, tmp_path):
    try:
        found = CASES[name](shop, tmp_path)
    except Unreachable as error:
        pytest.skip(str(error))
    assert found == RECORDED["hashes"][name]
