"""The projected discriminator: what it sees, whose gradients it moves, and that nothing frozen is stored of it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from crvae.augmentation import SHIFT, augmented
from crvae.cli import main
from crvae.errors import UserError
from crvae.frozen.pyramids import feature_pyramid
from crvae.models import projected
from crvae.models.projected import Projection
from crvae.storage.models import load, load_discriminator, save
from crvae.tasks.completion import Search, complete
from crvae.tasks.occlusion import rectangle
from crvae.training.stage1 import GeneratorStep, adversary, build
from reference.same import assert_same_end, last_state

PROJECTED = {"kind": "projected", "projections": 6}


@pytest.fixture(autouse=True)
def random_network(monkeypatch):
    """A SqueezeNet as drawn: the same at every call, and nothing to fetch."""

    def drawn(name):
        torch.manual_seed(5)
        return feature_pyramid(name, pretrained=False)

    monkeypatch.setattr(projected, "feature_pyramid", drawn)


@pytest.fixture
def setting(small):
    """Model, discriminator, adversary and a batch."""
    config = small(
        kappa=0.02,
        model={"width": 4},
        discriminator={**PROJECTED, "augment": True},
        objective={"adversarial_loss": "hinge", "kl_weights": "0,0,0,0,0,0,0,0"},
    )
    torch.manual_seed(0)
    model, discriminator = build(config)
    assert discriminator is not None
    return config, model, discriminator, adversary(config, discriminator), torch.rand(8, 3, 32, 32) * 2 - 1


def test_the_generating_side_pulls_the_other_way_and_moves_none_of_it(setting):
    config, model, discriminator, judge, x = setting
    _, terms, (_, fakes) = GeneratorStep(config, model, judge)(x)
    adversarial = terms["adversarial_reconstruction"] + terms["adversarial_sample"] + terms["mutual_information"]
    adversarial.backward()
    assert all(p.grad is None for p in discriminator.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.decoder.parameters())
    judge(x, fakes)[0].backward()
    assert all(p.grad is not None for p in discriminator.parameters())
    assert all(p.grad is None for p in discriminator._frozen[0].parameters())  # type: ignore[attr-defined]
    discriminator.eval()
    images = torch.rand(4, 3, 32, 32, requires_grad=True)
    realism, _ = discriminator(images)
    inside = (realism > -1).float()  # where the hinge is not flat
    (ours,) = torch.autograd.grad(-(realism * inside).sum(), images, retain_graph=True)
    (theirs,) = torch.autograd.grad(torch.relu(1 + realism).sum(), images)
    torch.testing.assert_close(ours, -theirs)
    assert ours.abs().max() > 0


def test_learning_it_tells_two_kinds_of_images_apart(setting):
    *_, discriminator, judge, _ = setting
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(discriminator.parameters(), 1e-2)
    smooth, rough = (torch.rand(8, 3, side, side).repeat_interleave(32 // side, 2) for side in (2, 32))
    smooth = smooth.repeat_interleave(16, 3)
    fakes = judge.judge(torch.cat([rough, rough])).fakes
    before = judge(smooth, fakes)[1]["discriminator"].item()
    for _ in range(30):
        optimiser.zero_grad()
        judge(smooth, fakes)[0].backward()
        optimiser.step()
    assert judge(smooth, fakes)[1]["discriminator"].item() < 0.5 * before


def test_mixtures_are_centred_and_of_unit_scale_on_real_images_alone():
    torch.manual_seed(0)
    projection, real, fake = Projection(5, 0), torch.rand(32, 7, 6, 6) * 3 + 1, torch.rand(32, 7, 6, 6) - 9
    projection(fake)
    assert projection.batches == 0
    for _ in range(3):
        projection(torch.cat([real, fake]), real=32)
        projection(fake)
    assert projection.batches == 3
    mixed = projection.eval()(real)
    assert mixed.mean((0, 2, 3)).abs().max() < 1e-4
    deviation = mixed.std((0, 2, 3))
    assert ((deviation > 0.6) & (deviation < 1)).all()  # a tenth of the mean deviation is added to each


def test_centre_and_scale_stay_after_their_batches():
    projection = Projection(3, 0)
    for _ in range(Projection.BATCHES):
        projection(torch.rand(4, 7, 2, 2), real=4)
    before = projection.mean.clone()
    projection(torch.rand(4, 7, 2, 2) + 5, real=4)
    assert torch.equal(projection.mean, before)
    assert projection.batches == Projection.BATCHES


def test_a_run_stores_nothing_frozen_and_resumes_bit_for_bit(tmp_path, colour, tiny):
    options = ["--discriminator.kind", "projected", "--discriminator.projections", "6", "--discriminator.augment"]
    options += ["--objective.adversarial-loss", "hinge"]
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    command = ["train", "emoji-crvae-gan-mi", "--data", str(colour), *tiny, *options]
    assert main([*command, "--out", str(whole), "--train.images", "128"]) == 0
    assert main([*command, "--out", str(parted), "--train.images", "64"]) == 0
    assert main(["train", "--resume", str(parted), "--train.images", "128"]) == 0
    assert_same_end(whole, parted)
    for names in (
        set(last_state(whole)["networks"]["discriminator"]),
        set(load_file(whole / "model" / "discriminator.safetensors")),
    ):
        assert {name.split(".")[0] for name in names} == {"projections", "adversarial_head", "latent_head"}
        assert {name.split(".")[2] for name in names if name.startswith("projections")} == {"mean", "square", "batches"}
    line = json.loads((whole / "metrics.jsonl").read_text().splitlines()[-1])
    assert set(line["learning_rate"]) == {"trunk", "recurrence", "adversarial_head", "latent_head"}
    assert "mutual_information" in line


def test_a_saved_one_is_the_same_and_judges_each_image_alone_at_completion(tmp_path, setting):
    config, model, discriminator, judge, x = setting
    _, _, (_, fakes) = GeneratorStep(config, model, judge)(x)
    judge(x, fakes)
    model.eval()
    discriminator.eval()
    save(tmp_path, model, recipe="test", images=8, discriminator=discriminator)
    again = load_discriminator(tmp_path)
    assert torch.equal(again(x)[0], discriminator(x)[0])
    assert torch.equal(again(x)[1], discriminator(x)[1])  # type: ignore[arg-type]
    for image in range(2):
        torch.testing.assert_close(again.judge_alone(x)[image], again(x[image : image + 1])[0].mean())
    found = complete(load(tmp_path), x[:2], rectangle((0.0, 0.5, 1.0, 1.0), 32), again, Search(steps=2, restarts=1))  # type: ignore[arg-type]
    assert found.losses["adversarial"].isfinite().all()


@pytest.mark.parametrize("size", [28, 64, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_and_colour(small, size: int, channels: int):
    trunk = {"size": size, "channels": channels, "trunk": "patch", "width": 2}
    discriminator = build(small(model=trunk, discriminator=PROJECTED))[1]
    assert discriminator is not None
    realism, estimate = discriminator(torch.rand(3, channels, size, size) * 2 - 1, real=1)
    assert estimate is not None
    assert len(realism) == 3
    assert tuple(estimate.shape) == (2, *discriminator.latent_shape)  # type: ignore[misc]


def test_another_network_is_refused_in_words(small, tmp_path, colour, tiny, capsys):
    with pytest.raises(UserError, match="choose vgg16, vgg19, squeezenet"):
        build(small(discriminator={"kind": "projected", "network": "resnet"}))
    command = ["train", "emoji-crvae-gan", "--data", str(colour), "--out", str(tmp_path / "run"), *tiny]
    assert main([*command, "--discriminator.kind", "projected", "--discriminator.network", "resnet"]) == 2
    assert "'resnet'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_augmentation_moves_and_recolours_each_image_on_its_own_and_passes_gradients():
    torch.manual_seed(0)
    images = (torch.rand(1, 3, 16, 24) - 0.5).expand(6, -1, -1, -1).clone().requires_grad_()
    shown = augmented(images)
    assert shown.shape == images.shape
    assert len({tuple(image.flatten().tolist()) for image in shown}) == 6
    (gradient,) = torch.autograd.grad(shown.sum(), images)
    assert (gradient != 0).any((1, 2, 3)).all()


def test_a_move_is_by_whole_pixels_of_at_most_its_share(monkeypatch):
    for name in ("BRIGHTNESS", "SATURATION", "CONTRAST"):
        monkeypatch.setattr(f"crvae.augmentation.{name}", 0.0)
    torch.manual_seed(1)
    image = torch.rand(1, 3, 16, 8) + 1
    found = set()
    for shown in augmented(image.expand(24, -1, -1, -1)):
        matches = [
            (top, left)
            for top in range(-2, 3)
            for left in range(-1, 2)
            if torch.allclose(shown, moved(image[0], top, left), atol=1e-5)
        ]
        assert len(matches) == 1
        found.update(matches)
    assert SHIFT == 1 / 8
    assert len(found) > 8


def moved(image: torch.Tensor, top: int, left: int) -> torch.Tensor:
    """Pixel by pixel: the image that shows (y + top, x + left) at (y, x)."""
    result = torch.zeros_like(image)
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y + top < height and 0 <= x + left < width:
                result[:, y, x] = image[:, y + top, x + left]
    return result
