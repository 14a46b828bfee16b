"""Models by the hash of what decoding depends on, so that what one has encoded is not decoded by another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor

from crvae.models.model import Model
from crvae.models.prior import LearnedPrior
from crvae.tasks.crz_file import NAME


def model_name(model: Model) -> bytes:
    """A hash of all that decoding depends on: the weights, and the learned prior's centre and deviation, not its network."""
    prior, parts = model.prior, _weights(model)
    if isinstance(prior, LearnedPrior):
        parts |= {"prior.shift": prior.shift, "prior.scale": prior.scale}
    return _hash(parts)


def weights_name(model: Model) -> str:
    """A hash of the weights, in hexadecimal digits. The prior is left out: another prior neither makes nor decodes other latents."""
    return _hash(_weights(model)).hex()


def _weights(model: Model) -> dict[str, Tensor]:
    return {key: value for key, value in model.state_dict().items() if ".prior." not in f".{key}"}


def _hash(parts: Mapping[str, Tensor]) -> bytes:
    digest = hashlib.blake2b(digest_size=NAME)
    for key in sorted(parts):
        value = parts[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.digest()
