"""Images as .crz files of a chosen size: none is larger, more bytes are never worse, and no other number of blocks shows more."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
import torch

from crvae.cli import main
from crvae.config.prior import FlowPriorConfig
from crvae.errors import UserError
from crvae.models.gaussian import DiagonalGaussian, blocks
from crvae.models.prior import LearnedPrior
from crvae.models.priors import build_prior
from crvae.pictures import as_picture, to_8_bit
from crvae.storage.models import load
from crvae.tasks.codec import STEP, Codec
from crvae.tasks.crz_file import HEADER, Crz, Frame, pack, unpack
from crvae.tasks.profiling import posterior_of
from crvae.tasks.traversal import decode_all

MODELS = ("faces", "emoji", "recurrent", "dense", "flow")
LIMITS = (HEADER, 16, 20, 24, 30, 36, 42, 50, 60, 75, 100, 200, 4000)


def untrained(make, kind: str) -> tuple[Codec, DiagonalGaussian]:
    """A small model, and posteriors of twelve images that say much in the first blocks and little in the last."""
    model = make[0]("dense" if kind == "dense" else "recurrent")
    torch.manual_seed(3)
    first, *others = model.latent_shape
    mean = 0.5 + torch.randn(12, first, *others) * torch.linspace(2, 0.2, first).view(-1, *(1 for _ in others))
    posterior = DiagonalGaussian(mean, -3 + torch.randn_like(mean), 4)
    if kind == "flow":
        prior = build_prior(FlowPriorConfig(width=16, depth=1, solver_steps=2), model.latent_shape, 4)
        assert isinstance(prior, LearnedPrior)
        prior.fit_scale(mean, posterior.log_variance)
        model.prior = prior.eval().requires_grad_(False)
    return Codec(model), posterior


@pytest.fixture(scope="module", params=MODELS)
def sized(request, make):
    """A codec and posteriors: of draws of a built-in model, or made up for a small one."""
    if request.param not in ("faces", "emoji"):
        return untrained(make, request.param)
    model = load(request.param)
    return Codec(model), posterior_of(model, model.sample(12, seed=4))


@torch.no_grad()
def errors(codec: Codec, posterior: DiagonalGaussian, files: list[bytes]) -> np.ndarray:
    """Of every file's picture from that of all means."""
    z = torch.cat([codec.model.prior.mean_fill(*codec.latents(data, "x")) for data in files])
    wrong = decode_all(codec.model, z) - decode_all(codec.model, posterior.mean)
    return wrong.square().flatten(1).mean(1).numpy()


def never_worse(codec: Codec, means: list[float]) -> bool:
    """Whether larger files are never worse; finer steps of an untrained network are not always nearer, by a few per cent."""
    slack = 1.0 if codec.model.config.size == 64 else 1.05  # the built-in ones are trained
    return all(after <= slack * before for before, after in pairwise(means))


def test_no_file_exceeds_its_limit_and_more_bytes_are_never_worse(sized):
    codec, posterior = sized
    means = []
    for limit in LIMITS:
        files = codec.compress(posterior, limit)
        assert max(map(len, files)) <= limit
        means.append(errors(codec, posterior, files).mean())
    assert never_worse(codec, means)
    assert files == codec.compress(posterior)
    for row, data in enumerate(files):
        one = DiagonalGaussian(posterior.mean[row : row + 1], posterior.log_variance[row : row + 1], codec.steps)
        assert codec.compress(one, len(data)) == [data]
        assert len(codec.compress(one, len(data) - 1)[0]) < len(data)
    with pytest.raises(UserError, match="--limit must be 12 or more"):
        codec.compress(posterior, HEADER - 1)


def test_no_number_of_blocks_is_better_under_the_same_limit(sized):
    codec, posterior = sized
    for limit in (16, 30, 60):
        files = codec.compress(posterior, limit)
        best = errors(codec, posterior, files).mean()
        for steps in range(1, codec.steps + 1):
            fewer = codec.compress(posterior, limit, steps)
            assert max(map(len, fewer)) <= limit
            assert all(len(unpack(data, "x").frames) <= steps for data in fewer)
            assert best <= 1.0001 * errors(codec, posterior, fewer).mean()
            assert all(len(data) > HEADER for data, other in zip(files, fewer, strict=True) if len(other) > HEADER)


def test_a_limit_on_top_of_an_average_keeps_both(sized):
    codec, posterior = sized
    chosen = codec.steps_for(posterior, 60)
    average = codec.compress(posterior, None, *chosen)
    for limit in (30, 50, 4000):
        both = codec.compress(posterior, limit, *chosen)
        assert max(map(len, both)) <= limit
        assert errors(codec, posterior, both).mean() >= errors(codec, posterior, average).mean()
    assert both == average


def test_an_average_is_met_on_as_many_blocks_as_asked_and_no_other_number_is_better(sized):
    codec, posterior = sized
    finest = [np.mean([len(data) for data in codec.compress(posterior, steps=t)]) for t in range(1, codec.steps + 1)]
    means = []
    for wanted in LIMITS[::4]:
        by_steps = []
        for steps in (*range(1, codec.steps + 1), None):
            count, coarser = codec.steps_for(posterior, wanted, steps)
            assert count <= (steps or codec.steps)
            files = codec.compress(posterior, None, count, coarser)
            assert np.mean([len(data) for data in files]) <= wanted
            if coarser and len(files[0]) > HEADER:
                less = codec.compress(posterior, None, count, coarser - 1)
                assert np.mean([len(data) for data in less]) > wanted - 2
            by_steps.append(errors(codec, posterior, files).mean())
        assert by_steps[-1] <= 1.02 * min(by_steps)
        means.append(by_steps[-1])
    assert never_worse(codec, means)
    assert codec.steps_for(posterior, 4000) == (codec.steps, 0)
    assert codec.steps_for(posterior, int(finest[1]) + 1, 2) == (2, 0)
    with pytest.raises(UserError, match="--bytes must be 12 or more"):
        codec.steps_for(posterior, HEADER - 1)


@pytest.mark.parametrize("log_variance", [-10.0, -14.0, -20.0, -60.0, -300.0])
def test_a_sharp_posterior_is_not_clipped(make, log_variance):
    for kind in ("recurrent", "flow"):
        codec, posterior = untrained(make, kind)
        sharp = DiagonalGaussian(posterior.mean, torch.full_like(posterior.mean, log_variance), 4)
        for data, mean in zip(codec.compress(sharp), sharp.mean, strict=True):
            error = blocks(codec.latents(data, "x")[0] - mean, 4)[0].abs().amax(1)
            steps = np.array([STEP[frame.scale // 4] for frame in unpack(data, "x").frames])
            assert error.max() < 0.05  # a step with the least error clips a little at most
            assert (steps <= codec.deviation.max(1) / 64).all()
        for limit in (30, 60):
            assert max(map(len, codec.compress(sharp, limit))) <= limit


@pytest.mark.parametrize("far", [5.5, 8.0, 30.0, 100.0])
def test_a_value_far_from_the_prior_takes_the_step_of_the_least_error(make, far):
    codec, posterior = untrained(make, "recurrent")
    mean = posterior.mean.clamp(-3, 3)
    blocks(mean, 4)[:, 1, 5] = far
    posterior = DiagonalGaussian(mean, torch.full_like(mean, -3.0), 4)
    for data, image in zip(codec.compress(posterior), mean, strict=True):
        wrong = blocks(codec.latents(data, "x")[0] - image, 4)[0]
        assert wrong[[0, 2, 3]].abs().max() < 0.1
        values = blocks(image[None], 4)[0, 1].double().numpy()
        reach = np.maximum(2 * STEP, 5)[:, None]  # of the tables of N(0, I), and a little less
        possible = np.clip(np.rint(values / STEP[:, None]) * STEP[:, None], -reach, reach) - values
        assert wrong[1].square().sum() <= np.square(possible).sum(1).min() + 0.1


def test_a_file_of_the_first_release_still_opens(make):
    codec, _ = untrained(make, "recurrent")
    payloads = (
        "1dcebc1effa531bc2ea2798b1b8a417809e2918ce93909",
        "570e9f8bfce6caa6d4d467a8b81881c4781924",
        "cc5a649830c5e232043ceeb4eff5f8fe",
        "dc834db273d4615b1c4970e68ff831",
    )
    data = pack(Crz(codec.name, tuple(Frame(132, bytes.fromhex(payload)) for payload in payloads)))
    z, there = codec.latents(data, "x")
    assert there == 4
    assert hashlib.sha256(z.numpy().tobytes()).hexdigest()[:16] == "35cf267aef1ac7cd"
    k = torch.arange(128, dtype=torch.float64)
    assert (z.flatten() - 3 * torch.sin(k * k) * torch.exp(-k / 128)).abs().max() < 0.15


def encode(tmp_path, out: str, *options: str) -> list[int]:
    """Sizes of the files that the command writes for twelve images."""
    command = ["encode", "faces", "--images", str(tmp_path / "in"), str(tmp_path / out), "--format", "crz", *options]
    assert main(command) == 0
    return [file.stat().st_size for file in sorted((tmp_path / out).iterdir())]


def test_the_command_uses_its_bytes_and_warns_by_the_option_that_was_given(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number, image in enumerate(to_8_bit(load("faces").sample(12, seed=4))):
        as_picture(image).save(tmp_path / "in" / f"{number:02d}.png")
    assert 25 < np.mean(encode(tmp_path, "small", "--limit", "30")) <= 30
    assert 55 < np.mean(encode(tmp_path, "first", "--bytes", "60", "--steps", "3")) <= 60
    for file in (tmp_path / "first").iterdir():
        assert len(unpack(file.read_bytes(), "x").frames) <= 3
    assert "average image" not in capsys.readouterr().err
    says = "is less than the first block takes in 12 of 12 files: they show the average image"
    for number, (options, named) in enumerate(
        (
            (("--limit", "13"), "--limit 13"),
            (("--bytes", "12"), "--bytes 12"),
            (("--bytes", "60", "--limit", "13"), "--limit 13"),
            (("--bytes", "12", "--limit", "60"), "--bytes 12"),
            (("--bytes", "12", "--steps", "2"), "--bytes 12"),
        )
    ):
        assert set(encode(tmp_path, f"empty{number}", *options)) == {HEADER}
        assert f"crvae: {named} {says}" in " ".join(capsys.readouterr().err.split())
