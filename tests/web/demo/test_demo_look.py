"""The page by a designer's eye: what it says of itself, how wide its pictures are, what stays while something new is made."""

from __future__ import annotations

import pytest
from visitor import DESKTOP, each

from chromium import PHONE, needs_chromium
from crvae.storage.models import load

pytestmark = [pytest.mark.slow, needs_chromium]
TABS = ("Sample", "Walk", "Complete", "Reconstruct", "Blocks", "Compare")
FOCUS = """() => {
  const e = document.activeElement;
  if (e === document.body) return null;
  const shown = [e, e.closest('label')].filter(x => x && x.checkVisibility());
  const lines = shown.map(x => getComputedStyle(x)).filter(s => s.outlineStyle !== 'none');
  return [e.outerHTML.slice(0, 120), Math.max(0, ...lines.map(s => parseFloat(s.outlineWidth)))];
}"""


def test_the_head_names_models_recipes_and_images(site, visit, trained, dense):
    visitor = visit(site, DESKTOP)
    assert visitor.page.get_by_role("heading", level=1).inner_text() == f"{trained.name} and {dense.name}"
    body = visitor.page.inner_text("body")
    assert f"{trained.name}: emoji-crvae-gan-mi, trained on 160 images" in body
    assert f"{dense.name}: emoji-vae-gan, trained on 160 images" in body
    assert visitor.page.title() == f"{trained.name} and {dense.name} - crvae"


@pytest.mark.parametrize(
    ("tab", "line"),
    [
        ("Sample", "New images, drawn from what the model has learned"),
        ("Walk", "a control for every block of its latent"),
        ("Complete", "Hide a part of an image"),
        ("Reconstruct", "An image is encoded and decoded again"),
        ("Blocks", "An image arrives as a .crz file, block after block"),
        ("Compare", "The two models side by side"),
    ],
)
def test_every_tab_says_what_it_is_for(site, visit, tab, line):
    visitor = visit(site, DESKTOP, tab)
    assert visitor.page.get_by_text(line).locator("visible=true").count() == 1


def test_truncation_says_what_it_does(site, visit):
    visitor = visit(site, DESKTOP, "Sample")
    assert "1: as varied as the model draws. Less: closer to its average image" in visitor.page.inner_text("body")


@pytest.mark.parametrize(("device", "columns"), [(DESKTOP, 8), (PHONE, 4)])
def test_samples_fill_the_width(large_site, visit, device, columns):
    visitor = visit(large_site, device, "Sample")
    boxes = [image.bounding_box() for image in visitor.page.locator(".sheet:visible img").all()]
    assert len(boxes) == 16
    assert len({box["y"] for box in boxes if box}) == 16 // columns
    left, right = min(box["x"] for box in boxes if box), max(box["x"] + box["width"] for box in boxes if box)
    page = visitor.page.locator(".tabitem:visible, [role=tabpanel]:visible").first.bounding_box()
    assert page is not None
    assert right - left >= 0.9 * page["width"]  # a phone has the same margins


def test_the_old_pictures_stay_until_the_new_ones_are_there(site, visit, trained):
    visitor = visit(site, DESKTOP, "Sample")
    visitor.shows_sheet(f"Samples of {trained.name}", each(load(trained).sample(16, 0)))
    visitor.listen()
    visitor.press("Another seed")
    visitor.shows_sheet(f"Samples of {trained.name}", each(load(trained).sample(16, 1)))
    visitor.wait(lambda: "32 drawn" in " ".join(visitor.heard()))
    assert any(f"{done} of 32 drawn" in " ".join(visitor.heard()) for done in (8, 16, 24))  # progress, in steps
    assert visitor.fewest() >= 32


@pytest.mark.parametrize("device", [DESKTOP, PHONE])
@pytest.mark.parametrize("tab", ["Complete", "Reconstruct", "Blocks"])
def test_pictures_to_pick_are_one_strip_beside_a_button(site, visit, device, tab):
    visitor = visit(site, device, tab)
    visitor.settle()
    thumbs = visitor.page.locator(".picks:visible .thumbnail-item").all()
    boxes = [thumb.bounding_box() for thumb in thumbs]
    assert len(boxes) > 1
    assert len({box["y"] for box in boxes if box}) == 1
    assert max(box["height"] for box in boxes if box) <= 80
    button = visitor.page.get_by_role("button", name="Upload an image").locator("visible=true")
    style = "e => [getComputedStyle(e).borderTopWidth, getComputedStyle(e).borderTopStyle, getComputedStyle(e).cursor]"
    assert button.evaluate(style) == ["1px", "solid", "pointer"]
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 32


@pytest.mark.parametrize("tab", TABS)
def test_the_keyboard_is_always_seen(site, visit, tab):
    visitor = visit(site, DESKTOP, tab)
    visitor.settle()
    visitor.page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(45):
        visitor.page.keyboard.press("Tab")
        found = visitor.page.evaluate(FOCUS)
        if found is None:
            break
        reached.append(found)
    assert len(reached) >= 3
    assert [where for where, width in reached if width < 2] == []
