"""The study's folder: study.json (what the server shows), key.json (which model is where), images/, consent.txt."""

from __future__ import annotations

import hashlib
import random
import secrets
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crvae.errors import UserError
from crvae.files import write_text

Task = Literal["sample", "completion"]
IMAGE_NAME = r"^[0-9]{4,6}-[0-4]\.png$"
"""Number of the question and of the place in it; place 0 is the occluded image that is shown above a completion."""


class Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Question(Stored):
    """One screen: alternatives side by side, places counted from 1."""

    kind: Literal["pair", "repeat", "attention"]
    """`pair` counts; `repeat` asks a pair again, sides shuffled anew; `attention` has one image not scrambled."""
    group: str
    """Occlusion of a completion; empty for samples."""
    repeats: int = Field(default=0, ge=0)
    """Number of the question that a repeat asks again, 0 otherwise."""
    answer: int = Field(default=0, ge=0, le=4)
    """Place of the right answer of an attention question, 0 otherwise."""
    context: bool = False
    """Whether the occluded image is shown above the alternatives."""


class Study(Stored):
    """What the server needs. Question number n (from 1) is `questions[n - 1]`; no model is named here."""

    format: Literal[1] = 1
    task: Task
    seed: int
    alternatives: int = Field(ge=2, le=4)
    questions: tuple[Question, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        for number, question in enumerate(self.questions, 1):
            if (question.kind == "repeat") != (question.repeats > 0) or question.repeats > len(self.questions):
                raise ValueError(f"question {number} repeats no question")
            if (question.kind == "attention") != (question.answer > 0) or question.answer > self.alternatives:
                raise ValueError(f"question {number} has no right answer")
        return self

    def order(self, rater: int) -> list[int]:
        """Numbers of all questions in the order in which rater number `rater` meets them: random, but attention questions
        are spread evenly, and a repeat comes in the second half, its original in the first.
        """
        chance = random.Random(f"{self.seed}/{rater}")
        originals = {question.repeats for question in self.questions if question.kind == "repeat"}
        attention = sum(question.kind == "attention" for question in self.questions)
        checks = list(range(attention))
        chance.shuffle(checks)

        def when(number: int) -> float:
            kind = self.questions[number - 1].kind
            if kind == "attention":
                return (checks.pop() + chance.random()) / attention
            if kind == "repeat":
                return 0.5 + chance.random() / 2
            return chance.random() / 2 if number in originals else chance.random()

        numbers = range(1, len(self.questions) + 1)
        moments = {number: when(number) for number in numbers}
        return sorted(numbers, key=moments.__getitem__)


class Key(Stored):
    """Which model is where: `places[n - 1][p - 1]` is the index in `models` shown at place p of question n."""

    format: Literal[1] = 1
    models: tuple[str, ...] = Field(min_length=2, max_length=4)
    places: tuple[tuple[int, ...], ...]

    def model(self, question: int, choice: int) -> int:
        """Index in `models` of the image at place `choice` of question number `question`, both from 1."""
        return self.places[question - 1][choice - 1]


def image_name(question: int, place: int) -> str:
    """`0017-2.png`: nothing but the place on the screen, which the rater sees anyway."""
    return f"{question:04d}-{place}.png"


Document = TypeVar("Document", Study, Key)


def _read(path: Path, document: type[Document]) -> Document:
    try:
        return document.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give a folder that `crvae study create` made") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path} is damaged or from a newer version ({where}: {first['msg']}): create the study again"
        ) from None


def read_study(folder: Path) -> Study:
    """The study in `folder`. Raises UserError if it is missing or damaged."""
    return _read(folder / "study.json", Study)


def read_key(folder: Path, study: Study) -> Key:
    """Which model is where. Raises UserError if the key is missing, damaged or another study's."""
    key = _read(folder / "key.json", Key)
    everyone = list(range(len(key.models)))
    if len(key.places) != len(study.questions) or any(sorted(places) != everyone for places in key.places):
        raise UserError(f"{folder / 'key.json'} does not belong to the study.json beside it: restore the file")
    return key


def read_images(folder: Path, study: Study) -> dict[str, bytes]:
    """Every image of the study by name: no request needs the file system. Raises UserError for a missing one."""
    names = [
        image_name(number, place)
        for number, question in enumerate(study.questions, 1)
        for place in range(0 if question.context else 1, study.alternatives + 1)
    ]
    try:
        return {name: (folder / "images" / name).read_bytes() for name in names}
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): create the study again") from None


def fingerprint(folder: Path) -> str:
    """SHA-256 of study.json: ties a database to its study."""
    return hashlib.sha256((folder / "study.json").read_bytes()).hexdigest()


def administrator_token(folder: Path) -> str:
    """The secret that opens the administrator's page; made at the first call, readable by the owner alone."""
    path = folder / "administrator-token"
    if not path.exists():
        write_text(path, secrets.token_urlsafe(32) + "\n", private=True)
    token = path.read_text().strip()
    if len(token) < 32:
        raise UserError(f"{path} is damaged: delete it, and `crvae study serve` makes a new one")
    return token
