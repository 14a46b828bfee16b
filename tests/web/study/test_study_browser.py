"""A whole study in a real browser, by three raters that choose differently; the report says what they clicked."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from chromium import PHONE, needs_chromium
from crvae.cli import main
from crvae.web.study.folder import administrator_token
from crvae.web.study.questions import create
from study_load import served, stored

pytestmark = needs_chromium
DESKTOP = {"viewport": {"width": 1200, "height": 800}}


class Person:
    """Somebody with a browser. Notes every address asked for, every complaint of the browser, and every choice made."""

    def __init__(self, browser, device: dict, url: str) -> None:
        self.browser, self.device = browser, device
        self.addresses: list[str] = []
        self.complaints: list[str] = []
        self.choices: dict[int, int] = {}
        self.open(url)

    def open(self, url: str) -> None:
        """A fresh browser without cookies, at `url`."""
        context = self.browser.new_context(**self.device)
        self.page = context.new_page()
        self.page.on("request", lambda request: self.addresses.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)

    def close(self) -> None:
        self.page.context.close()

    def start(self) -> None:
        self.page.get_by_role("checkbox").check()
        self.page.get_by_role("button", name="Start").click()
        self.page.wait_for_selector("#question")

    def question(self) -> int | None:
        """Number of the question on the screen, None at the end."""
        field = self.page.locator("input[name=question]")
        return int(field.get_attribute("value") or 0) if field.count() else None

    def wait_for_images(self) -> None:
        # Not wait_for_function: it evaluates strings, which the page's content security policy forbids.
        for _ in range(200):
            if self.page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth)"):
                return
            self.page.wait_for_timeout(25)
        raise AssertionError("the images did not load")

    def choose(self, place: int, how: str) -> None:
        number = self.question()
        assert number is not None
        self.wait_for_images()
        with self.page.expect_navigation():
            if how == "click":
                self.page.get_by_role("button", name=f"Image {place}").click()
            elif how == "tap":
                self.page.get_by_role("button", name=f"Image {place}").tap()
            elif how == "digit":
                self.page.keyboard.press(str(place))
            else:
                for _ in range(place):
                    self.page.keyboard.press("ArrowRight")
                self.page.keyboard.press("Enter")
        assert number not in self.choices
        self.choices[number] = place


def test_three_raters_and_their_report(study, browser, capsys, tmp_path):
    questions = json.loads((study / "study.json").read_text())["questions"]
    key = json.loads((study / "key.json").read_text())

    def place_of(model: int, number: int) -> int:
        return key["places"][number - 1].index(model) + 1

    with served(study) as (url, _):
        first, second, third = (Person(browser, device, url) for device in (DESKTOP, DESKTOP, PHONE))
        assert "voluntary" in first.page.inner_text("main")
        for person in (first, second, third):
            person.start()
        links = {person.page.url for person in (first, second, third)}
        assert len(links) == 3

        turn = 0
        while (number := first.question()) is not None:  # by mouse: always the second model
            first.choose(questions[number - 1]["answer"] or place_of(1, number), "click")
            turn += 1
            if turn == 7:  # goes home, and comes back with the link alone
                link, expected = first.page.url, first.question()
                first.close()
                first.open(link)
                assert first.question() == expected
                assert "Question 8 of 19" in first.page.inner_text("main")
        while (number := second.question()) is not None:  # by keyboard: the third model, now and then the first
            model = 0 if number % 3 == 0 else 2
            how = "digit" if number % 2 else "arrows"
            second.choose(questions[number - 1]["answer"] or place_of(model, number), how)
        while (number := third.question()) is not None:  # by touch: not looking
            third.choose(questions[number - 1]["answer"] % 3 + 1 if questions[number - 1]["answer"] else 1, "tap")

        for person in (first, second, third):
            assert "Thank you" in person.page.inner_text("main")
            assert len(person.choices) == 19
            assert person.complaints == []
            assert not any("vae" in address.lower() for address in person.addresses)
            assert {address.split("/")[2] for address in person.addresses} == {url.split("/")[2]}

        admin = Person(browser, DESKTOP, url + "/admin")
        admin.page.get_by_label("Token").fill(administrator_token(study))
        admin.page.get_by_role("button", name="Open").click()
        admin.page.wait_for_selector("table")
        assert "3 started, 2 count, 1 excluded by attention questions" in admin.page.inner_text("main")
        admin.page.screenshot(path=tmp_path / "admin.png")
        for person in (first, second, third, admin):
            person.close()

        assert main(["study", "report", str(study), "--json"]) == 0  # while the server runs
    report = json.loads(capsys.readouterr().out)
    clicked = Counter(
        key["models"][key["places"][number - 1][place - 1]]
        for person in (first, second)
        for number, place in person.choices.items()
        if questions[number - 1]["kind"] == "pair"
    )
    assert {name: row["votes"] for name, row in report["models"].items()} == {
        name: clicked[name] for name in key["models"]
    }
    assert clicked["crvae-gan"] == 16
    assert report["models"]["crvae-gan"]["frequency"] == 16 / 32
    assert (report["raters"], report["excluded"]) == (2, [3])
    assert report["agreement_observed"] == 0
    assert [row["answers"] for row in report["by_rater"]] == [19, 19, 19]


def test_impatience_gives_one_vote(study, browser):
    """Keys hammered, and the page of an answered question brought back."""
    with served(study) as (url, _):
        person = Person(browser, DESKTOP, url)
        person.start()
        first = person.question()
        person.wait_for_images()
        with person.page.expect_navigation():
            for _ in range(3):
                person.page.keyboard.press("1")
                person.page.keyboard.press("9")
        person.page.wait_for_load_state()
        assert "of 19" in person.page.inner_text("main")
        person.page.go_back()
        person.page.wait_for_selector("#progress")
        person.page.reload()
        assert person.question() != first
        person.close()
    asked = [question for _, question, _ in stored(f"sqlite:///{study / 'votes.db'}").elements()]
    assert len(asked) == len(set(asked)) >= 1


@pytest.mark.parametrize("alternatives", [2, 3])
def test_a_phone_shows_everything_without_scrolling_sideways(browser, tmp_path, sample_runs, alternatives):
    create(sample_runs[:alternatives], "sample", 4, 0, tmp_path / "s")
    with served(tmp_path / "s") as (url, _):
        person = Person(browser, PHONE, url)
        person.page.screenshot(path=tmp_path / "welcome.png")
        person.start()
        person.wait_for_images()
        person.page.screenshot(path=tmp_path / "question.png")
        assert person.page.evaluate("document.documentElement.scrollWidth") == 375
        boxes = [button.bounding_box() for button in person.page.get_by_role("button").all()]
        assert len(boxes) == alternatives
        for box in boxes:
            assert box is not None
            assert box["width"] >= 100  # a thumb's width and more
            assert box["y"] + box["height"] <= 720
        assert len({box["y"] for box in boxes if box}) == 1  # side by side
        person.close()


@pytest.mark.parametrize(("alternatives", "least"), [(2, 500), (3, 400)])
def test_on_a_desktop_the_pictures_are_as_large_as_the_window_allows(
    browser, tmp_path, sample_runs, alternatives, least
):
    create(sample_runs[:alternatives], "sample", 4, 0, tmp_path / "s")
    with served(tmp_path / "s") as (url, _):
        person = Person(browser, {"viewport": {"width": 1440, "height": 900}}, url)
        person.start()
        person.wait_for_images()
        for image in person.page.locator(".alternatives img").all():
            box = image.bounding_box()
            assert box is not None
            assert box["width"] == box["height"] >= least
        size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        assert person.page.evaluate(size) == [1440, 900]  # and the question is seen whole
        person.close()


@pytest.mark.parametrize("cut", ["/r", "/r/", "/r/abc", "/r/{token}x", "/r/{short}"])
def test_a_cut_link_says_that_it_is_incomplete(study, browser, cut):
    with served(study) as (url, _):
        person = Person(browser, DESKTOP, url)
        person.start()
        token = person.page.url.rsplit("/", 1)[1]
        person.page.goto(url + cut.format(token=token, short=token[:-1]))
        assert "This link is incomplete" in person.page.inner_text("main")
        person.page.goto(f"{url}/r/{token}")
        assert person.question() is not None
        person.close()
