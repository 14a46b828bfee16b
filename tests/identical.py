"""What every family of runs and every task gives, bit for bit, as hashes: the measure of a change that must change nothing.

`python tests/identical.py` records the hashes of the code as it is in identical.json, about a minute on one thread;
test_identical.py compares. Whatever is measured goes through the command line and `crvae.load`, so that modules may move.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import PIL
import torch
from PIL import Image
from safetensors.torch import load_file

import crvae
from crvae.cli import main
from crvae.devices import bf16_is_faster
from reference.hashes import of_numbers, of_pictures, of_tensors

RECORD = Path(__file__).with_suffix(".json")

SMALL = [
    "--model.size", "32", "--model.width", "4", "--model.latent-channels", "16", "--discriminator.kernels", "8",
    "--discriminator.group", "8", "--objective.adversarial-after-images", "0",
]  # fmt: skip
DIGITS = ["--model.width", "4", "--model.latent-channels", "16"]
BRIEF = [
    "--train.batch", "16", "--train.images", "80", "--train.report-images", "32", "--train.checkpoint-images", "80",
    "--train.snapshot-images", "0", "--train.precision", "fp32",
]  # fmt: skip
"""Five steps: into the second epoch of the data."""

STAGE1: dict[str, tuple[str, list[str]]] = {
    "dense": ("emoji-vae", []),
    "convolutional": ("emoji-cvae", []),
    "recurrent": ("emoji-crvae", []),
    "dense-gan": ("emoji-vae-gan", []),
    "convolutional-gan": ("emoji-cvae-gan", []),
    "recurrent-gan": ("emoji-crvae-gan", []),
    "recurrent-gan-mi": ("emoji-crvae-gan-mi", []),
    "dense-gan-mi": ("emoji-vae-gan", ["--objective.mutual-information", "0.02"]),
    "convolutional-gan-mi": ("emoji-cvae-gan", ["--objective.mutual-information", "0.02"]),
    "paper-dense-gan": ("birds-vae-gan", []),
    "paper-recurrent-gan": ("lsun-crvae-gan", []),
    "paper-recurrent-gan-mi": ("celeba-crvae-gan-mi", ["--train.halve-every-images", "32"]),
    "release-dense-gan": ("birds-vae-gan-release", []),
    "release-recurrent-gan-mi": ("birds-crvae-gan-mi-release", []),
    "mi-on-z": (
        "celeba-crvae-gan-mi",
        ["--objective.mutual-information-on", "z", "--objective.mutual-information-head", "0.5"],
    ),
    "margin": ("emoji-crvae-gan-mi", ["--objective.margin", "0.45", "--train.rate", "0.01"]),  # rests in the third step
    "mixed-batch": ("emoji-crvae-gan-mi", ["--discriminator.mixed-batch"]),
    "minibatch-discrimination-off": ("emoji-crvae-gan", ["--discriminator.kernels", "0"]),
    "minibatch-discrimination-over-all": ("emoji-crvae-gan", ["--discriminator.group", "0"]),
    "encoder-not-adversarial": ("emoji-crvae-gan-mi", ["--objective.no-encoder-adversarial"]),
    "late-discriminator": ("emoji-crvae-gan-mi", ["--objective.adversarial-after-images", "32"]),
    "accumulate": ("emoji-crvae-gan-mi", ["--train.accumulate", "2"]),
    "perceptron-permuted": ("emoji-crvae-gan", ["--model.mixing", "perceptron", "--model.permute"]),
    "digits-dense": ("mnist-vae", []),
    "digits-convolutional": ("mnist-cvae", []),
    "digits-recurrent": ("mnist-crvae", []),
    "digits-release-dense": ("mnist-vae-release", []),
    "digits-release-convolutional": ("mnist-cvae-release", []),
    "digits-release-recurrent": ("mnist-crvae-release", []),
}
"""Name of a short run -> recipe, and the options that it adds to SMALL (or DIGITS) and BRIEF."""

STAGE2: dict[str, tuple[str, list[str]]] = {
    "stage2": ("emoji-stage2-128-plain", []),
    "stage2-paper": ("birds-stage2-128", []),
    "stage2-perceptual": ("emoji-stage2-128", []),
}
"""The same on top of `recurrent-gan-mi`."""

Hashes = dict[str, str]


class Unreachable(Exception):
    """A command needs a network's weights, and the package index that has them is out of reach."""


class Workshop:
    """A folder with the data and the runs that cases share, each made when it is first asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    def data(self, size: int, channels: int = 3, pair: int = 0) -> Path:
        """Prepared data: 60 pictures of a square on a plain ground, 54 of them or so to train on."""
        name = f"data-{size}-{channels}-{pair}"
        if not (self.folder / name).exists():
            paint(self.folder / f"pictures-{name}", 60, pair or size)
            options = ["--size", size, "--channels", channels, "--workers", 1, *(["--pair", pair] if pair else [])]
            command("prepare", self.folder / f"pictures-{name}", self.folder / name, *options)
        return self.folder / name

    def run(self, name: str) -> Path:
        """The short run of this name in STAGE1 or STAGE2."""
        out = self.folder / "runs" / name
        if out.exists():
            return out
        recipe, options = (STAGE1 | STAGE2)[name]
        if name in STAGE2:
            places = ["--stage1", self.run("recurrent-gan-mi"), "--data", self.data(32, pair=64)]
            small = ["--model.size", 32, "--model.output-size", 64, "--model.width", 4, "--model.blocks", 1]
            small += ["--discriminator.width", 4]
        elif recipe.startswith("mnist"):
            places, small = ["--data", self.data(28, 1)], DIGITS
        else:
            places, small = ["--data", self.data(32)], SMALL
        command("train", recipe, *places, "--out", out, *small, *BRIEF, *options)
        return out


def paint(folder: Path, count: int, size: int) -> None:
    """Pictures of one square each, from torch's generator."""
    generator = torch.Generator().manual_seed(size)
    folder.mkdir(parents=True)
    for number in range(count):
        ground, square = torch.randint(0, 256, (2, 3), generator=generator, dtype=torch.uint8)
        top, left = torch.randint(0, size // 2, (2,), generator=generator).tolist()
        picture = ground.repeat(size, size, 1)
        picture[top : top + size // 3, left : left + size // 3] = square
        Image.fromarray(picture.numpy()).save(folder / f"{number:03d}.png")


def command(*args: object) -> str:
    """`crvae ARGS`; returns what it printed. Raises Unreachable, or AssertionError with what it said."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(arg) for arg in args])
    if code and "cannot download" in err.getvalue():
        raise Unreachable(err.getvalue().strip())
    assert code == 0, f"crvae {' '.join(map(str, args))}: {err.getvalue()}"
    return out.getvalue()


def training(name: str) -> Callable[[Workshop, Path], Hashes]:
    """The published weights of a short run, and its last samples."""

    def case(shop: Workshop, _: Path) -> Hashes:
        run = shop.run(name)
        hashes = {file.stem: of_tensors(load_file(file)) for file in sorted((run / "model").glob("*.safetensors"))}
        return hashes | {"samples": of_pictures(run / "samples")}

    return case


def sample(shop: Workshop, out: Path) -> Hashes:
    stage2, digits = shop.run("stage2"), shop.run("digits-recurrent")
    command("sample", "emoji", "--count", 9, "--seed", 3, "--out", out / "grid.png")
    command("sample", "emoji", "--count", 5, "--out", out / "folder")
    command("sample", stage2, "--count", 4, "--out", out / "stage2")
    command("sample", digits, "--count", 4, "--out", out / "digits")
    return {name.removesuffix(".png"): of_pictures(out / name) for name in ("grid.png", "folder", "stage2", "digits")}


def reconstruct(shop: Workshop, out: Path) -> Hashes:
    command("reconstruct", "emoji", "--data", shop.data(64), "--count", 6, "--out", out / "emoji.png")
    command("upscale", shop.run("stage2"), "--images", shop.data(32), "--count", 4, "--out", out / "upscale")
    command("encode", "emoji", out / "z.safetensors", "--images", shop.data(64), "--count", 4)
    command("decode", out / "z.safetensors", "--steps", 3, "--out", out / "decode")
    latents = of_tensors(load_file(out / "z.safetensors"))
    return {"latents": latents} | {
        name.removesuffix(".png"): of_pictures(out / name) for name in ("emoji.png", "upscale", "decode")
    }


def complete(shop: Workshop, out: Path) -> Hashes:
    tiny = ["--images", shop.data(32), "--count", 3, "--steps", 12, "--start", "prior"]
    command("complete", shop.run("recurrent-gan-mi"), *tiny, "--mask", "right-half,eyes", "--out", out / "recurrent")
    command(
        "complete",
        shop.run("dense-gan"),
        *tiny[:-2],
        "--mask",
        "center",
        "--start",
        "posterior",
        "--out",
        out / "dense",
    )
    lbfgs = ["--mask", "upper", "--optimiser", "lbfgs", "--seed", 5, "--feather", 2]
    command("complete", shop.run("convolutional-gan"), *tiny, *lbfgs, "--out", out / "convolutional")
    emoji = ["--images", shop.data(64), "--count", 3, "--steps", 12, "--start", "prior", "--tau", 0, "--mask", "mouth"]
    command("complete", "emoji", *emoji, "--out", out / "emoji")
    return {name: of_pictures(out / name) for name in ("recurrent", "dense", "convolutional", "emoji")}


def traverse(shop: Workshop, out: Path) -> Hashes:
    hashes = {}
    for walk, *options in (
        ("progressive",),
        ("interpolate",),
        ("style",),
        ("interpolate", "--step", "2"),
        ("style", "--step", "3"),
        ("progressive", "--images", str(shop.data(64))),
    ):
        name = "".join([walk, *options[:1]]).replace("--", "-")
        columns = () if walk == "progressive" else ("--columns", 3)
        command("traverse", "emoji", walk, "--count", 3, *columns, *options, "--out", out / f"{name}.png")
        hashes[name] = of_pictures(out / f"{name}.png")
    dense = shop.run("dense-gan")
    command("traverse", dense, "style", "--count", 2, "--columns", 2, "--out", out / "dense.png")
    return hashes | {"dense": of_pictures(out / "dense.png")}


def profile(shop: Workshop, out: Path) -> Hashes:
    """Means without their intervals, and without perceptual distances, whose network must be fetched."""
    hashes = {}
    for name, run, size in (("emoji", "emoji", 64), ("dense", shop.run("dense-gan"), 32)):
        images = ["--images", shop.data(size), "--count", 6]
        command("traverse", run, "profile", *images, "--out", out / f"{name}.png")
        found = json.loads((out / f"{name}.json").read_text())
        change = [step["mean"] for step in found["resampled"]["change"]]
        bands = [[band["mean"] for band in step] for step in found["resampled"]["bands"]]
        hashes[name] = of_numbers([found["kl"], change, bands, found["first_blocks"]])
    return hashes


def evaluate(shop: Workshop, out: Path) -> Hashes:
    """Scores without their intervals."""
    digits, images = shop.data(28, 1), ["--split", "train", "--images", 20]
    return {
        "digits": scores(shop.run("digits-recurrent"), digits, "kl,elbo,nll", *images, "--samples", 6),
        "digits-dense": scores(shop.run("digits-dense"), digits, "kl,elbo,nll", *images, "--samples", 6),
        "emoji": scores("emoji", shop.data(64), "kid,fid,prdc,kl,elbo,nll", *images, "--samples", 4),
    }


def evaluate_reconstruction(shop: Workshop, out: Path) -> Hashes:
    return {"emoji": scores("emoji", shop.data(64), "reconstruction", "--split", "train", "--images", 8)}


def scores(run: object, data: Path, names: str, *options: object) -> str:
    found = json.loads(command("evaluate", run, "--data", data, "--scores", names, "--json", *options))["scores"]
    return of_numbers({name: score["value"] for name, score in found.items()})


def in_python(shop: Workshop, out: Path) -> Hashes:
    """The documented methods of a loaded model, and the channel recurrence alone."""
    hashes = {}
    for name in ("emoji", "dense-gan", "convolutional-gan", "digits-recurrent"):
        model = crvae.load(name if name == "emoji" else shop.run(name))
        images = model.sample(3, seed=1, truncation=0.8)
        posterior = model.encode(images)
        torch.manual_seed(0)
        hashes[name] = of_tensors({
            "images": images, "mean": posterior.mean, "log_variance": posterior.log_variance, "z": posterior.sample(),
            "kl": posterior.kl(per_step=True), "first": model.decode(posterior.mean, steps=3), "back": model.reconstruct(images),
        })  # fmt: skip
    torch.manual_seed(0)
    recurrence = crvae.models.ChannelRecurrence(16, 16, steps=4)
    return hashes | {"recurrence": of_tensors({"out": recurrence(torch.randn(2, 16, 4, 4))})}


CASES: dict[str, Callable[[Workshop, Path], Hashes]] = {
    **{name: training(name) for name in STAGE1 | STAGE2},
    "sample": sample,
    "reconstruct": reconstruct,
    "complete": complete,
    "traverse": traverse,
    "profile": profile,
    "evaluate": evaluate,
    "evaluate-reconstruction": evaluate_reconstruction,
    "in-python": in_python,
}


def environment() -> dict[str, str]:
    """What the last bit of a number depends on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    about = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    fields = [about.get(field, "unknown") for field in ("model name", "cpu family", "model", "stepping")]
    processor = "{}, family {}, model {}, stepping {}".format(*fields)
    arithmetic = "bf16" if bf16_is_faster(torch.device("cpu")) else "fp32"
    return {"torch": torch.__version__, "pillow": PIL.__version__, "processor": processor, "arithmetic": arithmetic}


def record() -> None:
    """Writes identical.json."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        shop, hashes = Workshop(Path(folder)), {}
        for name, case in CASES.items():
            out = Path(folder) / "out" / name
            out.mkdir(parents=True)
            hashes[name] = case(shop, out)
    RECORD.write_text(json.dumps({"environment": environment(), "hashes": hashes}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
