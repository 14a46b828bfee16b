"""What a time step carries: bands, intervals, shares, on differences and models whose answer is known."""

from __future__ import annotations

import json
import math

import pytest
import torch

from crvae.errors import UserError
from crvae.pictures import save_figure
from crvae.tasks.profile_plot import plot
from crvae.tasks.profiling import band_edges, band_energy, profile


@pytest.mark.parametrize("size", [28, 32, 64])
def test_bands_add_up_to_the_mean_square(size):
    difference = torch.randn(3, 2, size, size)
    energy = band_energy(difference, band_edges(size))
    assert torch.allclose(energy.sum(1), difference.square().mean((1, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize(("cycles", "band"), [(0, 0), (1, 0), (3, 1), (4, 2), (7, 2), (8, 3), (15, 3), (31, 4)])
def test_a_wave_falls_into_the_band_of_its_frequency(cycles, band):
    wave = torch.cos(2 * math.pi * cycles * torch.arange(64) / 64).expand(1, 3, 64, 64)
    for image in (wave, wave.mT):
        energy = band_energy(image, band_edges(64))[0]
        assert energy.argmax() == band
        assert energy[band] > 0.999 * energy.sum()


@pytest.mark.parametrize("latent", ["dense", "convolutional", "recurrent"])
def test_a_profile_tells_every_step_and_the_whole(make, latent, tmp_path):
    model = make[0](latent)
    x = model.sample(10, seed=3)
    found = profile(
        model,
        x,
        distance=lambda a, b: (a.float() - b.float()).abs().mean((1, 2, 3)),
        classify=lambda a: a.flatten(1).sum(1) > 0,
    )
    kl = model.encode(x).kl(per_step=True)
    assert found["kl"] == pytest.approx(kl.tolist(), rel=1e-4)
    first = found["first_blocks"]
    assert first["rate"][-1] == pytest.approx(kl.sum().item(), rel=1e-4)
    assert first["error"][-1] == pytest.approx((model.reconstruct(x) - x).square().mean().item(), rel=1e-4)
    assert (first["share"][0], first["share"][-1]) == pytest.approx((0, 1))
    constant = band_energy(x - x.mean(0), band_edges(32)).mean(0)
    errors = torch.tensor(first["unexplained"]) * constant  # t band
    assert errors.sum(1).tolist() == pytest.approx(first["error"], rel=1e-3)
    resampled = found["resampled"]
    for t in range(4):
        bands = sum(band["mean"] for band in resampled["bands"][t])
        assert bands == pytest.approx(resampled["change"][t]["mean"], rel=1e-3)
    assert set(resampled) == {"change", "bands", "perceptual", "label"}
    z, other = model.prior.sample(10, 0), model.prior.sample(10, 1)
    part = z.shape[1] // 4
    other[:, part:] = z[:, part:]  # all but block 1
    change = (model.decode(other) - model.decode(z)).square().mean().item()
    assert resampled["change"][0]["mean"] == pytest.approx(change, rel=1e-3)
    json.dumps(found, allow_nan=False)
    save_figure(plot(found, "a model"), tmp_path / "plot.png", dpi=100)
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


def test_a_step_that_carries_nothing_is_seen_to_carry_nothing(make):
    model = make[0]("convolutional")
    with torch.no_grad():
        model.latent.project[1].weight[:, 2:4] = 0  # block 2 of 4: no output follows it
    found = profile(model, model.sample(6, seed=1))
    changes = [step["mean"] for step in found["resampled"]["change"]]
    assert changes[1] == 0
    assert min(changes[0], changes[2], changes[3]) > 1e-6
    share = found["first_blocks"]["share"]
    assert share[1] == pytest.approx(share[2], abs=1e-4)
    assert "perceptual" not in found["resampled"]


def test_a_band_in_which_all_images_agree_is_neither_good_nor_bad(make, tmp_path):
    model = make[0]("convolutional")
    found = profile(model, torch.linspace(-1, 1, 4).view(4, 1, 1, 1).expand(4, 3, 32, 32).contiguous())  # plain grounds
    for bands in found["first_blocks"]["unexplained"]:
        assert bands[0] > 0
        assert bands[1:] == [None] * (len(bands) - 1)
    save_figure(plot(found, "a model"), tmp_path / "plot.png", dpi=100)
    with pytest.raises(UserError, match="need two or more, got 1"):
        profile(model, model.sample(1))


RATES = {
    "apart": [0.0, 33.2, 71.4, 100.3, 154.0, 193.1, 225.0],
    "faces": [0.0, 33.2, 71.4, 100.3, 154.0, 193.1, 255.9, 256.6, 257.0],
    "emoji": [0.0, 26.5, 43.2, 45.3, 46.7, 48.0, 49.3, 50.8, 52.5],
    "sixteen": [0.0, 900.0, *(1000.0 + t for t in range(15))],
    "falling": [0.0, 5.0, 4.9, 4.8, 5.1],
}
"""Nats after the first t blocks: of the built-in models on 32 images, and made up."""


@pytest.mark.parametrize("name", RATES)
def test_the_numbers_of_a_plots_points_do_not_overlap_and_stay_inside(name, make):
    model = make[0]("convolutional")
    found = profile(model, model.sample(6, seed=1))
    found["first_blocks"] |= {"rate": RATES[name], "error": [1 / (1 + rate) for rate in RATES[name]]}
    figure = plot(found, "a model")
    figure.draw_without_rendering()
    axis = figure.axes[4]
    boxes = [text.get_window_extent() for text in axis.texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    assert all(axis.bbox.x0 < box.x0 and box.x1 < axis.bbox.x1 and box.y1 < axis.bbox.y1 for box in boxes)
    numbers = [text.get_text().split("-") for text in axis.texts]
    named = [t for first, *last in numbers for t in range(int(first), int((last or [first])[0]) + 1)]
    assert named == list(range(len(RATES[name]))), "each point once, in order"
    if name == "apart":
        assert [text.get_text() for text in axis.texts] == [str(t) for t in range(len(RATES[name]))]
