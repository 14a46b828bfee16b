"""The demo in a real browser: what it shows is what the model gives, by mouse, by keyboard, on a phone; no other host is asked."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from visitor import DESKTOP, Visitor, each, pixels

from chromium import PHONE, needs_chromium
from crvae.storage.models import load
from crvae.tasks.inputs import read_file, read_images
from crvae.tasks.traversal import replace_block

pytestmark = [
    pytest.mark.slow,  # `make test-demo`: minutes of a browser
    needs_chromium,
]


def first_image(model, source) -> torch.Tensor:
    return read_images(str(source), model, option="", limit=1).x[0]


def test_samples_of_both_models_from_the_same_seed(site, visit, trained, dense):
    visitor = visit(site, DESKTOP, "Sample")
    for run in (trained, dense):
        visitor.shows_sheet(f"Samples of {run.name}", each(load(run).sample(16, 0)))
    visitor.page.get_by_label("Seed").fill("7")
    visitor.page.get_by_label("number input for Images").fill("4")
    visitor.page.get_by_label("number input for Truncation").fill("0.5")
    visitor.press("Draw")
    for run in (trained, dense):
        visitor.shows_sheet(f"Samples of {run.name}", each(load(run).sample(4, 7, 0.5)))
    visitor.press("Another seed")
    for run in (trained, dense):
        visitor.shows_sheet(f"Samples of {run.name}", each(load(run).sample(4, 8, 0.5)))
    assert visitor.page.get_by_label("Seed").input_value() == "8"


def test_a_block_slides_by_keyboard_resamples_and_locks(site, visit, trained):
    visitor, title, model = visit(site, DESKTOP, "Walk"), f"Decoded by {trained.name}", load(trained)
    z = model.prior.sample(1, 0)
    visitor.shows(title, pixels(model.decode(z)[0]))

    slider = visitor.page.get_by_label("range slider for t = 2").first
    slider.focus()
    slider.press("End")
    z = replace_block(model, z, model.prior.sample(1, 1), 2)
    visitor.shows(title, pixels(model.decode(z)[0]))
    for _ in range(25):
        slider.press("ArrowLeft")
    half = torch.lerp(model.prior.sample(1, 0), model.prior.sample(1, 1), 0.5)
    visitor.shows(title, pixels(model.decode(replace_block(model, z, half, 2))[0]))
    slider.press("End")
    visitor.shows(title, pixels(model.decode(z)[0]))

    visitor.page.get_by_role("button", name="Resample 1", exact=True).first.click()
    z = replace_block(model, z, model.prior.sample(1, 2), 1)
    visitor.shows(title, pixels(model.decode(z)[0]))

    for locked in (1, 2):
        visitor.page.get_by_label(f"lock {locked}", exact=True).first.check()
    visitor.wait(slider.is_disabled)
    visitor.page.get_by_role("button", name="Resample all that are not locked").first.click()
    for t in range(3, model.config.steps + 1):
        z = replace_block(model, z, model.prior.sample(1, 2), t)
    visitor.shows(title, pixels(model.decode(z)[0]))
    visitor.page.get_by_label("lock 2", exact=True).first.uncheck()
    visitor.wait(slider.is_enabled)


def test_models_with_other_latents_walk_on_their_own(site, visit, dense):
    visitor, title, model = visit(site, DESKTOP, "Walk"), f"Decoded by {dense.name}", load(dense)
    z = model.prior.sample(1, 0)
    visitor.shows(title, pixels(model.decode(z)[0]))
    slider = visitor.page.get_by_label("range slider for t = 1").nth(1)
    slider.focus()
    slider.press("End")
    visitor.shows(title, pixels(model.decode(replace_block(model, z, model.prior.sample(1, 1), 1))[0]))


def paint(visitor: Visitor) -> None:
    """Covers the middle of the canvas by strokes of the mouse."""
    box = visitor.page.locator("canvas:visible").first.bounding_box()
    assert box is not None
    x, y, mouse = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, visitor.page.mouse
    mouse.move(x - 50, y - 50)
    visitor.page.wait_for_timeout(500)
    mouse.down()
    for row in range(-50, 51, 12):
        mouse.move(x + 50, y + row, steps=3)
        mouse.move(x - 50, y + row + 6, steps=3)
    mouse.up()


def test_a_painted_hole_is_completed_restart_by_restart(site, visit, trained, dense, colour, tmp_path):
    visitor = visit(site, DESKTOP, "Complete")
    x = first_image(load(trained), colour)
    visitor.wait(visitor.page.locator("canvas:visible").first.is_visible)
    visitor.page.wait_for_timeout(4000)  # the canvas draws its image, and says nothing when it has
    paint(visitor)
    visitor.page.wait_for_timeout(1000)
    visitor.page.screenshot(path=tmp_path / "painted.png")
    visitor.page.get_by_label("number input for Restarts").fill("2")
    visitor.page.get_by_label("number input for Most steps").fill("30")
    visitor.listen()
    visitor.wait(lambda: "Ready." in visitor.status())
    visitor.press("Complete")
    visitor.wait(lambda: visitor.status().count("2 done") == 2)
    heard = " ".join(visitor.heard())
    assert f"{trained.name}: 1 done" in heard
    assert f"{dense.name}: restart 2 of 2, step 20 of 30" in heard
    for run in (trained, dense):
        completion = visitor.picture(f"Best completion of {run.name}")
        changed = (abs(completion.astype(int) - pixels(x).astype(int)) > 2).any(2)
        assert changed.any()
        edge = np.ones((32, 32), bool)
        edge[6:26, 6:26] = False
        assert not changed[edge].any()  # what was not painted over stays as it is
        restarts = visitor.page.locator("section.sheet:visible").filter(has_text=f"Restarts of {run.name}")
        assert restarts.locator("img").count() == 2
        losses = [float(loss) for loss in re.findall(r"loss (-?\d+\.\d)", restarts.inner_text())]
        assert losses == sorted(losses)
        assert len(losses) == 2
    visitor.page.screenshot(path=tmp_path / "completed.png", full_page=True)


def test_completion_by_keyboard_alone(site, visit, trained, colour):
    visitor = visit(site, DESKTOP, "Sample")
    visitor.page.get_by_role("tab", name="Complete", exact=True).focus()
    visitor.page.keyboard.press("Enter")
    visitor.page.get_by_label("only what is painted").focus()
    for _ in ("right-half", "upper", "lower"):
        visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.press("Space")
    assert visitor.page.get_by_label("lower").is_checked()
    visitor.page.get_by_label("number input for Restarts").fill("1")
    visitor.page.get_by_label("number input for Most steps").fill("10")
    visitor.page.get_by_role("button", name="Complete", exact=True).focus()
    visitor.page.keyboard.press("Enter")
    visitor.wait(lambda: visitor.status().count("1 done") == 2)
    x, completion = pixels(first_image(load(trained), colour)), visitor.picture(f"Best completion of {trained.name}")
    assert (completion[:16] == x[:16]).all()
    assert (completion[16:] != x[16:]).any()


def test_complete_asks_for_a_hole_first(site, visit, trained, marked, tmp_path):
    visitor = visit(site, DESKTOP, "Complete")
    sentence = "Nothing is hidden: paint over a part of the image, or choose a part"
    visitor.wait(lambda: sentence in visitor.status())
    for part, rows, columns in (("beak", slice(16, 24), slice(8, 16)), ("eyes", slice(0, 8), slice(0, 32))):
        visitor.page.get_by_label(part, exact=True).check()
        seen = pixels(first_image(load(trained), marked)).copy()
        seen[rows, columns] = 128  # where the card says that it lies
        visitor.shows("What the model sees", seen)
        visitor.wait(lambda: "Ready." in visitor.status())
    visitor.page.get_by_label("only what is painted").check()
    visitor.wait(lambda: sentence in visitor.status())
    visitor.listen()
    visitor.press("Complete")
    visitor.wait(lambda: [sentence in status for status in visitor.heard()][-2:] == [False, True])  # "Waiting", then it
    assert visitor.page.get_by_text("Error").count() == 0


def prepare_a_long_search(visitor):
    """Hides the lower half, with the most restarts and steps, and waits until the search may begin."""
    visitor.page.get_by_label("lower", exact=True).check()
    visitor.page.get_by_label("number input for Most steps").fill("400")
    visitor.page.get_by_label("number input for Restarts").fill("8")


def test_stop_ends_a_search_between_two_steps(site, visit):
    visitor = visit(site, DESKTOP, "Complete")
    prepare_a_long_search(visitor)
    visitor.press("Complete")
    visitor.wait(lambda: "restart 1 of 8, step" in visitor.status())
    visitor.press("Stop")
    visitor.wait(lambda: "Stopped." in visitor.status())
    visitor.page.wait_for_timeout(1000)
    assert "Stopped." in visitor.status()


def test_a_search_waits_in_words_while_another_visitor_searches(site, visit):
    first, second = visit(site, DESKTOP, "Complete"), visit(site, DESKTOP, "Complete")
    second.page.wait_for_timeout(4000)  # the canvases draw their images, and say nothing when they have
    for visitor in (first, second):
        prepare_a_long_search(visitor)
    first.press("Complete")
    first.wait(lambda: "restart 1 of 8, step" in first.status())
    second.press("Complete")
    second.wait(lambda: "Waiting: one search runs at a time." in second.status())
    second.page.wait_for_timeout(1000)
    assert "Waiting" in second.status()
    first.press("Stop")
    second.wait(lambda: "restart 1 of 8, step" in second.status())
    second.press("Stop")
    second.wait(lambda: "Stopped." in second.status())


def test_an_upload_is_treated_as_prepare_does(site, visit, trained, dense, tmp_path):
    picture = Image.new("RGBA", (90, 50), (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse((20, 5, 60, 45), fill=(200, 30, 60, 255))
    picture.save(tmp_path / "seen.png")
    visitor = visit(site, DESKTOP, "Reconstruct")
    visitor.page.locator("input[type=file]:visible, input[type=file]").last.set_input_files(tmp_path / "seen.png")
    x = read_file(tmp_path / "seen.png", 3, 32)
    visitor.shows("Image", pixels(x))
    for run in (trained, dense):
        visitor.shows(f"Reconstructed by {run.name}", pixels(load(run).reconstruct(x[None])[0]))
        error = (load(run).reconstruct(x[None])[0] - x).square().mean().item()
        assert f"mean squared error {error:.4f}" in visitor.page.inner_text("body")


def test_a_file_that_is_no_image_is_refused_in_words(site, visit, tmp_path):
    (tmp_path / "words.png").write_text("no image")
    visitor = visit(site, DESKTOP, "Reconstruct")
    visitor.page.locator("input[type=file]").last.set_input_files(tmp_path / "words.png")
    assert "The file is not an image of a known format" in visitor.said()
    assert "Traceback" not in visitor.page.content()
    assert "/tmp" not in visitor.page.inner_text("body")


def test_a_picked_image_is_reconstructed(site, visit, trained, colour):
    visitor, model = visit(site, DESKTOP, "Reconstruct"), load(trained)
    x = read_images(str(colour), model, option="", limit=2).x[1]
    visitor.page.get_by_label("Thumbnail 2 of").locator("visible=true").first.click()
    visitor.shows("Image", pixels(x))
    visitor.shows(f"Reconstructed by {trained.name}", pixels(model.reconstruct(x[None])[0]))


def test_stage2_enlarges_reconstructions_images_and_completions(large_site, visit, large):
    visitor, model = visit(large_site, DESKTOP, "Reconstruct"), load(large)
    x = model.stage1.sample(1, 0)
    visitor.shows("Reconstruction enlarged to 64 pixels", pixels(model.upscale(model.stage1.reconstruct(x))[0]))
    visitor.shows("Image enlarged to 64 pixels", pixels(model.upscale(x)[0]))
    visitor.open("Sample")
    visitor.shows_sheet(f"Samples of {large.name}", each(model.sample(16, 0)))
    visitor.open("Complete")
    assert visitor.page.get_by_text("(without a discriminator)").count()
    visitor.page.get_by_label("right-half").check()
    visitor.page.get_by_label("number input for Restarts").fill("1")
    visitor.press("Complete")
    visitor.wait(lambda: "1 done" in visitor.status())
    visitor.wait(lambda: bool(visitor.address(f"Best completion of {large.name}")))
    assert visitor.picture(f"Best completion of {large.name}").shape == (64, 64, 3)


IN_A_STRIP = """button => {
    for (let above = button.parentElement; above; above = above.parentElement)
        if (["auto", "scroll"].includes(getComputedStyle(above).overflowX)) return true;
    return false;
}"""
"""Whether a button lies in something that scrolls sideways by itself, as the strip of pictures does."""


@pytest.mark.parametrize("tab", ["Sample", "Walk", "Complete", "Reconstruct", "Blocks", "Compare"])
def test_a_phone_shows_it_without_scrolling_sideways(site, visit, tmp_path, tab):
    visitor = visit(site, PHONE, tab)
    visitor.settle()
    visitor.page.screenshot(path=tmp_path / f"{tab}.png", full_page=True)
    assert visitor.page.evaluate("document.documentElement.scrollWidth") == 375
    for button in visitor.page.get_by_role("button").locator("visible=true").all():
        box = button.bounding_box()
        assert box is None or box["x"] + box["width"] <= 375 or button.evaluate(IN_A_STRIP)


def test_on_a_phone_the_image_stays_in_sight_of_the_last_slider(large_site, visit, large, tmp_path):
    visitor = visit(large_site, PHONE, "Walk")
    steps = load(large).stage1.config.steps
    visitor.page.get_by_label(f"range slider for t = {steps}").scroll_into_view_if_needed()
    before = visitor.address("Decoded by")
    box = visitor.page.locator(".follows:visible img").first.bounding_box()
    slider = visitor.page.get_by_label(f"range slider for t = {steps}").bounding_box()
    assert box is not None
    assert slider is not None
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= slider["y"]
    visitor.page.touchscreen.tap(slider["x"] + 0.9 * slider["width"], slider["y"] + slider["height"] / 2)
    visitor.wait(lambda: visitor.address("Decoded by") != before)
    visitor.page.screenshot(path=tmp_path / "walk.png")
