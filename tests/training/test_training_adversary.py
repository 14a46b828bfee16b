"""The adversary behind its interface: other objectives, other discriminators, what is shown to them, what is stored of them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from crvae import objectives
from crvae.cli import main
from crvae.errors import UserError
from crvae.models import Autoencoder
from crvae.models.discriminators import DISCRIMINATORS, build_discriminator
from crvae.storage.models import load_discriminator, save
from crvae.tasks.realism import Realism
from crvae.training.adversary import Adversary, Fakes
from crvae.training.stage1 import GeneratorStep, Stage1, adversary, build
from reference.same import last_state
from reference.toys import Patches


@pytest.fixture
def patches(monkeypatch):
    monkeypatch.setitem(DISCRIMINATORS, "patches", Patches)


def test_the_hinge_by_hand():
    game = objectives.GAMES["hinge"]
    real, fake = torch.tensor([[-2.0, 0.5], [3.0, 1.0]]), torch.tensor([[-2.0, 0.5], [-0.5, 3.0]])
    assert game.recognise_real(real).item() == pytest.approx((3 + 0.5 + 0 + 0) / 4)
    assert game.recognise_fake(fake).item() == pytest.approx((0 + 1.5 + 0.5 + 4) / 4)
    assert game.fool(fake).item() == pytest.approx(-1 / 4)
    other = torch.zeros(2, 2)
    assert game.tell_apart(real, fake, other).item() == pytest.approx(3.5 / 4 + 0.5 * (6 / 4 + 1))


@pytest.mark.parametrize("name", objectives.GAMES)
def test_a_map_of_logits_counts_as_its_mean(name: str):
    game = objectives.GAMES[name]
    maps = torch.randn(3, 4, 5)
    for term in (game.fool, game.recognise_real, game.recognise_fake):
        single = torch.stack([term(maps[:, i, j]) for i in range(4) for j in range(5)])
        torch.testing.assert_close(term(maps), single.mean())
    wrong = objectives.error_rate(maps, maps, -maps)
    assert wrong.item() == pytest.approx(0.5 * (maps < 0).float().mean() + 0.25)


@pytest.mark.parametrize("name", objectives.GAMES)
def test_the_two_sides_of_a_game_pull_apart(name: str):
    realism = torch.linspace(-0.9, 0.9, 7, requires_grad=True)
    game = objectives.GAMES[name]
    (ours,) = torch.autograd.grad(game.fool(realism), realism)
    (theirs,) = torch.autograd.grad(game.recognise_fake(realism), realism)
    assert (ours < 0).all()
    assert (theirs > 0).all()


def test_hinge_and_map_in_both_sides_of_a_step(small, patches):
    config = small(kappa=0, discriminator={"kind": "patches"}, objective={"adversarial_loss": "hinge"})
    torch.manual_seed(0)
    model, discriminator = build(config)
    assert isinstance(discriminator, Patches)
    judge = adversary(config, discriminator)
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    loss, terms, (seen, fakes) = GeneratorStep(config, model, judge)(x)
    assert seen is x
    for kind in ("reconstruction", "sample"):
        realism, _ = discriminator(getattr(fakes, f"{kind}s"))
        assert realism.shape == (8, 8, 8)
        torch.testing.assert_close(terms[f"adversarial_{kind}"], -realism.mean())
    loss.backward()
    assert all(p.grad is None for p in discriminator.parameters())
    loss, terms, carry = judge(x, fakes)
    real, reconstruction, sample = (discriminator(images)[0] for images in (x, *fakes[:2]))
    expected = torch.relu(1 - real).mean() + torch.relu(1 + torch.cat([reconstruction, sample])).mean()
    torch.testing.assert_close(loss, expected)
    assert carry == ()
    loss.backward()
    assert all(p.grad is not None for p in discriminator.parameters())


def test_a_discriminator_from_elsewhere_trains_resumes_and_judges(tmp_path, colour, tiny, patches):
    """Its frozen network is in no checkpoint and in no model folder."""
    run, options = tmp_path / "run", ["--discriminator.kind", "patches", "--objective.mutual-information", "0"]
    command = ["train", "emoji-crvae-gan-mi", "--data", str(colour), "--out", str(run), *tiny, *options]
    assert main([*command, "--train.images", "64"]) == 0
    assert main(["train", "--resume", str(run), "--train.images", "96"]) == 0
    stored = {"adversarial_head.weight", "adversarial_head.bias"}
    assert set(last_state(run)["networks"]["discriminator"]) == stored
    assert set(load_file(run / "model" / "discriminator.safetensors")) == stored
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert set(line["learning_rate"]) == {"trunk", "recurrence", "adversarial_head"}
    assert 0 <= line["discriminator_error"] <= 1


def test_realism_of_a_map_is_its_mean(small, patches):
    config = small(kappa=0, discriminator={"kind": "patches"})
    model, discriminator = build(config)
    assert discriminator is not None
    x = torch.rand(5, 3, 32, 32)
    expected = discriminator(x)[0].mean((1, 2))
    torch.testing.assert_close(Realism(discriminator, model.eval())(x), expected)


def test_an_unknown_kind_is_said(tmp_path, small, colour, tiny, capsys):
    command = ["train", "emoji-crvae-gan", "--data", str(colour), "--out", str(tmp_path / "run"), *tiny]
    assert main([*command, "--discriminator.kind", "jury"]) == 2
    assert "there is no discriminator of kind 'jury': choose paper" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    config = small()
    model, discriminator = build(config)
    save(tmp_path / "model", model, recipe="test", images=0, discriminator=discriminator)
    text = (tmp_path / "model" / "config.json").read_text()
    (tmp_path / "model" / "config.json").write_text(text.replace('"kind": "paper"', '"kind": "jury"'))
    with pytest.raises(UserError, match="kind 'jury'"):
        load_discriminator(tmp_path / "model")


def test_a_configuration_that_was_written_before_there_were_kinds_means_the_papers(tmp_path, small):
    model, discriminator = build(small())
    save(tmp_path, model, recipe="test", images=0, discriminator=discriminator)
    body = json.loads((tmp_path / "config.json").read_text())
    del body["discriminator"]["kind"]
    (tmp_path / "config.json").write_text(json.dumps(body))
    assert type(load_discriminator(tmp_path)) is DISCRIMINATORS["paper"]


def test_both_sides_see_augmented_images_and_nobody_else_does(small):
    config = small(discriminator={"dropout": 0.0})
    discriminator = build_discriminator(config.discriminator, config.model)
    mirrored = Adversary(discriminator, {}, augment=lambda images: images.flip(3))
    plain = Adversary(discriminator, {})
    images, x = torch.rand(16, 3, 32, 32), torch.rand(8, 3, 32, 32)
    one, other = mirrored.judge(images), plain.judge(images.flip(3))
    assert torch.equal(one.terms["adversarial_sample"], other.terms["adversarial_sample"])
    assert torch.equal(one.fakes.samples, images[8:])
    flipped = Fakes(*(part.flip(3) for part in one.fakes[:2]), None)
    assert torch.equal(mirrored(x, one.fakes)[0], plain(x.flip(3), flipped)[0])


def test_the_adversary_waits_until_its_time(small):
    stage = Stage1(small(objective={"adversarial_after_images": 24}))
    assert stage.adversary is not None
    for images, waiting in ((0, True), (16, True), (24, False), (32, False)):
        stage.begin(images)
        assert stage.adversary.waiting == waiting
    assert [side.after for side in stage.sides] == [0, 24]


def test_kinds_that_may_not_share_a_batch_pass_alone(small):
    seen = []

    class Apart(Patches):
        together = False

        def forward(self, images: Tensor, real: int = 0) -> tuple[Tensor, None]:
            seen.append(len(images))
            return super().forward(images, real)

    config = small()
    judge = Adversary(Apart(config.discriminator, config.model), {})
    fakes = judge.judge(torch.rand(8, 3, 32, 32)).fakes
    judge(torch.rand(4, 3, 32, 32), fakes)
    assert seen == [4] * 5
    assert isinstance(build(config)[0], Autoencoder)


class Brightness(torch.nn.Module):
    """A discriminator that takes bright images for real ones."""

    together = False

    def forward(self, images: Tensor, real: int = 0) -> tuple[Tensor, None]:
        return images.mean((1, 2, 3)), None


BRIGHT, DARK = torch.full((4, 3, 8, 8), 2.0), torch.full((4, 3, 8, 8), -2.0)


def test_without_a_margin_a_discriminator_that_never_errs_still_learns():
    judge = Adversary(Brightness(), {}, margin=0.0)  # type: ignore[arg-type]
    judge.begin(0)
    loss, terms, _ = judge(BRIGHT, Fakes(DARK, DARK, None))
    assert terms["discriminator_error"] == 0
    assert loss == terms["discriminator"] > 0
    assert judge.resting == 0


@pytest.mark.parametrize(("errs", "rests"), [((False, False), 1), ((True, False), 0), ((False, True), 0)])
def test_it_rests_at_a_batch_if_it_is_sure_of_every_part(errs, rests):
    judge = Adversary(Brightness(), {}, margin=0.3)  # type: ignore[arg-type]
    for _ in range(2):  # what the last batch said is forgotten
        judge.begin(0)
        for part in errs:
            judge(*((DARK, Fakes(BRIGHT, BRIGHT, None)) if part else (BRIGHT, Fakes(DARK, DARK, None))))
        assert judge.resting == rests


def test_it_rests_by_the_errors_of_all_ranks(monkeypatch):
    monkeypatch.setattr("crvae.training.adversary.mean_over_ranks", lambda error: (error + 1) / 2)  # the other one errs
    judge = Adversary(Brightness(), {}, margin=0.3)  # type: ignore[arg-type]
    judge.begin(0)
    loss, terms, _ = judge(BRIGHT, Fakes(DARK, DARK, None))
    assert terms["discriminator_error"] == 0.5
    assert loss > 0
    assert judge.resting == 0
