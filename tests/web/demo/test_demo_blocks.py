"""An image that arrives block by block, in a real browser: what is shown is what the .crz file holds; addresses bring a state back."""

from __future__ import annotations

import re

import pytest
import torch
from visitor import DESKTOP, each, pixels

from chromium import needs_chromium
from crvae.storage.models import load
from crvae.tasks.codec import Codec
from crvae.tasks.crz_file import unpack
from crvae.tasks.inputs import read_images

pytestmark = [pytest.mark.slow, needs_chromium]


def file_of(run, x: torch.Tensor) -> tuple[Codec, bytes, list[int]]:
    codec = Codec(load(run))
    (data,) = codec.compress(codec.model.encode(x[None]))
    return codec, data, unpack(data, "").sizes()


def second_image(run, data) -> torch.Tensor:
    return read_images(str(data), load(run), option="", limit=2).x[1]


def test_a_picture_arrives_block_by_block_with_its_bytes(site, visit, trained, dense, marked):
    visitor = visit(site, DESKTOP, "Blocks")
    visitor.page.get_by_label("Thumbnail 2 of").locator("visible=true").first.click()
    x = second_image(trained, marked)
    visitor.shows("Image", pixels(x))
    steps = load(trained).config.steps
    for t in range(steps + 1):
        for run in (trained, dense):
            codec, data, sizes = file_of(run, x)
            prefix = [codec.image(data[: sizes[min(s, len(sizes) - 1)]], "") for s in range(t + 1)]
            visitor.shows_sheet(f"Block by block, {run.name}", each(torch.stack(prefix)), "film")
            so_far = sizes[min(t, len(sizes) - 1)]
            assert f"{so_far} of {sizes[-1]} bytes received" in visitor.status()
            if t < steps:
                nats = codec.model.prior.kl(codec.model.encode(x[None]), per_image=True)[0, t]
                adds = sizes[min(t + 1, len(sizes) - 1)] - so_far
                assert f"The next block adds {adds} bytes ({nats:.1f} nats)" in visitor.status()
            empty = visitor.page.locator(f'section.film:visible[aria-label="Block by block, {run.name}"] .empty')
            assert empty.count() == steps - t  # it fills from left to right
        if t < 2:
            visitor.press("Receive the next block")
        elif t == 2:
            visitor.press("Receive all")
            break
    visitor.wait(lambda: visitor.status().count("That is all") == 2)
    assert visitor.page.get_by_role("button", name="Receive the next block").is_disabled()
    assert visitor.page.url.endswith(f"#blocks?image=2&received={steps}")
    visitor.press("Start again")
    visitor.wait(lambda: visitor.status().count("Nothing but the file's header, 12 of") == 2)


def test_a_compared_row_says_who_is_nearer(site, visit, trained, dense, marked):
    visitor = visit(site, DESKTOP, "Compare")
    x = read_images(str(marked), load(trained), option="", limit=8).x
    visitor.shows_sheet("Images", each(x), "film")
    errors = []
    for run in (trained, dense):
        given = load(run).reconstruct(x)
        visitor.shows_sheet(f"Reconstructed by {run.name}", each(given), "film")
        errors.append((given - x).square().flatten(1).mean(1))
        for error in errors[-1]:
            assert f"error {error:.4f}" in visitor.page.inner_text("body")
    nearer = int((errors[0] < errors[1]).sum())
    said = f"of {len(x)} images: {trained.name} on {nearer}, {dense.name} on {len(x) - nearer}"
    assert said in visitor.page.inner_text("body")
    for fact in ("emoji-crvae-gan-mi", "emoji-vae-gan", "160"):
        assert fact in visitor.page.locator(".facts").inner_text()


@pytest.mark.parametrize(
    ("address", "tab"),
    [
        ("#sample?images=4&seed=7&truncation=0.5", "Sample"),
        ("#walk?draws1=0.2.0.0.0.0.0.0&t1.2=0.5", "Walk"),
        ("#complete?image=2&hide=beak&restarts=3&steps=50&seed=4", "Complete"),
        ("#reconstruct?image=2", "Reconstruct"),
        ("#blocks?image=2&received=3", "Blocks"),
    ],
)
def test_an_address_brings_back_what_was_seen(site, visit, trained, marked, address, tab):
    visitor = visit(f"{site}/{address}", DESKTOP)
    model, x = load(trained), second_image(trained, marked)
    if tab == "Sample":
        visitor.shows_sheet(f"Samples of {trained.name}", each(model.sample(4, 7, 0.5)))
    if tab == "Walk":
        z = model.prior.sample(1, 0).clone()
        z[:, 1] = torch.lerp(model.prior.sample(1, 2), model.prior.sample(1, 3), 0.5)[:, 1]
        visitor.shows(f"Decoded by {trained.name}", pixels(model.decode(z)[0]))
    if tab == "Complete":
        seen = pixels(x).copy()
        seen[16:24, 8:16] = 128
        visitor.shows("What the model sees", seen)
        assert visitor.page.get_by_label("number input for Restarts").input_value() == "3"
    if tab == "Reconstruct":
        visitor.shows(f"Reconstructed by {trained.name}", pixels(model.reconstruct(x[None])[0]))
    if tab == "Blocks":
        visitor.wait(lambda: "3 of 8 blocks" in visitor.status())
    assert visitor.page.get_by_role("tab", name=tab, exact=True).get_attribute("aria-selected") == "true"
    visitor.page.wait_for_timeout(500)
    assert visitor.page.url == f"{site}/{address}"


@pytest.mark.parametrize(
    "address", ["#sample?images=999", "#walk?draws1=1.2&t1.2=0.5", "#blocks?imag", "#complete?hide=/etc", "#nowhere"]
)
def test_a_damaged_address_says_so_and_shows_the_page(site, visit, trained, address):
    visitor = visit(f"{site}/{address}", DESKTOP)
    assert "The address of this page is incomplete or damaged" in visitor.said()
    visitor.open("Sample")
    visitor.shows_sheet(f"Samples of {trained.name}", each(load(trained).sample(16, 0)))


def test_what_was_seen_can_be_copied_from_the_address(site, visit):
    visitor = visit(site, DESKTOP, "Walk")
    visitor.page.get_by_role("button", name="Resample 3", exact=True).first.click()
    visitor.wait(lambda: bool(re.search(r"#walk\?draws1=0\.0\.2\.0\.0\.0\.0\.0$", visitor.page.url)))
    visitor.open("Sample")
    visitor.page.get_by_label("Seed").locator("visible=true").fill("5")
    visitor.wait(lambda: visitor.page.url.endswith("#sample?seed=5"))
    visitor.open("Walk")
    visitor.wait(lambda: "draws1=0.0.2" in visitor.page.url)
    assert visitor.page.url.endswith("#walk?draws1=0.0.2.0.0.0.0.0")
