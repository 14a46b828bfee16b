"""An LSTM over the time-step blocks with an exact density: p(z) is the product of p(z_t | z_1 .. z_t-1), each a mixture."""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crvae.config.prior import AutoregressivePriorConfig
from crvae.models.gaussian import LOG_2_PI, DiagonalGaussian, blocks
from crvae.models.prior import LearnedPrior

LEAST_LOG_DEVIATION = -5.0
"""Of a Gaussian of a mixture, in standardised values: no density grows without bound over a few latents."""

State = tuple[Tensor, Tensor]


class Mixture(NamedTuple):
    """m diagonal Gaussians over a standardised block: log-weights, means and log-deviations."""

    log_weights: Float[Tensor, "b m"]
    means: Float[Tensor, "b m k"]
    log_deviations: Float[Tensor, "b m k"]

    def log_prob(self, x: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
        """Log-density in nats."""
        squared = ((x[:, None] - self.means) * torch.exp(-self.log_deviations)).square()
        each = -0.5 * (squared + LOG_2_PI).sum(-1) - self.log_deviations.sum(-1)
        return torch.logsumexp(self.log_weights + each, 1)

    def draw(self, noise: Float[Tensor, "b k1"]) -> Float[Tensor, "b k"]:
        """A draw from standard normal noise: its first value chooses the Gaussian, the others are scaled by it."""
        chosen = (
            (uniform(noise[:, :1]) > self.log_weights.exp().cumsum(1)).sum(1).clamp_max(self.log_weights.shape[1] - 1)
        )
        index = chosen[:, None, None].expand(-1, 1, self.means.shape[2])
        mean, log_deviation = (values.gather(1, index)[:, 0] for values in (self.means, self.log_deviations))
        return mean + log_deviation.exp() * noise[:, 1:]


class AutoregressivePrior(LearnedPrior):
    """The learned prior with a density: bounds on the likelihood and completion can be computed with it."""

    configuration = AutoregressivePriorConfig
    title = "autoregressive over the time steps"
    config: AutoregressivePriorConfig

    def __init__(self, config: AutoregressivePriorConfig, shape: tuple[int, ...], steps: int):
        super().__init__(config, shape, steps)
        self.cell = nn.LSTMCell(self.size, config.width)
        self.position = nn.Parameter(torch.zeros(steps, self.size))
        self.head = nn.Linear(config.width, config.mixture * (1 + 2 * self.size))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():  # the Gaussians of a mixture must differ, or they learn alike
            self.head.bias[config.mixture : config.mixture * (1 + self.size)].normal_(0, 0.3)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """A value more for every block: it chooses the Gaussian."""
        return (self.steps, self.size + 1)

    def loss(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, ""]:
        """-log p(z), the mean over images, in nats a value."""
        return -self.log_probs(z).sum(1).mean() / (self.steps * self.size)

    def log_prob(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, " b"]:
        self.check(z, exact=True)
        return self.log_probs(z).sum(1)

    def log_probs(self, z: Float[Tensor, " b *d"]) -> Float[Tensor, "b t"]:
        """log p(z_t | z_1 .. z_t-1) of every block, in nats."""
        x = self.standardised(z.float())
        state, terms = None, []
        for t in range(self.steps):
            state = self._step(x, t, state)
            terms.append(self._mixture(state).log_prob(x[:, t]) - self.scale[t].log().sum())
        return torch.stack(terms, 1)

    def generate(self, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        return self.restored(self._continued([], noise))

    def extend(self, z: Float[Tensor, " b *d"], t: int, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        x = self._continued(list(self.standardised(z).unbind(1)[:t]), noise)
        return self.joined(z, self.restored(x), t)

    def replace(self, z: Float[Tensor, " b *d"], t: int, noise: Float[Tensor, " b *n"]) -> Float[Tensor, " b *d"]:
        """Importance resampling: one of `candidates` draws of block t given those before it, chosen by how likely they make
        the blocks behind it. The last block's is exact; the others' come nearer with more candidates, worse in large blocks.
        """
        x, state = self.standardised(z), None
        for s in range(t):
            state = self._step(x, s, state)
        assert state is not None
        last = t == self.steps  # nothing behind it: the conditional is exact
        own = blocks(noise, self.steps)[:, -1]
        swapped = x.clone()
        swapped[:, t - 1] = self._mixture(state).draw(own) if last else self._resampled(x, t, state, noise)
        return self.swapped(z, self.restored(swapped), t)

    def kl(
        self, posterior: DiagonalGaussian, per_image: bool = False, generator: torch.Generator | None = None
    ) -> Float[Tensor, ...]:
        """From one draw of each posterior, from `generator` or torch's global one; the gradient reaches both sides."""
        z = posterior.sample(generator)
        exact = (z - posterior.mean).square() * torch.exp(-posterior.log_variance) + posterior.log_variance + LOG_2_PI
        terms = -0.5 * blocks(exact, self.steps).sum(2) - self.log_probs(z)
        return terms if per_image else terms.mean(0)

    def _resampled(
        self, x: Float[Tensor, "b t k"], t: int, state: State, noise: Float[Tensor, " b *n"]
    ) -> Float[Tensor, "b k"]:
        """Block t of each image as `replace` says, from `state`, which knows the blocks before it."""
        count = self.config.candidates
        more = torch.stack([self._more(row, count) for row in noise]).to(x)  # b (count + 1) k1
        wide = (state[0].repeat_interleave(count, 0), state[1].repeat_interleave(count, 0))
        candidates = self._mixture(wide).draw(more[:, 1:].flatten(0, 1))
        before, later, weight = candidates, wide, torch.zeros(len(candidates), device=x.device)
        for s in range(t, self.steps):
            later = self._moved(before, s, later)
            before = x[:, s].repeat_interleave(count, 0)
            weight = weight + self._mixture(later).log_prob(before)
        share = uniform(more[:, 0, :1])
        chosen = (share > weight.unflatten(0, (-1, count)).softmax(1).cumsum(1)).sum(1).clamp_max(count - 1)
        return candidates.unflatten(0, (-1, count))[torch.arange(len(x), device=x.device), chosen]

    def _more(self, row: Float[Tensor, " *n"], count: int) -> Float[Tensor, "c k1"]:
        """More noise than a draw has, `count + 1` rows, from a generator that the draw's own noise seeds."""
        digest = hashlib.blake2b(row.detach().float().cpu().numpy().tobytes(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        return torch.randn(count + 1, self.size + 1, generator=generator)

    def _continued(self, x: list[Tensor], noise: Float[Tensor, " b *n"]) -> Float[Tensor, "b t k"]:
        """Standardised blocks: those in `x`, then draws, each given those before it."""
        rows = blocks(noise, self.steps)
        state: State | None = None
        known = len(x)
        for t in range(self.steps):
            before = x[t - 1] if t else torch.zeros_like(rows[:, 0, 1:])
            state = self._moved(before, t, state)
            if t >= known:
                x = [*x, self._mixture(state).draw(rows[:, t])]
        return torch.stack(x, 1)

    def _step(self, x: Float[Tensor, "b t k"], t: int, state: State | None) -> State:
        """The state that knows blocks 1 to t of x (t counts from 0: before the first block it knows nothing)."""
        return self._moved(x[:, t - 1] if t else torch.zeros_like(x[:, 0]), t, state)

    def _moved(self, before: Float[Tensor, "b k"], t: int, state: State | None) -> State:
        with torch.autocast(before.device.type, enabled=False):  # the cell is slow in bf16 on a processor
            return self.cell(before.float() + self.position[t], state)

    def _mixture(self, state: State) -> Mixture:
        m = self.config.mixture
        weights, means, deviations = self.head(state[0]).float().split([m, m * self.size, m * self.size], 1)
        floor = LEAST_LOG_DEVIATION
        log_deviations = floor + F.softplus(deviations.unflatten(1, (m, -1)) - floor)
        return Mixture(weights.log_softmax(1), means.unflatten(1, (m, -1)), log_deviations)


def uniform(noise: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Standard normal noise -> the same uniform on [0, 1]."""
    return 0.5 * torch.erfc(-noise / math.sqrt(2))
