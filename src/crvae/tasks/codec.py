"""Images as .crz files and back: each block's posterior mean, quantised and coded under the prior, block after block (docs/codec.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from crvae.errors import UserError
from crvae.models.gaussian import DiagonalGaussian, blocks
from crvae.models.prior import LearnedPrior
from crvae.tasks import integer_model
from crvae.tasks.crz_file import HEADER, Crz, Frame, frame_size, pack, unpack
from crvae.tasks.naming import model_name
from crvae.tasks.traversal import Model, stage1_of, steps_of

STEPS = 64
"""Quantisation steps to choose from: step i is 2^((i - UNIT) / 4), from 2^-10 to 2^5.75."""
UNIT = 40
OFFSETS = 4
"""Widths to choose from: the prior's deviation times 2^(-o / 2)."""
FINEST = -4
"""The finest steps, as 2^(FINEST / 4) times the posterior's deviation: finer ones say what the posterior does not know."""

Block = NDArray[np.int64]


@dataclass(frozen=True)
class Quantised:
    """One block as symbols, the tables that code them, the scale byte that says which, and the bits they should take."""

    scale: int
    symbols: Block
    tables: Block
    bits: float


class Codec:
    """Compresses images by one model, whose prior gives every value's centre and deviation."""

    def __init__(self, model: Model):
        self.model = model
        self.steps = steps_of(model)
        prior = model.prior
        size = (self.steps, prior.size)
        learned = isinstance(prior, LearnedPrior)
        self.centre = prior.shift.cpu().numpy().astype(np.float64) if learned else np.zeros(size)
        self.deviation = prior.scale.cpu().numpy().astype(np.float64) if learned else np.ones(size)
        self.name = model_name(model)

    def compress(
        self, posterior: DiagonalGaussian, limit: int | None = None, steps: int | None = None, coarser: int = 0
    ) -> list[bytes]:
        """One file an image, with steps `coarser` than the finest (`steps_for`), or as much coarser as fits in `limit` bytes.

        At most `steps` blocks; those behind the last that says anything are left out. Raises UserError if `limit` does not even hold
        a header.
        """
        if limit is not None and limit < HEADER:
            raise UserError(f"--limit must be {HEADER} or more, the size of a file's header, got {limit}")
        mean, indices = self._blocks(posterior)
        return [self._file(*parts, limit, coarser) for parts in zip(mean[:, :steps], indices[:, :steps], strict=True)]

    def steps_for(self, posterior: DiagonalGaussian, wanted: int) -> int:
        """How much coarser than the finest all steps must be for files of at most `wanted` bytes on average, for these images.

        Raises UserError if `wanted` does not even hold a header.
        """
        if wanted < HEADER:
            raise UserError(f"--bytes must be {HEADER} or more, the size of a file's header, got {wanted}")
        mean, indices = self._blocks(posterior)
        files = list(zip(mean, indices, strict=True))
        total = wanted * len(files)
        return self._least(lambda coarser: sum(size(self._quantised(*parts, coarser)) for parts in files) <= total)

    def latents(self, data: bytes, name: str, steps: int | None = None) -> tuple[Float[Tensor, " b *d"], int]:
        """The blocks in a file, or the first `steps` of them, as z with 0 behind them; and how many there are.

        Raises UserError, naming the file by `name`, if it is not one, is damaged, or of another model.
        """
        file = unpack(data, name, steps)
        if file.model != self.name:
            raise UserError(
                f"{name} was made by model {file.model.hex()}, --run is model {self.name.hex()}: give the run that made it"
            )
        if len(file.frames) > self.steps:
            raise UserError(f"{name} has {len(file.frames)} blocks, the model {self.steps}: encode the image again")
        z = np.zeros((self.steps, self.centre.shape[1]), np.float32)
        for t, frame in enumerate(file.frames):
            step, tables = self._scaling(t, frame.scale)
            try:
                z[t] = self.centre[t] + step * integer_model.decode(frame.payload, tables)
            except UserError:
                raise UserError(f"{name} is damaged in block {t + 1}: encode the image again") from None
        shape = stage1_of(self.model).latent_shape
        return torch.from_numpy(z).view(1, *shape), len(file.frames)

    @torch.no_grad()
    def image(self, data: bytes, name: str, steps: int | None = None, fill: bool = False) -> Float[Tensor, "c h w"]:
        """The image in a file, in [-1, 1], on the processor; decoded alone and by one thread, so that nothing else can change it.

        Missing blocks are at the prior's mean, or with `fill` a draw given those that are there, always the same one.
        """
        z, there = self.latents(data, name, steps)
        z = z.to(self.model.device)
        prior = self.model.prior
        with one_thread():
            z = prior.fill(z, there) if fill else prior.mean_fill(z, there)
            return self.model.decode(z)[0].cpu()

    def _blocks(self, posterior: DiagonalGaussian) -> tuple[Float[np.ndarray, "b t k"], Int64[np.ndarray, "b t"]]:
        """Every block's means, and the index of its finest step."""
        mean, variance = (
            blocks(part, self.steps).double().cpu().numpy() for part in (posterior.mean, posterior.log_variance.exp())
        )
        return mean, np.rint(2 * np.log2(variance.mean(2))).astype(np.int64) + FINEST + UNIT

    def _file(
        self, mean: Float[np.ndarray, "t k"], indices: Int64[np.ndarray, " t"], limit: int | None, coarser: int
    ) -> bytes:
        """With the least coarser steps whose bits should fit; then coarser ones until the bytes do."""
        if limit is not None:
            coarser = max(coarser, self._least(lambda c: size(self._quantised(mean, indices, c)) <= limit))
        while True:
            parts = trimmed(self._quantised(mean, indices, coarser))
            frames = [Frame(part.scale, integer_model.encode(part.symbols, part.tables)) for part in parts]
            file = Crz(self.name, tuple(frames))
            if limit is None or file.sizes()[-1] <= limit:
                return pack(file)
            if coarser == self._coarsest:
                kept = sum(length <= limit for length in file.sizes()) - 1
                return pack(Crz(file.model, file.frames[:kept]))
            coarser += 1

    @property
    def _coarsest(self) -> int:
        return STEPS * self.steps

    def _least(self, fits: Callable[[int], bool]) -> int:
        """The least coarser steps that fit, by bisection; the coarsest where none do."""
        low, high = 0, self._coarsest
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle) else (middle + 1, high)
        return low

    def _quantised(
        self, mean: Float[np.ndarray, "t k"], indices: Int64[np.ndarray, " t"], coarser: int
    ) -> list[Quantised]:
        """Every block with its finest step times 2^(coarser / (4 T)), which a power of 2^(1/4) rounds: the last blocks go first."""
        indices = indices + (coarser + np.arange(len(mean))) // self.steps
        return [self._block(t, mean[t], int(index)) for t, index in enumerate(np.clip(indices, 0, STEPS - 1))]

    def _block(self, t: int, mean: Float[np.ndarray, " k"], index: int) -> Quantised:
        """Block t with step `index`, under the narrowest tables that take the fewest bits."""
        best: Quantised | None = None
        for scale in range(index * OFFSETS, (index + 1) * OFFSETS):
            step, tables = self._scaling(t, scale)
            symbols = np.rint((mean - self.centre[t]) / step).astype(np.int64)
            within = np.clip(symbols, -integer_model.REACHES[tables], integer_model.REACHES[tables])
            bits = float(integer_model.costs()[tables, integer_model.place(within)].sum())
            if best is None or (bits < best.bits and (within == symbols).all()):
                best = Quantised(scale, within, tables, bits)
        assert best is not None
        return best

    def _scaling(self, t: int, scale: int) -> tuple[float, Block]:
        """The quantisation step and the tables of block t's values that a scale byte means: the same on every machine."""
        index, offset = divmod(scale, OFFSETS)
        step = integer_model.root_of_two(index - UNIT)
        tables = integer_model.width_index(self.deviation[t] / step) - 2 * offset
        return step, np.maximum(tables, 0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Several threads add in another order than one, and round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def trimmed(parts: list[Quantised]) -> list[Quantised]:
    """Without the blocks at the end whose values are all at the prior's centre, which is what a missing block means."""
    count = len(parts)
    while count and not parts[count - 1].symbols.any():
        count -= 1
    return parts[:count]


def size(parts: list[Quantised]) -> int:
    """Bytes that a file of these blocks should have."""
    return HEADER + sum(frame_size(int(part.bits / 8 + 0.7)) for part in trimmed(parts))
