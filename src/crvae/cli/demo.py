"""`crvae demo RUN [RUN2]`: a web page to sample, walk the time steps, complete by painting, reconstruct and upscale."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from crvae.cli.parsing import parse
from crvae.errors import UserError
from crvae.progress import waiting
from crvae.storage.folders import WhichPrior, check_run


@dataclass
class Demo:
    """Serve a page to this machine that shows what a model does, or two models side by side."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """A run, an exported folder, a built-in model or hub:OWNER/NAME."""
    run2: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[RUN2]")] = ""
    """A second one, shown beside it on the same seeds."""
    images: str | None = None
    """Prepared data (their validation images), a folder of images, or one image, to pick from; without it samples."""
    pixel_limit: float = 200.0
    """Images and uploads above this many megapixels are skipped or refused undecoded."""
    prior: WhichPrior = "own"
    """own: the prior that each model was trained with; normal: N(0, I) in the place of a learned one."""
    classifier: str | None = None
    """A classifier (`crvae classifier`), to say which attributes each block gets right."""
    port: Annotated[int, tyro.conf.arg(metavar="1-65535")] = 7860
    """Port to listen on."""


def run(args: list[str]) -> int:
    """Serves until interrupted."""
    command = parse(Demo, args, name="demo")
    if not 1 <= command.port <= 65535:
        raise UserError(f"--port must be from 1 to 65535, got {command.port}")

    where = f"http://127.0.0.1:{command.port}/"
    runs = [command.run, *filter(None, [command.run2])]
    for run in runs:
        check_run(run)
    loaded = " and ".join(runs)
    print(f"loading {loaded}; the page will be at {where}", file=sys.stderr, flush=True)
    from crvae.data.images import pixels

    with waiting("loading"):
        from crvae.web.demo.serving import serve

    serve(runs, command.images, command.port, pixels(command.pixel_limit), command.classifier, command.prior)
    return 0
