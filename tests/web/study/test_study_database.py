"""The ballot box under many hands at once, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from crvae.web.study.database import Ballots, Cast
from postgresql import programs, temporary_postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def ballots(request, tmp_path):
    if request.param == "sqlite":
        box = Ballots(f"sqlite:///{tmp_path / 'votes.db'}", "f" * 64)
        yield box
        box.close()
    elif programs() is None:
        pytest.skip("needs Debian's postgresql: apt-get install postgresql")
    else:
        with temporary_postgresql() as url:
            box = Ballots(url, "f" * 64)
            yield box
            box.close()


def test_of_many_votes_on_one_question_exactly_one_counts(ballots):
    raters = [ballots.rater(ballots.register()) for _ in range(3)]
    together = threading.Barrier(24)

    def vote(at: int) -> tuple[int, int, int, bool]:
        together.wait(30)
        rater, question, choice = raters[at % 3], 1 + at % 2, 1 + at // 6
        return rater, question, choice, ballots.vote(rater, question, choice)

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(vote, range(24)))
    counted = [Cast(*answer[:3]) for answer in answers if answer[3]]
    assert len(counted) == 6  # three raters, two questions
    assert sorted(counted) == ballots.votes()
    assert not ballots.vote(raters[0], 1, 4)
    assert sorted(counted) == ballots.votes()


def test_tokens_are_long_random_and_known_again(ballots):
    tokens = [ballots.register() for _ in range(20)]
    assert len(set(tokens)) == 20
    assert {len(token) for token in tokens} == {22}
    assert [ballots.rater(token) for token in tokens] == list(range(1, 21))
    assert ballots.rater(tokens[0].swapcase()) is None
    assert ballots.raters() == 20


def test_a_write_that_fails_fails_for_everybody_who_waited_and_not_for_ever(ballots):
    rater = ballots.rater(ballots.register())
    with ballots._engine.begin() as connection:
        connection.execute(text("ALTER TABLE study_vote RENAME TO hidden"))
    with ThreadPoolExecutor(8) as pool:
        attempts = [pool.submit(ballots.vote, rater, question, 1) for question in range(1, 9)]
        assert all(isinstance(attempt.exception(30), SQLAlchemyError) for attempt in attempts)
    with ballots._engine.begin() as connection:
        connection.execute(text("ALTER TABLE hidden RENAME TO study_vote"))
    assert ballots.vote(rater, 1, 2)
    assert ballots.votes() == [Cast(rater, 1, 2)]


def test_the_same_database_serves_again(tmp_path):
    url = f"sqlite:///{tmp_path / 'votes.db'}"
    first = Ballots(url, "a" * 64)
    token = first.register()
    rater = first.rater(token)
    assert rater is not None
    assert first.vote(rater, 5, 2)
    first.close()
    second = Ballots(url, "a" * 64)
    assert second.rater(token) == rater
    assert second.answered(rater) == {5}
    second.close()
