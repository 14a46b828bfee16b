"""Images as .crz files and back: each block's posterior mean, quantised and coded under the prior, block after block (docs/codec.md)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from crvae.errors import UserError
from crvae.models.gaussian import DiagonalGaussian, blocks
from crvae.models.model import Model, stage1_of, steps_of
from crvae.models.prior import LearnedPrior
from crvae.tasks import integer_model
from crvae.tasks.crz_file import HEADER, Crz, Frame, frame_size, pack, unpack
from crvae.tasks.naming import model_name
from crvae.tasks.traversal import decode_all

STEPS = 64
"""Quantisation steps to choose from: step i is 2^((i - UNIT) / 4), from 2^-10 to 2^5.75."""
UNIT = 40
STEP = np.array([integer_model.root_of_two(index - UNIT) for index in range(STEPS)])
OFFSETS = 4
"""Widths to choose from: the prior's deviation times 2^(-o / 2)."""
FINEST = -4
"""The finest steps, as 2^(FINEST / 4) times the posterior's deviation: finer ones say what the posterior does not know."""
JUDGED = 64
"""Images whose pictures decide how many blocks `steps_for` gives to all."""

Block = NDArray[np.int64]


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
        self.tables = integer_model.width_index(self.deviation[:, None] / STEP[:, None])
        """Of every block, step and value, `t i k`: the table, before the encoder narrows it."""
        self.name = model_name(model)

    def compress(
        self, posterior: DiagonalGaussian, limit: int | None = None, steps: int | None = None, coarser: int = 0
    ) -> list[bytes]:
        """One file an image, of at most `steps` blocks, with steps `coarser` than the finest (`steps_for`).

        With `limit` no file has more bytes. If one would, of each number of blocks the finest steps that fit are tried, and the number
        is taken whose picture is nearest to that of all means. Blocks at the end that say nothing are left out. Raises UserError if
        `limit` does not even hold a header.
        """
        if limit is not None and limit < HEADER:
            raise UserError(f"--limit must be {HEADER} or more, the size of a file's header, got {limit}")
        mean, indices = self._blocks(posterior)
        indices = indices[:, :steps]
        if limit is None:
            return self._files(mean, indices, coarser)
        return [
            self._nearest(mean[row : row + 1], indices[row : row + 1], coarser, limit)[2][0] for row in range(len(mean))
        ]

    def steps_for(self, posterior: DiagonalGaussian, wanted: int, steps: int | None = None) -> tuple[int, int]:
        """How many blocks, and how much coarser than the finest their steps must be, for files of at most `wanted` bytes on average.

        Of each number of blocks up to `steps` the finest steps are tried with which files of these images are small enough, and the
        number is taken whose pictures are nearest. Raises UserError if `wanted` does not even hold a header.
        """
        if wanted < HEADER:
            raise UserError(f"--bytes must be {HEADER} or more, the size of a file's header, got {wanted}")
        mean, indices = self._blocks(posterior)
        count, coarser, _ = self._nearest(mean, indices[:, :steps], 0, wanted)
        return count, coarser

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
        """Every block's means, and the index of its finest step.

        If a value is beyond the block's tables, the step is the one with the least error: a sharp posterior asks for too fine ones.
        """
        mean, variance = (
            blocks(part, self.steps).cpu().double().numpy() for part in (posterior.mean, posterior.log_variance.exp())
        )
        variance = np.maximum(variance.mean(2), np.finfo(np.float64).tiny)
        indices = np.clip(np.rint(2 * np.log2(variance)).astype(np.int64) + FINEST + UNIT, 0, STEPS - 1)
        reaches = integer_model.REACHES[self.tables[np.arange(self.steps), indices]]
        beyond = np.abs(np.rint((mean - self.centre) / STEP[indices][..., None])) > reaches
        for image, t in np.argwhere(beyond.any(2)).tolist():
            first = indices[image, t]
            values = self.centre[t] + STEP[first:, None] * self._symbols(t, mean[image, t], np.arange(first, STEPS))
            indices[image, t] += np.square(values - mean[image, t]).sum(1).argmin()
        return mean, indices

    def _nearest(
        self, mean: Float[np.ndarray, "b t k"], indices: Int64[np.ndarray, "b s"], coarser: int, wanted: int
    ) -> tuple[int, int, list[bytes]]:
        """Blocks, coarser steps and files of at most `wanted` bytes on average: those of the finest steps if they fit.

        Otherwise of each number of blocks the finest steps that fit, and of these the ones with the nearest pictures.
        """
        room = wanted * len(mean)
        sizes, full = self._sizes(mean, indices)
        if sizes[-1, coarser] <= room + 4 * indices.size:  # the coder may take a few bytes less
            files = self._files(mean, indices, coarser)
            if sum(map(len, files)) <= room:
                return indices.shape[1], coarser, files
        choices = finest(sizes <= room, full, coarser)
        errors = self._errors(mean, indices, choices) if len(choices) > 1 else np.zeros(len(choices))
        while choices:
            best = int(errors.argmin())
            count, coarser = choices.pop(best)
            files = self._files(mean, indices[:, :count], coarser)
            if sum(map(len, files)) <= room:
                return count, coarser, files
            errors = np.delete(errors, best)  # the coder took more than it should: the next coarser steps instead
            coarser += 1
            while -coarser % self.steps >= count:  # would widen a block that is not there
                coarser += 1
            if coarser <= self._coarsest and full[count, coarser]:
                choices.append((count, coarser))
                errors = np.append(errors, self._errors(mean, indices, choices[-1:]))
        return 0, 0, self._files(mean, indices[:, :0], 0)

    def _errors(
        self, mean: Float[np.ndarray, "b t k"], indices: Int64[np.ndarray, "b s"], choices: list[tuple[int, int]]
    ) -> Float[np.ndarray, " n"]:
        """For each number of blocks and coarser steps: the mean squared error from the pictures of all means, by Stage1's decoder."""
        model, errors = stage1_of(self.model), []
        for row in np.unique(np.linspace(0, len(mean) - 1, JUDGED).astype(int)):
            z = np.stack([mean[row], *np.repeat(self.centre[None], len(choices), 0)])
            for shown, (count, coarser) in zip(z[1:], choices, strict=True):
                for t, index in enumerate(self._coarsened(indices[row, :count], coarser)):
                    shown[t] += STEP[index] * self._symbols(t, mean[row, t], np.array([index]))[0]
            latents = torch.from_numpy(z.astype(np.float32)).view(-1, *model.latent_shape)
            pictures = decode_all(model, latents.to(model.device))
            errors.append((pictures[1:] - pictures[0]).square().flatten(1).mean(1).double().numpy())
        return np.mean(errors, 0)

    def _sizes(
        self, mean: Float[np.ndarray, "b t k"], indices: Int64[np.ndarray, "b s"]
    ) -> tuple[Int64[np.ndarray, "s1 c"], Bool[np.ndarray, "s1 c"]]:
        """Bytes that files of the first 0..s blocks should have with steps c coarser, and whether the last block then says anything.

        Both over all images: the sum of the bytes, and whether it does in any of them.
        """
        count = self._coarsest + 1
        sizes, full = np.zeros((indices.shape[1] + 1, count), np.int64), np.zeros((indices.shape[1] + 1, count), bool)
        for image, firsts in zip(mean, indices, strict=True):
            schedule = self._coarsened(firsts, np.arange(count)[:, None])
            whole = size = np.full(count, HEADER)
            sizes[0] += size
            for t, first in enumerate(firsts.tolist()):
                symbols = self._symbols(t, image[t], np.arange(first, STEPS))
                frames = np.array([frame_size(int(bits / 8 + 0.8)) for bits in self._narrowest(t, symbols, first)[1]])
                at = schedule[:, t] - first
                whole, says = whole + frames[at], (symbols != 0).max(1)[at]
                size = np.where(says, whole, size)
                sizes[t + 1] += size
                full[t + 1] |= says
        return sizes, full

    def _files(self, mean: Float[np.ndarray, "b t k"], indices: Int64[np.ndarray, "b s"], coarser: int) -> list[bytes]:
        """Of the first s blocks, without those at the end whose values are all at their centres."""
        files = []
        for image, chosen in zip(mean, self._coarsened(indices, coarser).tolist(), strict=True):
            parts = [self._symbols(t, image[t], np.array([index])) for t, index in enumerate(chosen)]
            while parts and not parts[-1].any():
                parts.pop()
            frames = []
            for t, (index, symbols) in enumerate(zip(chosen, parts, strict=False)):
                scale = OFFSETS * index + int(self._narrowest(t, symbols, index)[0][0])
                frames.append(Frame(scale, integer_model.encode(symbols[0], self._scaling(t, scale)[1])))
            files.append(pack(Crz(self.name, tuple(frames))))
        return files

    @property
    def _coarsest(self) -> int:
        return STEPS * self.steps

    def _coarsened(self, indices: Int64[np.ndarray, "*b s"], coarser: int | Block) -> Int64[np.ndarray, "*c s"]:
        """The finest steps times 2^(coarser / (4 T)), which a power of 2^(1/4) rounds: the last blocks go first."""
        return np.clip(indices + (coarser + np.arange(indices.shape[-1])) // self.steps, 0, STEPS - 1)

    def _symbols(
        self, t: int, mean: Float[np.ndarray, " k"], indices: Int64[np.ndarray, " i"]
    ) -> Int64[np.ndarray, "i k"]:
        """Block t in each of these steps, within the reach of its tables."""
        reach = integer_model.REACHES[self.tables[t, indices]]
        return np.clip(np.rint((mean - self.centre[t]) / STEP[indices, None]), -reach, reach).astype(np.int64)

    def _narrowest(
        self, t: int, symbols: Int64[np.ndarray, "i k"], first: int
    ) -> tuple[Int64[np.ndarray, " i"], Float[np.ndarray, " i"]]:
        """Of steps from `first` on: how often to narrow the tables for the fewest bits, and these bits."""
        narrower = 2 * np.arange(OFFSETS)[:, None, None]
        tables = np.maximum(self.tables[t, first : first + len(symbols)] - narrower, 0)
        bits = integer_model.costs()[tables, integer_model.place(symbols)].sum(2)
        return bits.argmin(0), bits.min(0)

    def _scaling(self, t: int, scale: int) -> tuple[float, Block]:
        """The quantisation step and the tables of block t's values that a scale byte means: the same on every machine."""
        index, offset = divmod(scale, OFFSETS)
        return float(STEP[index]), np.maximum(self.tables[t, index] - 2 * offset, 0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Several threads add in another order than one, and round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def finest(fits: Bool[np.ndarray, "s1 c"], full: Bool[np.ndarray, "s1 c"], coarser: int) -> list[tuple[int, int]]:
    """For each number of blocks the first c from `coarser` on that fits, if the last block says anything then: (number, c)."""
    first = coarser + fits[:, coarser:].argmax(1)
    return [(count, int(c)) for count, c in enumerate(first) if fits[count, c] and full[count, c]]
