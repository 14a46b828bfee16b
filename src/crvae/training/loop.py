"""The training loop. It knows batches, steps and checkpoints, and nothing of what it trains.

Progress is counted in images seen. Every random draw follows from the seed and that count, so nothing but the count, the
weights, their averages and the optimisers need be restored for a run to continue exactly where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import signal
import time
from pathlib import Path
from shlex import quote

import torch
from torch import Tensor

from crvae.data import PreparedData
from crvae.errors import UserError
from crvae.files import replaced
from crvae.pictures import save_grid
from crvae.training import checkpoint
from crvae.training.fabric import Fabric
from crvae.training.reporting import Meter, Reporter
from crvae.training.run import Run
from crvae.training.stage import Stage, seeded
from crvae.training.step import TrainingStep

PUBLISHING = 99
"""Key of the random draws of publishing, in the place of a side's number."""

IMPATIENCE = 3.0
"""Seconds after a signal until another one interrupts at once: launchers pass on what the terminal sends to all."""


class Interrupted(Exception):
    """SIGTERM or Ctrl-C; the state is saved. `code` is the exit code, 143 or 130."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Impatient(KeyboardInterrupt):
    """A second signal: training ends at once, and what was not saved is lost. `code` is the exit code, 143 or 130."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Training:
    """One run on its way from `images` seen to `config.train.images`."""

    def __init__(self, stage: Stage, run: Run | None, data: PreparedData, fabric: Fabric):
        """`run` is None on every rank but the first: only rank 0 writes."""
        self.stage, self.run, self.data, self.fabric = stage, run, data, fabric
        self.config = stage.schedule
        self.images = 0
        self.step = TrainingStep(stage, fabric)

    # ---- the loop -------------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Trains until `config.train.images`. Raises Interrupted after a signal, UserError if a loss is not finite."""
        config, fabric = self.config, self.fabric
        stream = self.stage.batches(self.data, self.images, fabric.global_rank, fabric.world_size)
        meter = Meter()
        with Reporter(self.run, self.stage, self.images) as reporter, _Signals() as signals:
            pending: Tensor | None = None
            while self.images < config.images:
                terms, finite = self.step(next(stream), self.images)
                meter.add(terms)
                before, self.images = self.images, self.images + config.batch
                reporter.advance(self.images)

                # read one step late, so that the device never waits: was the last step finite, does any rank want to stop?
                flags = self._flags(finite, signals.number)
                stop = self._heed(pending, meter, before)
                pending = flags

                done = self.images >= config.images
                report = done or self._passed(before, config.report_images)
                keep = done or self._passed(before, config.checkpoint_images)
                if report or keep or stop:  # what is written is of the newest step
                    stop = self._heed(flags, meter, self.images) or stop
                if report:
                    reporter.report(self.images, meter.take(), self.step.rates(self.images))
                if keep or stop:
                    self.save()
                if keep and not (done or stop):
                    self.publish(snapshot=False)
                if config.snapshot_images and self._passed(before, config.snapshot_images) and not done:
                    reporter.picture(self.publish(snapshot=True))
                if stop:  # after what belongs to this step: a run that is resumed here does not come by again
                    raise Interrupted(stop)
            # also where a run was killed between its last checkpoint and this
            reporter.picture(self.publish(snapshot=True))
            if self.stage.part.later:  # else the run is whole, and a signal comes too late
                self._stopped_before_the_next_stage(signals.number)

    def _passed(self, before: int, every: int) -> bool:
        return before // every != self.images // every

    # ---- stopping -------------------------------------------------------------------------------------------------

    def _flags(self, finite: Tensor, number: int) -> Tensor:
        """(a step was not finite, signal number), the largest over all ranks."""
        flags = torch.stack([(~finite).float(), torch.tensor(float(number), device=finite.device)])
        return flags if self.fabric.world_size == 1 else self.fabric.all_reduce(flags, reduce_op="max")  # type: ignore[return-value]

    def _heed(self, flags: Tensor | None, meter: Meter, images: int) -> int:
        """The number of a signal that a rank has got by the step up to `images`, or 0. Raises UserError if the step was not finite."""
        if flags is None:
            return 0
        broken, number = flags.tolist()
        if broken:
            folder = self.run.folder if self.run else "the run"
            typed = quote(str(self.run.folder)) if self.run else "RUN"
            part = self.stage.part
            raise UserError(
                f"{meter.culprit()} is not finite at {images} {part.counted}. The weights were not updated with it, and the last good"
                f" checkpoint is in {folder}/{part.checkpoints}. Lower {part.rate} in {folder}/config.yaml, then run:"
                f" crvae train --resume {typed}"
            )
        return int(number)

    def _stopped_before_the_next_stage(self, number: int) -> None:
        """Raises Interrupted if a rank got a signal since the last step: all of this stage is saved."""
        fine = torch.ones((), dtype=torch.bool, device=self.fabric.device)
        if stop := int(self._flags(fine, number)[1]):
            raise Interrupted(stop)

    # ---- state ----------------------------------------------------------------------------------------------------

    def state(self) -> checkpoint.State:
        return checkpoint.capture(self.images, self.stage, self.step.sides)

    def restore(self, saved: checkpoint.State) -> None:
        """Takes over a saved state. Raises UserError if it is not this configuration's, or not finite."""
        self.images = checkpoint.restore(saved, self.stage, self.step.sides)

    def save(self) -> None:
        """Writes a checkpoint, after making sure that all ranks hold the same weights."""
        for network in self.stage.networks.values():
            for buffer in network.buffers():
                if self.fabric.world_size > 1:
                    buffer.copy_(self.fabric.broadcast(buffer))
        self._compare_ranks()
        if self.run is not None:
            checkpoint.save(
                self.run.folder / self.stage.part.checkpoints, self.images, self.state(), self.config.keep_checkpoints
            )
        self.fabric.barrier()

    def publish(self, *, snapshot: bool) -> Path | None:
        """Writes the averaged model to `model/`, and with `snapshot` a grid of its samples to `samples/`; returns that file."""
        grid = None
        if self.run is not None:
            seeded(self.config.seed, PUBLISHING)
            with replaced(self.run.model) as folder:
                self.stage.publish(folder, self.images, self.data)
            if snapshot:
                grid = self.run.samples / f"{self.stage.part.before + self.images:012d}.png"
                save_grid(self.stage.snapshot(), grid)
        self.fabric.barrier()
        return grid

    def _compare_ranks(self) -> None:
        if self.fabric.world_size == 1:
            return
        digest = hashlib.sha256()
        for network in self.stage.networks.values():
            for parameter in network.parameters():
                digest.update(parameter.detach().float().cpu().numpy().tobytes())
        own = torch.tensor(list(digest.digest()), dtype=torch.int64, device=self.fabric.device)
        differs = torch.tensor(float(not torch.equal(own, self.fabric.broadcast(own))), device=self.fabric.device)
        if self.fabric.all_reduce(differs, reduce_op="max"):  # all ranks stop, before anything is written
            raise UserError(
                f"the ranks' weights differ at {self.images} images. Training stops; resume from the last checkpoint"
            )


class _Signals:
    """Remembers SIGTERM and SIGINT for a step boundary; another one, after a while, interrupts at once."""

    def __init__(self) -> None:
        self.number = 0
        self._since = 0.0

    def __enter__(self) -> _Signals:
        self._old = {}
        with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us handles signals
            self._old = {number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: object) -> None:
        if not self.number:
            self.number, self._since = number, time.monotonic()
        elif time.monotonic() - self._since > IMPATIENCE:
            raise Impatient(number)
