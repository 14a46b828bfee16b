"""The `crvae` command: names its subcommands without importing them, so that `crvae --help` answers at once."""

from __future__ import annotations

import errno
import importlib
import signal
import sys
from io import TextIOWrapper

from crvae.cli.stopping import farewell, stoppable
from crvae.errors import UserError, near, reason
from crvae.extras import missing
from crvae.progress import waiting

COMMANDS = {
    "prepare": "turn an image folder, a hub dataset or a named set into the prepared format",
    "recipes": "list the recipes: what, command, cost, measured result",
    "train": "train Stage1 or Stage2, or resume a run (--resume)",
    "prior": "fit a prior to a trained run, or another one in its place",
    "sample": "draw images from the prior",
    "reconstruct": "originals beside their reconstructions",
    "complete": "fill the hidden part of images",
    "traverse": "walk through the time steps, or measure what each of them carries",
    "upscale": "small images to large ones, by a Stage2 run",
    "encode": "images to latents: one file, or a small .crz file for each image",
    "decode": "what encode wrote back to images",
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

REFUSALS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG, errno.EIO,
    errno.EMFILE, errno.ENFILE, errno.ELOOP, errno.ENOMEM,
}  # fmt: skip
"""What the system refuses for reasons outside of this program: one sentence says which file, and why."""

USAGE = "usage: crvae COMMAND [options]      (crvae COMMAND --help documents every option)"


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    rows = "\n".join(f"  {name:<{width}}{what}" for name, what in COMMANDS.items())
    return f"{USAGE}\n\nChannel-recurrent autoencoding of images.\n\ncommands:\n{rows}\n"


def main(args: list[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0, 2 with one sentence if the user can fix it, 130 or 143 when stopped."""
    for stream in (sys.stdout, sys.stderr):  # names of files may hold anything, and a terminal may be of any alphabet
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args, last = (sys.argv[1:], True) if args is None else (args, False)
    if not args or args[0] in ("-h", "--help"):
        print(_help())
        return 0 if args else 2
    if args[0] == "--version":
        from crvae import __version__

        print(f"crvae {__version__}")
        return 0
    name = args[0]
    try:
        with stoppable(name, last=last):
            return _run(name, args[1:])
    except KeyboardInterrupt as stop:
        said, code = farewell(name, getattr(stop, "code", 128 + signal.SIGINT))
        print(said, file=sys.stderr)
        return code
    except UserError as error:
        _say(str(error))
        return 2
    except ModuleNotFoundError as error:
        if not (advice := missing(error.name or "", f"crvae {name}")):
            raise
        _say(advice)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        _say(f"{error.filename or 'standard output'}: {reason(error)}")
        return 2


def _say(sentence: str) -> None:
    """Prints what was wrong, without anything that a terminal would obey: the names of files may hold it."""
    from crvae.data.accounts import printable

    print("\n".join(map(printable, f"crvae: {sentence}".split("\n"))), file=sys.stderr)


def _run(name: str, args: list[str]) -> int:
    if name not in COMMANDS:
        raise UserError(f"there is no command {name!r}{near(name, COMMANDS)}; `crvae --help` lists them")
    with waiting("loading"):
        module = importlib.import_module(f"crvae.cli.{name.replace('-', '_')}")
    code = module.run(args) or 0
    sys.stdout.flush()  # a full disk shows here
    return code
