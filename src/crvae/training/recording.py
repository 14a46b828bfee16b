"""A step's work as a CUDA graph: recorded once, then launched as one, for small networks whose launches cost more than they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from crvae.errors import UserError, brief
from crvae.models.projected import Projection
from crvae.training.stage import Carry, Stored

WARM_UP = Projection.BATCHES + 36
"""Calls before the recording: cuDNN chooses its algorithms in them, and a projected discriminator settles."""


class Recording:
    """`work(stored, carry)` on a CUDA device, the same at every call but for the values of `stored` and of what it reads.

    The first WARM_UP calls are made as they are, the next one is recorded, and from then on the recording is launched. `carry`
    must then be the same tensors at every call, as another recording returns them; so does this one. Random draws follow
    torch's global seed as they would without, and numbers that change from step to step must lie on the device.
    """

    def __init__(self, work: Callable[[Stored, Carry], Any]):
        self._work, self._calls = work, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stored: Stored = ()
        self._given: Any = None

    def __call__(self, stored: Stored, carry: Carry) -> Any:
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._work(stored, carry)
        if self._graph is None:
            self._stored = tuple(part.clone() for part in stored)
            self._graph = torch.cuda.CUDAGraph()
            mode = "thread_local"  # another thread may pin the next batch meanwhile
            try:
                with torch.cuda.graph(self._graph, capture_error_mode=mode):
                    self._given = self._work(self._stored, carry)
            except RuntimeError as error:
                raise UserError(
                    f"a training step cannot be recorded on this GPU ({brief(error)}). Train it as it is: pass --train.deterministic"
                ) from error
        for own, part in zip(self._stored, stored, strict=True):
            own.copy_(part)
        self._graph.replay()
        return self._given
