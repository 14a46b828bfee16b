"""Samples of two small generators by others, trained for as many CPU seconds as a crvae run, scored by the same commands.

    pip install --no-deps pythae==0.1.2 lightweight-gan==1.2.1 kornia kornia_rs adabelief-pytorch fire retry py decorator cloudpickle
    python -m benchmarks.peers_quality --data DATA --classifier CLASSIFIER --attribute hair --work WORK --out OUT

crvae's run is trained first and its CPU seconds counted, start included; each peer's steps then take as many. `--run RUN --seconds N`
takes a finished run. pythae's VAEGAN has the dense networks of `emoji-vae-gan` and samples from N(0, I). lightweight-gan has an eighth
of its channels: 0.6 GFLOP an image for the generator, not 26. Both run in fp32, as they come. OMP_NUM_THREADS=1 keeps to one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.io import decode_image

from benchmarks import lightweight
from benchmarks.peer import Peer
from crvae.data import open_data
from crvae.pictures import from_8_bit, save_image, tiled, to_8_bit
from crvae.recipes import named
from crvae.training.allocation import keep_freed_memory

SAMPLES, COLUMNS = 1_000, 8


def train_ours(options: argparse.Namespace, run: Path) -> float:
    """A fast run at another length than its own; its CPU seconds."""
    after, latents = options.images * 7 // 10, options.images * 25 // 3
    command = f"train fast-crvae-gan-mi --data {options.data} --out {run} --train.images {options.images}"
    command += f" --objective.adversarial-after-images {after} --prior.images {latents}"
    before = sum(os.times()[2:4])  # user and system time of children
    subprocess.run([sys.executable, "-m", "crvae", *command.split()], check=True)
    return sum(os.times()[2:4]) - before


def write(images: Tensor, folder: Path) -> None:
    """Images in [-1, 1] as one PNG each."""
    folder.mkdir(parents=True)
    for number, image in enumerate(to_8_bit(images.clamp(-1, 1))):
        save_image(image, folder / f"{number:04}.png")


def pythae_vaegan(train: Tensor, seconds: float, out: Path) -> int:
    """Images seen, in batches of 32, by steps of pythae's trainer at the rate of `emoji-vae-gan`, 6 times pythae's default."""
    config = named("emoji-vae-gan").config
    config = config.model_copy(
        update={
            "discriminator": config.discriminator.model_copy(update={"kernels": 0}),
            "model": config.model.model_copy(update={"latent_channels": 8}),  # 128 values
        }
    )
    peer, steps = Peer(config), 0
    for part in ("encoder", "decoder", "discriminator"):
        for group in getattr(peer.trainer, f"{part}_optimizer").param_groups:
            group["lr"] = config.train.rate
    started = time.process_time()
    while time.process_time() - started < seconds:
        peer(from_8_bit(train[torch.randint(len(train), (32,))]))
        steps += 1
    model = peer.model.eval()
    with torch.no_grad():
        z = torch.randn(SAMPLES, model.latent_dim)
        write(torch.cat([model.decoder(part).reconstruction for part in z.split(100)]), out / "pythae-vaegan")
    return steps * 32


def lightweight_gan(train: Tensor, seconds: float, out: Path) -> int:
    """Images seen by its own trainer, but with an eighth of its channels, no attention and batches of 16, not 40."""
    images = out / "train"
    write(from_8_bit(train), images)
    settings: dict[str, Any] = {"image_size": 64, "batch_size": 16, "disc_output_size": 1, "fmap_inverse_coef": 9}
    trainer = lightweight.module().Trainer(base_dir=out / "own", use_aim=False, num_workers=0, **settings)
    trainer.evaluate = trainer.save = lambda *_, **__: None  # it would write pictures every 100 steps, out of its time
    trainer.set_data_src(images)
    started = time.process_time()
    while time.process_time() - started < seconds:
        trainer.train()
    generator = trainer.GAN.G.eval()
    with torch.no_grad():
        samples = torch.cat(
            [generator(part).clamp(0, 1) for part in torch.randn(SAMPLES, trainer.latent_dim).split(100)]
        )
    write(samples * 2 - 1, out / "lightweight-gan")
    return trainer.steps * settings["batch_size"]


def scores(subject: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What `crvae evaluate` says: inception score, KID on the classifier's features and on EfficientNet-Lite0's."""
    found: dict[str, Any] = {}
    judge = ["--scores", "is,kid", "--features", "classifier", "--classifier", options.classifier]
    judge += ["--attribute", options.attribute] if options.attribute else []
    for extra in (judge, ["--scores", "kid"]):
        command = ["evaluate", str(subject), "--data", options.data, "--images", str(options.scored), "--json", *extra]
        result = subprocess.run([sys.executable, "-m", "crvae", *command], check=True, stdout=subprocess.PIPE)
        for score in json.loads(result.stdout)["scores"].values():
            found[score["name"]] = [round(score[key], 3) for key in ("value", "low", "high")]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="samples of small generators by others at equal CPU time")
    parser.add_argument("--data", required=True)
    parser.add_argument("--classifier", required=True)
    parser.add_argument("--attribute", default="")
    parser.add_argument("--out", type=Path, required=True, help="new folder: scores.json, samples.png")
    parser.add_argument("--work", type=Path, required=True, help="new folder for runs and samples")
    parser.add_argument("--images", type=int, default=30_000, help="that crvae's run sees")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--run", type=Path, help="a finished run in place of a new one")
    parser.add_argument("--seconds", type=float, help="CPU seconds that it took")
    options = parser.parse_args()

    if (options.run is None) != (options.seconds is None):
        parser.error("--run needs --seconds, and --seconds needs --run")

    keep_freed_memory()  # as crvae's own training does
    run = options.run or options.work / "run"
    seconds = options.seconds if options.run else train_ours(options, run)
    split = open_data(options.data).split("train")
    options.scored = min(SAMPLES, len(open_data(options.data).split("validation")))
    draw = ["sample", str(run), "--count", str(SAMPLES), "--out", str(options.work / "fast-crvae-gan-mi")]
    subprocess.run([sys.executable, "-m", "crvae", *draw], check=True)

    table: dict[str, Any] = {}
    rows = []
    options.out.mkdir(parents=True)
    for name in ("fast-crvae-gan-mi", *options.peers.split(",")):
        torch.manual_seed(0)
        seen = {"images_seen": PEERS[name](split.everything(), seconds, options.work)} if name in PEERS else {}
        table[name] = seen | scores(options.work / name, options)
        rows += [decode_image(str(file)) for file in sorted((options.work / name).iterdir())[:COLUMNS]]
        save_image(tiled(torch.stack(rows), COLUMNS), options.out / "samples.png")
        summary = {"data": options.data, "seconds": seconds, "threads": torch.get_num_threads(), "samples": table}
        (options.out / "scores.json").write_text(json.dumps(summary, indent=1) + "\n")


PEERS = {"pythae-vaegan": pythae_vaegan, "lightweight-gan": lightweight_gan}

if __name__ == "__main__":
    main()
