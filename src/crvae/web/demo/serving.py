"""The page on the loopback address, until it is interrupted."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from PIL import Image

from crvae.data.images import FORMATS, PIXELS
from crvae.data.prepared import open_data
from crvae.devices import best_device
from crvae.errors import UserError
from crvae.storage.folders import WhichPrior
from crvae.tasks.inputs import Images, read_images
from crvae.tasks.occlusion import Rectangle
from crvae.training.classifier import Classifier, load_classifier
from crvae.training.run import Run
from crvae.web.demo.exhibits import Exhibit, open_exhibits
from crvae.web.demo.guard import LARGEST_UPLOAD, LIMITS, Guard

EXAMPLES = 24
"""Images to pick."""


PAINTING = 16_000_000
"""Pixels of a painting, which the page itself makes; Pillow refuses twice as many before it decodes them."""


def serve(
    runs: list[str],
    images: str | None,
    port: int,
    pixels: int = PIXELS,
    classifier: str | None = None,
    prior: WhichPrior = "own",
) -> None:
    """Serves the page for `runs`, each with its `prior`, on 127.0.0.1; images to pick and uploads have at most `pixels`.

    Raises UserError if it cannot serve them, before anything is served.
    """
    exhibits = open_exhibits(runs, best_device(), prior)
    examples = examples_of(exhibits, runs[0], images, pixels)
    attributes = None if classifier is None else load_classifier(classifier)
    LIMITS.pixels = pixels
    with socket.socket() as listening, tempfile.TemporaryDirectory(prefix="crvae-demo-") as folder:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen()  # whoever comes from now on is answered when the page is built
        except OSError as error:
            raise UserError(f"--port {port} cannot be used: {error.strerror}; choose another") from None
        app = create_app(exhibits, examples, Path(folder), attributes)
        print(f"demo: http://127.0.0.1:{port}/   (Ctrl-C ends it)", file=sys.stderr)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2)
        )
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # comes after the server has ended in order
            print("stopped", file=sys.stderr)


def examples_of(exhibits: list[Exhibit], run: str, images: str | None, pixels: int = PIXELS) -> Images:
    """Images to pick: the first of `images`, as every task reads them, or samples of the first model, which is `run`'s.

    Samples have their parts where the data card of that run's training images says, where the data are still there.
    """
    model = exhibits[0].stage1
    if images is None:
        names = [f"sample {number}" for number in range(1, EXAMPLES + 1)]
        return Images(model.sample(EXAMPLES).cpu(), names, boxes=boxes_of_training_data(run))
    return read_images(images, model, option="--images", limit=EXAMPLES, pixels=pixels)


def boxes_of_training_data(run: str) -> dict[str, Rectangle]:
    """Where eyes, mouth and other parts lie in the images that the run `run` was trained on; empty where nothing says so."""
    try:
        return dict(open_data(Run(Path(run)).environment()["data"]["path"]).card.boxes)
    except UserError:
        return {}


def create_app(
    exhibits: list[Exhibit], examples: Images, folder: Path, classifier: Classifier | None = None
) -> FastAPI:
    """The application. Uploads and shown pictures go to `folder`."""
    # Gradio reads both when it is imported.
    os.environ |= {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
    _decode_nothing_else()
    _write_pictures_aside()
    import gradio as gr

    from crvae.web.demo.address import SCRIPT
    from crvae.web.demo.page import build_page
    from crvae.web.demo.theme import STYLES, theme

    undocumented = {"docs_url": None, "redoc_url": None, "openapi_url": None}
    app = FastAPI(**undocumented)  # pyright: ignore[reportArgumentType]
    gr.mount_gradio_app(
        app,
        build_page(exhibits, examples, classifier),
        path="/",
        server_name="127.0.0.1",
        footer_links=[],
        run_history=False,
        app_kwargs=undocumented,
        show_error=False,
        max_file_size=LARGEST_UPLOAD,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        theme=theme(),
        css_paths=STYLES,
        head=SCRIPT,
    )
    app.add_middleware(Guard)
    return app


def _decode_nothing_else() -> None:
    """Gradio opens what a browser painted with whatever decoder fits its bytes: leave it those that `crvae prepare` has."""
    Image.init()
    Image.ID[:] = [name for name in Image.ID if name in FORMATS]
    Image.MAX_IMAGE_PIXELS = PAINTING


@cache
def _write_pictures_aside() -> None:
    """Gradio names a picture's file by its content, and writes it again in place while another visitor may be sent it: let
    it write elsewhere, and rename what it wrote.
    """
    from gradio import processing_utils

    write = processing_utils.save_pil_to_cache

    def save(image: Image.Image, cache_dir: str, *args: Any, **options: Any) -> str:
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=cache_dir) as aside:
            written = Path(write(image, aside, *args, **options))
            file = Path(cache_dir).resolve() / written.parent.name / written.name
            file.parent.mkdir(exist_ok=True)
            os.replace(written, file)
        return str(file)

    processing_utils.save_pil_to_cache = save
