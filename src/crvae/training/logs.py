"""Where curves and pictures of a run are shown: TensorBoard always, Weights & Biases if `--train.log wandb` asks for it."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from shlex import quote
from typing import Any, Protocol

import numpy as np
from PIL import Image

from crvae.errors import UserError, brief
from crvae.extras import require


class Log(Protocol):
    """What is told of a run that is being trained; `images` is the count of images seen."""

    def scalars(self, values: dict[str, float], images: int) -> None: ...

    def picture(self, path: Path, images: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run's folder."""

    def __init__(self, folder: Path, images: int):
        """`images`: seen so far. What an interrupted process wrote after them is dropped."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder, purge_step=images + 1)

    def scalars(self, values: dict[str, float], images: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, images)

    def picture(self, path: Path, images: int) -> None:
        with Image.open(path) as picture:
            self._writer.add_image("samples", np.asarray(picture.convert("RGB")), images, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of the project crvae at Weights & Biases, or with WANDB_MODE=offline files in `wandb/` for `wandb sync`."""

    def __init__(self, folder: Path, config: dict[str, Any]):
        """A run that is resumed keeps its curves. Raises UserError if the package cannot start."""
        self._wandb: Any = importlib.import_module("wandb")
        before = sorted(path.name for path in folder.glob("wandb/*run-*-*"))
        try:
            self._run = self._wandb.init(
                project="crvae",
                name=folder.resolve().name,
                dir=folder,
                config=config,
                id=before[-1].rsplit("-", 1)[1] if before else None,
                resume="allow",
                settings=self._wandb.Settings(console="off"),
            )
        except self._wandb.Error as error:
            raise UserError(
                f"Weights & Biases cannot start ({brief(error)}). Run `wandb login`, or set WANDB_MODE=offline; then continue:"
                f" crvae train --resume {quote(str(folder))}"
            ) from None
        self._run.define_metric("*", step_metric="images")

    def scalars(self, values: dict[str, float], images: int) -> None:
        self._run.log({**values, "images": images})

    def picture(self, path: Path, images: int) -> None:
        self._run.log({"samples": self._wandb.Image(str(path)), "images": images})

    def close(self) -> None:
        self._run.finish()


def open_logs(name: str, folder: Path, images: int, config: dict[str, Any]) -> list[Log]:
    """The logs of the run in `folder`, `images` seen so far. `name` and `config` are the run's `train.log` and configuration."""
    logs: list[Log] = [TensorBoard(folder, images)]
    return [*logs, WeightsAndBiases(folder, config)] if name == "wandb" else logs


def check_log(name: str) -> None:
    """Raises UserError if the package that `--train.log` needs is not installed."""
    if name == "wandb":
        require("--train.log wandb", "wandb")
