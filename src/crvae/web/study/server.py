"""The study's web page: consent, one question a screen, thanks; and the administrator's page."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Form, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as StarletteHTTPException

from crvae.errors import UserError
from crvae.web.study.database import Ballots, default_url
from crvae.web.study.folder import (
    IMAGE_NAME,
    Key,
    Study,
    administrator_token,
    fingerprint,
    image_name,
    read_images,
    read_key,
    read_study,
)
from crvae.web.study.protection import Protection, RateLimit, same, seal
from crvae.web.study.results import tally

PAGES = Path(__file__).parent / "pages"
Token = Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{22}$", description="the rater's personal token")]
logger = logging.getLogger(__name__)


class SentForm(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ConsentForm(SentForm):
    consent: Annotated[str, Field(pattern="^yes$")]


class VoteForm(SentForm):
    question: Annotated[int, Field(ge=1, le=999_999)]
    choice: Annotated[int, Field(ge=1, le=4)]
    seal: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class AdministratorForm(SentForm):
    token: Annotated[str, Field(min_length=1, max_length=200)]


class StudySite:
    """All that the pages need, read once at the start: no request reaches the file system."""

    def __init__(self, folder: Path, database: str | None) -> None:
        self.study: Study = read_study(folder)
        self.key: Key = read_key(folder, self.study)
        self.images = read_images(folder, self.study)
        self.secret = administrator_token(folder)
        try:
            self.consent = (folder / "consent.txt").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise UserError(f"{folder / 'consent.txt'} cannot be read: write there what raters agree to") from None
        self.ballots = Ballots(database or default_url(folder), fingerprint(folder))
        self.ask = f"Which image looks {'more' if self.study.alternatives == 2 else 'most'} realistic?"
        self.pages = Jinja2Templates(directory=PAGES)
        self.order = lru_cache(maxsize=1000)(self.study.order)
        self.starts = RateLimit(per_second=2, burst=200)  # a class of students behind one address
        self.guesses = RateLimit(per_second=1, burst=20)
        self.logins = RateLimit(per_second=0.2, burst=10)
        self.votes = RateLimit(per_second=5, burst=20)  # of one rater

    def page(self, request: Request, name: str, status: int = 200, **values) -> Response:
        """The page `name`, filled in with `values`."""
        return self.pages.TemplateResponse(request, name, {"ask": self.ask, **values}, status_code=status)

    def rater(self, request: Request, token: str) -> int:
        """The rater's number. Raises 404 for an unknown token, 429 for one address that tries many."""
        rater = self.ballots.rater(token)
        if rater is None:
            _limit(self.guesses, request)
            raise HTTPException(404)
        return rater


def create_app(folder: Path, database: str | None = None) -> FastAPI:
    """The application that serves the study in `folder`. Raises UserError for a damaged study or a bad database."""
    site = StudySite(folder, database)
    app = FastAPI(title="Image preference study", docs_url=None, redoc_url=None, default_response_class=HTMLResponse)
    app.add_middleware(Protection)
    _for_raters(app, site)
    _files(app)
    _for_the_administrator(app, site)
    _refusals(app, site)
    return app


def _for_raters(app: FastAPI, site: StudySite) -> None:
    """Consent, one question a screen, its images, thanks."""

    @app.get("/")
    def welcome(request: Request) -> Response:
        return site.page(request, "welcome.html", consent=site.consent, questions=len(site.study.questions))

    @app.post("/start", status_code=303, responses={429: {}, 503: {}})
    def start(request: Request, form: Annotated[ConsentForm, Form()]) -> Response:
        _limit(site.starts, request)
        return RedirectResponse(f"/r/{site.ballots.register()}", 303)

    @app.get("/r/{token}", responses={404: {}, 429: {}, 503: {}})
    def question(request: Request, token: Token) -> Response:
        rater = site.rater(request, token)
        answered = site.ballots.answered(rater)
        number = next((number for number in site.order(rater) if number not in answered), None)
        if number is None:
            return site.page(request, "thanks.html")
        return site.page(
            request,
            "question.html",
            token=token,
            number=number,
            seal=seal(site.secret, f"vote/{token}/{number}"),
            done=len(answered),
            total=len(site.study.questions),
            context=image_name(number, 0) if site.study.questions[number - 1].context else None,
            images=[image_name(number, place) for place in range(1, site.study.alternatives + 1)],
        )

    @app.post("/r/{token}/vote", status_code=303, responses={403: {}, 404: {}, 429: {}, 503: {}})
    def vote(request: Request, token: Token, form: Annotated[VoteForm, Form()]) -> Response:
        rater = site.rater(request, token)
        if not site.votes.allows(token):
            raise HTTPException(429, headers={"Retry-After": "1"})
        if form.question > len(site.study.questions) or form.choice > site.study.alternatives:
            raise HTTPException(404)
        if not same(form.seal, seal(site.secret, f"vote/{token}/{form.question}")):
            raise HTTPException(403)
        site.ballots.vote(rater, form.question, form.choice)  # a second vote on a question changes nothing
        return RedirectResponse(f"/r/{token}", 303)

    @app.get("/images/{name}", responses={404: {}}, response_class=Response)
    def image(name: Annotated[str, InPath(pattern=IMAGE_NAME)]) -> Response:
        if name not in site.images:
            raise HTTPException(404)
        return Response(site.images[name], media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


def _files(app: FastAPI) -> None:
    """What the pages are drawn with, read once."""
    files = {"study.css": "text/css", "study.js": "text/javascript"}
    cached = {"Cache-Control": "max-age=3600"}
    contents = {name: (PAGES / name).read_bytes() for name in files}

    for name, kind in files.items():
        app.add_api_route(
            f"/{name}",
            lambda name=name, kind=kind: Response(contents[name], media_type=kind, headers=cached),
            include_in_schema=False,
        )

    @app.get("/favicon.ico", status_code=204, include_in_schema=False)
    def icon() -> Response:
        return Response(status_code=204, headers=cached)


def _for_the_administrator(app: FastAPI, site: StudySite) -> None:
    """How the study stands, for who knows its token."""

    @app.get("/admin")
    def administrator(request: Request) -> Response:
        if not same(request.cookies.get("administrator", ""), seal(site.secret, "administrator")):
            return site.page(request, "login.html")
        results = tally(site.study, site.key, site.ballots.votes())
        return site.page(request, "admin.html", results=results, started=site.ballots.raters())

    @app.post("/admin", status_code=303, responses={403: {}, 429: {}})
    def login(request: Request, form: Annotated[AdministratorForm, Form()]) -> Response:
        _limit(site.logins, request)
        if not same(form.token, site.secret):
            return site.page(request, "login.html", 403, wrong=True)
        answer = RedirectResponse("/admin", 303)
        secure = request.url.scheme == "https"
        sealed = seal(site.secret, "administrator")
        answer.set_cookie("administrator", sealed, path="/admin", httponly=True, samesite="strict", secure=secure)
        return answer


def _refusals(app: FastAPI, site: StudySite) -> None:
    """What went wrong, as a page."""

    @app.exception_handler(StarletteHTTPException)
    def refused(request: Request, error: StarletteHTTPException) -> Response:
        message = MESSAGES.get(error.status_code, "That did not work.")
        if error.status_code == 404 and request.url.path.rstrip("/") == "/r":
            message = INCOMPLETE
        answer = site.page(request, "message.html", error.status_code, message=message)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = {error["loc"][:2] for error in error.errors()}
        message = INCOMPLETE if ("path", "token") in wrong else MESSAGES[422]
        return site.page(request, "message.html", 422, message=message)

    @app.exception_handler(SQLAlchemyError)
    def no_database(request: Request, error: SQLAlchemyError) -> Response:
        logger.error("the database does not answer: %s", error)
        return site.page(request, "message.html", 503, message=MESSAGES[503])


MESSAGES = {
    403: "This form is not valid any more. Go back and load the page again.",
    404: "There is nothing at this address. If it is your personal link, check that it is the whole link.",
    405: "That is not possible here.",
    422: "Something in the request is not valid. Go back and try again.",
    429: "Too many requests. Please wait a moment and try again.",
    503: "The study is not available right now, and your last choice was not stored. Please try again in a minute.",
}

INCOMPLETE = (
    "This link is incomplete: a personal link ends in /r/ and 22 letters, digits, dashes or underscores. "
    "Copy the whole link and open it again."
)
"""A link that a mail program or a hand cut, or with something behind its end."""


def _limit(limit: RateLimit, request: Request) -> None:
    if not limit.allows(request.client.host if request.client else ""):
        raise HTTPException(429, headers={"Retry-After": "5"})
