"""The page under attack, in process: forged, foreign, oversized, repeated and too many requests."""

from __future__ import annotations

import re
import sqlite3

import pytest
from starlette.testclient import TestClient

from crvae.web.study.folder import administrator_token, image_name
from crvae.web.study.protection import RateLimit
from crvae.web.study.server import create_app

FORM = re.compile(r'name="question" value="(\d+)".*?name="seal" value="([0-9a-f]{64})"', re.DOTALL)


@pytest.fixture
def client(study):
    with TestClient(create_app(study), follow_redirects=False) as client:
        yield client


def start(client) -> str:
    """A new rater's link."""
    answer = client.post("/start", data={"consent": "yes"})
    assert answer.status_code == 303
    return answer.headers["location"]


def current(client, link: str) -> dict[str, str]:
    """The form on the rater's page, first place chosen."""
    found = FORM.search(client.get(link).text)
    assert found
    return {"question": found[1], "seal": found[2], "choice": "1"}


def votes(study) -> list[tuple]:
    with sqlite3.connect(study / "votes.db") as database:
        return database.execute("SELECT rater, question, choice FROM study_vote").fetchall()


def test_a_vote_is_stored_and_the_next_question_comes(client, study):
    link = start(client)
    form = current(client, link)
    answer = client.post(f"{link}/vote", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, link)
    assert votes(study) == [(1, int(form["question"]), 1)]
    assert current(client, link)["question"] != form["question"]


def test_a_second_vote_on_a_question_changes_nothing(client, study):
    link = start(client)
    form = current(client, link)
    for choice in ("2", "3", "2"):
        assert client.post(f"{link}/vote", data=form | {"choice": choice}).status_code == 303
    assert votes(study) == [(1, int(form["question"]), 2)]


def test_the_sqlite_database_is_in_wal_mode_and_holds_no_token(client, study):
    token = start(client).removeprefix("/r/")
    assert len(token) == 22
    with sqlite3.connect(study / "votes.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        (stored,) = database.execute("SELECT token_hash FROM study_rater").fetchone()
    assert token not in stored
    content = b"".join(path.read_bytes() for path in study.glob("votes.db*"))
    assert token.encode() not in content


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"seal": "0" * 64}, 403),
        ({"seal": "short"}, 422),
        ({"choice": "4"}, 404),
        ({"choice": "0"}, 422),
        ({"choice": "1 OR 1=1"}, 422),
        ({"question": "999"}, 404),
        ({"question": "-1"}, 422),
        ({"question": "9" * 30}, 422),
        ({"extra": "field"}, 422),
        ({"choice": ["1", "2"]}, 303),
        ({"question": "../../etc/passwd"}, 422),
    ],
)
def test_forged_votes(client, study, change, status):
    link = start(client)
    form = current(client, link)
    assert client.post(f"{link}/vote", data=form | change).status_code == status
    assert len(votes(study)) == (status == 303)


def test_a_seal_is_good_for_one_rater_and_one_question(client, study):
    mine, yours = start(client), start(client)
    form = current(client, mine)
    assert client.post(f"{yours}/vote", data=form).status_code == 403
    other = next(str(number) for number in range(1, 20) if str(number) != form["question"])
    assert client.post(f"{mine}/vote", data=form | {"question": other}).status_code == 403
    assert votes(study) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": ""}, 415),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://testserver"}, 303),
        ({"sec-fetch-site": "same-origin"}, 303),
    ],
)
def test_foreign_and_oddly_typed_votes(client, study, headers, status):
    link = start(client)
    form = current(client, link)
    assert client.post(f"{link}/vote", data=form, headers=headers).status_code == status
    assert len(votes(study)) == (status == 303)


def test_large_and_endless_forms_are_refused_unread(client):
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/start", content=b"consent=yes&x=" + b"a" * 5000, headers=kind).status_code == 413
    assert client.post("/start", content=iter([b"consent=yes"]), headers=kind).status_code == 411
    assert client.post("/start", content=b"", headers=kind | {"content-length": "9" * 30}).status_code == 413


def test_nobody_starts_without_consent(client):
    for form in ({"consent": "no"}, {"consent": "yes", "more": "1"}, {"other": "yes"}):
        assert client.post("/start", data=form).status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/images/../key.json",
        "/images/..%2fkey.json",
        "/images/%2e%2e/key.json",
        "/images/....//key.json",
        "/images//etc/passwd",
        "/images/0001-1.png%00.json",
        "/images/9999-1.png",
        "/images/key.json",
        "/key.json",
        "/study.json",
        "/votes.db",
        "/administrator-token",
        "/study.css/../key.json",
        "/pages/base.html",
        "/docs",
        "/redoc",
    ],
)
def test_no_path_reaches_the_file_system(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert "vae-gan" not in answer.text
    assert "/etc" not in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_headers_on_every_kind_of_answer(client):
    link = start(client)
    paths = ("/", link, "/study.css", "/nothing", f"/images/{image_name(1, 1)}", "/admin", "/r/short")
    answers = [client.get(path) for path in paths]
    answers += [client.post("/start", data={}), client.post("/start", data={"consent": "no"}), client.delete(link)]
    answers += [client.post("/", data={"consent": "yes"})]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404, 200, 200, 422, 415, 422, 411, 405]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "server" not in answer.headers
    assert client.get(link).headers["cache-control"] == "no-store"


def test_pages_name_no_model_and_set_no_cookie_for_raters(client, study):
    link = start(client)
    for _ in range(19):
        page = client.get(link)
        assert "vae" not in page.text.lower()
        assert "set-cookie" not in page.headers
        client.post(f"{link}/vote", data=current(client, link))
    assert "Thank you" in client.get(link).text
    assert len(votes(study)) == 19


def test_markup_in_the_consent_text_is_text(study):
    (study / "consent.txt").write_text("<script>alert(1)</script> & more")
    page = TestClient(create_app(study)).get("/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page


def test_administrator_needs_the_token(client, study):
    assert "Token, from the file" in client.get("/admin").text
    assert "vae-gan" not in client.get("/admin").text
    assert client.post("/admin", data={"token": "wrong"}).status_code == 403
    assert "vae-gan" not in client.get("/admin", headers={"cookie": "administrator=wrong"}).text
    assert client.get("/admin", headers={"cookie": "administrator=%ff"}).status_code == 200
    link = start(client)
    client.post(f"{link}/vote", data=current(client, link))
    answer = client.post("/admin", data={"token": administrator_token(study)})
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/admin"))
    assert administrator_token(study) not in cookie
    page = client.get("/admin").text
    assert "crvae-gan-mi" in page
    assert "1 of 19" in page
    assert (study / "administrator-token").stat().st_mode & 0o077 == 0


def test_guessing_is_limited(client):
    link = start(client)
    tries = [client.get(f"/r/{'A' * 22}").status_code for _ in range(40)]
    assert tries[:20] == [404] * 20
    assert 429 in tries
    assert client.get(link).status_code == 200  # a rater at the same address goes on
    logins = [client.post("/admin", data={"token": "wrong"}) for _ in range(15)]
    assert [answer.status_code for answer in logins][-1] == 429
    assert logins[-1].headers["retry-after"]


def test_starts_and_votes_are_limited(client, study):
    starts = [client.post("/start", data={"consent": "yes"}).status_code for _ in range(230)]
    assert starts[:200] == [303] * 200
    assert 429 in starts
    with TestClient(create_app(study), follow_redirects=False) as fresh:
        link = start(fresh)
        form = current(fresh, link)
        answers = [fresh.post(f"{link}/vote", data=form).status_code for _ in range(60)]
        assert 429 in answers


def test_rate_limit_refills_and_forgets(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("crvae.web.study.protection.time.monotonic", lambda: now[0])
    limit = RateLimit(per_second=2, burst=3)
    assert [limit.allows("a") for _ in range(4)] == [True, True, True, False]
    assert limit.allows("b")
    now[0] = 0.5
    assert [limit.allows("a") for _ in range(2)] == [True, False]
    now[0] = 1000
    assert [limit.allows("a") for _ in range(4)] == [True, True, True, False]
    for number in range(20_000):
        limit.allows(str(number))
    assert len(limit._buckets) == 10_000


def test_a_lost_database_is_503_without_a_trace(study):
    with TestClient(create_app(study), follow_redirects=False, raise_server_exceptions=False) as client:
        link = start(client)
        form = current(client, link)
        with sqlite3.connect(study / "votes.db") as database:
            database.execute("DROP TABLE study_vote")
        for answer in (client.get(link), client.post(f"{link}/vote", data=form)):
            assert answer.status_code == 503
            assert "not stored" in answer.text
            assert not re.search(r"Traceback|sqlalchemy|study_vote|\.py", answer.text)


def test_an_unforeseen_error_is_500_without_a_trace(study, monkeypatch):
    app = create_app(study)
    monkeypatch.setattr("crvae.web.study.database.Ballots.rater", lambda *_: 1 / 0)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get(f"/r/{'A' * 22}")
        assert answer.status_code == 500
        assert not re.search(r"Traceback|ZeroDivision|\.py", answer.text)
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_restarted_server_goes_on_where_the_rater_was(study):
    with TestClient(create_app(study), follow_redirects=False) as before:
        link = start(before)
        form = current(before, link)
        before.post(f"{link}/vote", data=form)
        now = current(before, link)
    with TestClient(create_app(study), follow_redirects=False) as after:
        assert current(after, link) == now
        assert after.post(f"{link}/vote", data=now).status_code == 303
    assert len(votes(study)) == 2
