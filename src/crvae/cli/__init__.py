"""The `crvae` command: names its subcommands without importing them, so that `crvae --help` answers at once."""

from __future__ import annotations

import importlib
import sys

from crvae.errors import UserError

COMMANDS = {
    "prepare": "turn an image folder, a hub dataset or a named set into the prepared format",
    "recipes": "list the recipes: what, command, cost, measured result",
    "train": "train Stage1 or Stage2, or go on with a run (--resume)",
    "prior": "fit a prior to a trained run, or another one in its place",
    "sample": "draw images from the prior",
    "reconstruct": "originals beside their reconstructions",
    "complete": "fill the hidden part of images",
    "traverse": "walk through the time steps, or measure what each of them carries",
    "upscale": "small images to large ones, by a Stage2 run",
    "encode": "images to latents, as a file",
    "decode": "a file of latents to images",
    "classifier": "fine-tune the classifier for the inception score",
    "evaluate": "score a run or a folder of images: KID, FID, reconstruction, likelihood",
    "compare": "the paper's Table 1 for several runs, side by side, as one page",
    "cost": "parameters, FLOPs, memory and latency of recipes",
    "export": "a folder or a hub model that others can open: weights, ONNX graphs, model card",
    "import-torch7": "the authors' released checkpoints into this format",
    "demo": "web page: sample, walk the time steps, complete by painting, reconstruct",
    "study": "blinded human preference study: create, serve, report",
}
"""Subcommand -> what it does. Each lives in the module of its name in this package and has `run(args)`."""

USAGE = "usage: crvae COMMAND [options]      (crvae COMMAND --help documents every option)"


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    rows = "\n".join(f"  {name:<{width}}{what}" for name, what in COMMANDS.items())
    return f"{USAGE}\n\nChannel-recurrent autoencoding of images.\n\ncommands:\n{rows}\n"


def main(args: list[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0, or 2 with one sentence on standard error where the user can mend it."""
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(_help())
        return 0 if args else 2
    if args[0] == "--version":
        from crvae import __version__

        print(f"crvae {__version__}")
        return 0
    name = args[0]
    if name not in COMMANDS:
        print(f"crvae: there is no command {name!r}; `crvae --help` lists them", file=sys.stderr)
        return 2
    try:
        return importlib.import_module(f"crvae.cli.{name.replace('-', '_')}").run(args[1:]) or 0
    except UserError as error:
        print(f"crvae: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1
