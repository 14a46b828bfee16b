"""Images as .crz files: what is written comes back, any whole number of blocks is a file, and everything else is refused."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crvae.cli import main
from crvae.config.prior import AutoregressivePriorConfig, FlowPriorConfig
from crvae.errors import UserError
from crvae.models.gaussian import DiagonalGaussian
from crvae.models.prior import LearnedPrior
from crvae.models.priors import build_prior
from crvae.pictures import to_8_bit
from crvae.storage.models import save
from crvae.tasks import integer_model
from crvae.tasks.codec import Codec
from crvae.tasks.crz_file import HEADER, Crz, Frame, pack, unpack
from crvae.tasks.inputs import read_images
from crvae.tasks.naming import model_name
from crvae.tasks.profiling import posterior_of
from fuzzing import many

FILE = pack(Crz(b"sixsix", (Frame(9, b""), Frame(200, bytes(range(140))), Frame(0, b"\0\xff"))))
PRIORS = {
    "normal": None,
    "flow": FlowPriorConfig(width=16, depth=1, solver_steps=2),
    "autoregressive": AutoregressivePriorConfig(width=8, mixture=3, candidates=8),
}


@pytest.fixture(params=PRIORS)
def coded(request, make):
    """A codec, posteriors of five images, and their files."""
    model = make[0]("recurrent")
    torch.manual_seed(3)
    mean = 0.5 + torch.randn(5, *model.latent_shape) * torch.linspace(0.2, 2, 8)[:, None, None]
    posterior = DiagonalGaussian(mean, -3 + torch.randn_like(mean), 4)
    if (config := PRIORS[request.param]) is not None:
        prior = build_prior(config, model.latent_shape, 4)
        assert isinstance(prior, LearnedPrior)
        prior.fit_scale(mean, posterior.log_variance)
        model.prior = prior.eval().requires_grad_(False)
    codec = Codec(model)
    return codec, posterior, codec.compress(posterior)


def same_blocks(z: torch.Tensor) -> torch.Tensor:
    return z.flatten(1).unflatten(1, (4, -1))


def test_what_comes_back_is_the_mean_but_for_half_a_step(coded):
    codec, posterior, files = coded
    for data, mean in zip(files, posterior.mean, strict=True):
        z, there = codec.latents(data, "x")
        assert there == 4
        steps = [2 ** ((frame.scale // 4 - 40) / 4) for frame in unpack(data, "x").frames]
        error = same_blocks(z - mean).abs().amax((0, 2))
        assert (error <= 0.5001 * torch.tensor(steps)).all()
        assert error.max() > 0


@torch.no_grad()
def test_a_file_cut_between_blocks_is_that_many_blocks(coded):
    codec, _, (data, *_) = coded
    whole, _ = codec.latents(data, "x")
    ends = unpack(data, "x").sizes()
    assert ends[0] == HEADER
    assert ends[-1] == len(data)
    for t, end in enumerate(ends):
        z, there = codec.latents(data[:end], "x")
        assert there == t
        assert torch.equal(same_blocks(z)[:, :t], same_blocks(whole)[:, :t])
        assert torch.equal(codec.latents(data, "x", t)[0], z)
        shown = codec.image(data[:end], "x")
        assert torch.equal(shown, codec.model.decode(codec.model.prior.mean_fill(z, t))[0])
        filled = codec.image(data, "x", t, fill=True)
        assert torch.equal(filled, codec.model.decode(codec.model.prior.fill(z, t))[0])
        assert torch.equal(shown, filled) == (t == 4)


def test_the_model_is_named_by_what_decoding_depends_on(coded, make):
    codec, _, (data, *_) = coded
    assert model_name(codec.model) == codec.name
    other = make[0]("recurrent")
    other.prior = codec.model.prior
    assert model_name(other) == codec.name
    with torch.no_grad():
        next(other.decoder.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(UserError, match="give the run that made it"):
        Codec(other).latents(data, "x")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_file_gives_the_same_pixels_with_any_threads_alone_and_among_sixteen(coded, tmp_path, threads):
    codec, _, files = coded
    save(tmp_path / "model", codec.model, recipe="test", images=0)
    run = str(tmp_path / "model")
    (tmp_path / "sixteen").mkdir()
    for number in range(16):
        (tmp_path / "sixteen" / f"{number:02d}.crz").write_bytes(files[number % 5])
    torch.set_num_threads(threads)
    try:
        assert main(["decode", str(tmp_path / "sixteen"), "--run", run, "--out", str(tmp_path / "many")]) == 0
        assert main(["decode", str(tmp_path / "sixteen" / "03.crz"), "--run", run, "--out", str(tmp_path / "one")]) == 0
    finally:
        torch.set_num_threads(1)
    for number in range(16):
        expected = to_8_bit(codec.image(files[number % 5], "x")[None])[0].permute(1, 2, 0).numpy()
        with Image.open(tmp_path / "many" / f"{number:02d}.png") as image:
            assert (np.asarray(image) == expected).all()
    assert (tmp_path / "one" / "03.png").read_bytes() == (tmp_path / "many" / "13.png").read_bytes()


def test_every_cut_inside_a_block_is_refused():
    ends = unpack(FILE, "x").sizes()
    for length in range(len(FILE)):
        if length in ends:
            assert pack(unpack(FILE[:length], "x")) == FILE[:length]
        else:
            with pytest.raises(UserError, match="x is"):
                unpack(FILE[:length], "x")


def test_every_flipped_bit_is_refused_and_blocks_before_it_still_open():
    ends = unpack(FILE, "x").sizes()
    for bit in range(8 * len(FILE)):
        altered = bytearray(FILE)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UserError, match="x is"):
            unpack(bytes(altered), "x")
        good = sum(end <= bit // 8 for end in ends) - 1
        if good >= 0:
            assert unpack(bytes(altered), "x", good).frames == unpack(FILE, "x").frames[:good]


def test_blocks_cannot_change_places():
    ends = unpack(FILE, "x").sizes()
    parts = [FILE[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    for order in ([0, 2, 1, 3], [0, 1, 3], [0, 2], [0, 1, 1, 2, 3]):
        with pytest.raises(UserError):
            unpack(b"".join(parts[i] for i in order), "x")


@many(300, times=5)
@given(st.binary(max_size=300), st.integers(0, len(FILE)), st.integers(0, len(FILE)))
def test_fuzz_foreign_and_altered_files(middle, first, last):
    for data in (middle, FILE[:first] + middle + FILE[last:]):
        file, said = None, "x.crz"
        try:
            file = unpack(data, "x.crz")
        except UserError as error:
            said = str(error)
        assert "x.crz" in said
        assert "\n" not in said
        assert file is None or (FILE.startswith(data) and pack(file) == data)


@many(300, times=5)
@given(st.binary(max_size=60), st.integers(0, 40))
def test_fuzz_the_range_coder_takes_any_bytes(data, width):
    tables = np.arange(30) % 7 + min(width, 34)
    try:
        symbols = integer_model.decode(data, tables)
    except UserError:
        return
    assert (np.abs(symbols) <= integer_model.REACHES[tables]).all()
    assert (integer_model.decode(integer_model.encode(symbols, tables), tables) == symbols).all()


def test_tables_are_gaussians_and_the_same_everywhere():
    digest = hashlib.sha256()
    for index in range(integer_model.WIDTHS):
        table = integer_model.frequencies(index)
        assert table.sum() == 1 << integer_model.BITS
        assert table.min() >= 1
        symbols = integer_model.symbol(np.arange(len(table)))
        assert (integer_model.place(symbols) == np.arange(len(table))).all()
        expected = np.exp(-(symbols**2) / 2 ** ((index - 12) / 2 + 1))
        np.testing.assert_allclose(table / table.sum(), expected / expected.sum(), atol=2e-4)
        digest.update(table.astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == "0d55a44a67cb7372"


def test_bytes_are_the_same_everywhere_and_as_few_as_the_tables_promise():
    generator = np.random.Generator(np.random.PCG64(0))
    tables = np.repeat(np.array([4, 12, 20, 30]), 40)
    symbols = np.rint((generator.integers(-1000, 1001, 160) / 1000) * integer_model.WIDTH[tables]).astype(np.int64)
    data = integer_model.encode(symbols, tables)
    assert (integer_model.decode(data, tables) == symbols).all()
    bits = integer_model.costs()[tables, integer_model.place(symbols)].sum()
    assert bits / 8 - 1 <= len(data) <= bits / 8 + 2
    assert hashlib.sha256(data).hexdigest()[:16] == "cdbad6920866d70e"
    assert integer_model.encode(np.zeros(64, np.int64), np.zeros(64, np.int64)) == b""


@pytest.fixture
def speaking(make, tmp_path):
    """A model whose posteriors say something, and its folder."""
    model = make[0]("recurrent")
    with torch.no_grad():
        for parameter in model.latent.mean.parameters():
            parameter.mul_(30)
    save(tmp_path / "model", model, recipe="test", images=0)
    return model, tmp_path / "model"


def test_the_commands(speaking, tmp_path, capsys):
    model, exported = speaking
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    run, out = str(exported), tmp_path / "out"
    assert main(["encode", run, "--images", str(tmp_path / "in"), str(out), "--format", "crz", "--limit", "90"]) == 0
    assert [file.name for file in sorted(out.iterdir())] == ["0.crz", "1.crz", "2.crz"]
    assert all(12 < file.stat().st_size <= 90 for file in out.iterdir())
    assert main(["decode", str(out), "--run", run]) == 0
    codec = Codec(model)
    for number in range(3):
        expected = to_8_bit(codec.image((out / f"{number}.crz").read_bytes(), "x")[None])[0].permute(1, 2, 0)
        with Image.open(tmp_path / "out-decoded" / f"{number}.png") as image:
            assert (np.asarray(image) == expected.numpy()).all()
    capsys.readouterr()
    small = [
        "encode",
        run,
        "--images",
        str(tmp_path / "in"),
        str(tmp_path / "outlines"),
        "--format",
        "crz",
        "--limit",
        "13",
    ]
    assert main(small) == 0
    assert "--limit 13 is less than the first block takes in 3 of 3 files: they show the average image" in " ".join(
        capsys.readouterr().err.split()
    )
    one = tmp_path / "one.crz"
    assert main(["encode", run, "--images", str(tmp_path / "in" / "1.png"), str(one), "--format", "crz"]) == 0
    for options in ([], ["--steps", "2"], ["--steps", "2", "--fill"], ["--steps", "0"]):
        place = tmp_path / f"shown{'-'.join(options)}"
        assert main(["decode", str(one), "--run", run, "--out", str(place), *options]) == 0
        assert [file.name for file in place.iterdir()] == ["one.png"]
    capsys.readouterr()
    (tmp_path / "bad.crz").write_bytes(one.read_bytes()[:-1])
    (tmp_path / "latents.safetensors").write_bytes(b"")
    refusals = (
        (["decode", str(one)], "which is not built in: give the run that made it with --run"),
        (["decode", str(one), "--run", run, "--steps", "9"], "--steps must be from 0 to 4"),
        (["decode", str(tmp_path / "in"), "--run", run], "holds no .crz files"),
        (["decode", str(tmp_path / "none.crz"), "--run", run], "does not exist"),
        (["decode", str(tmp_path / "bad.crz"), "--run", run], "cut or damaged in block"),
        (["decode", str(tmp_path / "latents.safetensors"), "--fill"], "--fill goes with"),
        (["encode", run, "--images", str(tmp_path / "in"), str(one), "--format", "crz"], "is one file, and --images"),
        (["encode", run, "--images", str(tmp_path / "in"), str(tmp_path / "z.safetensors"), "--bytes", "9"], "--bytes goes"),
        (["encode", run, "--images", str(tmp_path / "in"), str(tmp_path / "n"), "--format", "crz", "--bytes", "9"], "--bytes must"),
        (["encode", run, "--images", str(tmp_path / "in"), str(tmp_path / "n"), "--format", "crz", "--limit", "9"], "--limit must"),
        (["encode", run, "--images", str(tmp_path / "in"), str(tmp_path / "n"), "--format", "crz", "--data", "x"], "give --bytes"),
    )  # fmt: skip
    for args, says in refusals:
        assert main(args) == 2
        assert says in capsys.readouterr().err
    bad = tmp_path / "a file.crz"
    bad.write_bytes(one.read_bytes()[:-1])
    assert main(["decode", str(bad), "--run", run]) == 2
    assert "in block 4: add --steps 3 to decode those before it" in capsys.readouterr().err
    assert main(["decode", str(bad), "--run", run, "--steps", "3", "--out", str(tmp_path / "three.png")]) == 0
    assert not (tmp_path / "n").exists()
    assert not (tmp_path / "bad").exists()


def test_bytes_on_average_are_chosen_on_data_or_on_the_images(speaking, tmp_path):
    model, exported = speaking
    for place, count in (("in", 3), ("others", 4)):
        (tmp_path / place).mkdir()
        for number in range(count):
            pixels = np.random.default_rng([count, number]).integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / place / f"{number}.png")
    sizes = {}
    for name, options in {
        "finest": [],
        "own": ["--bytes", "90"],
        "others": ["--bytes", "90", "--data", str(tmp_path / "others")],
        "both": ["--bytes", "90", "--limit", "70"],
    }.items():
        out = tmp_path / f"out-{name}"
        command = ["encode", str(exported), "--images", str(tmp_path / "in"), str(out), "--format", "crz"]
        assert main([*command, *options]) == 0
        sizes[name] = [file.stat().st_size for file in sorted(out.iterdir())]
    codec = Codec(model)
    others = posterior_of(model, read_images(str(tmp_path / "others"), model, option="--data", limit=9).x)
    images = posterior_of(model, read_images(str(tmp_path / "in"), model, option="--images", limit=9).x)
    assert sizes["others"] == [len(data) for data in codec.compress(images, None, *codec.steps_for(others, 90))]
    assert 80 < np.mean(sizes["own"]) <= 90 < np.mean(sizes["finest"])
    assert max(sizes["both"]) <= 70


def test_a_file_of_a_built_in_model_needs_no_run(speaking, make, tmp_path, monkeypatch):
    _, exported = speaking
    (tmp_path / "built-in").mkdir()
    save(tmp_path / "built-in" / "another", make[0]("dense"), recipe="test", images=0)
    exported = exported.rename(tmp_path / "built-in" / "mine")
    monkeypatch.setattr("crvae.storage.folders.BUILT_IN", tmp_path / "built-in")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    one = str(tmp_path / "red.crz")
    assert main(["encode", "mine", "--images", str(tmp_path / "red.png"), one, "--format", "crz"]) == 0
    assert main(["decode", one, "--out", str(tmp_path / "found")]) == 0
    assert main(["decode", one, "--run", str(exported), "--out", str(tmp_path / "told")]) == 0
    assert (tmp_path / "found" / "red.png").read_bytes() == (tmp_path / "told" / "red.png").read_bytes()


def test_more_blocks_than_any_model_has_are_refused():
    with pytest.raises(UserError, match="more than 4,096 blocks"):
        unpack(pack(Crz(b"sixsix", (Frame(0, b""),) * 4097)), "x")
