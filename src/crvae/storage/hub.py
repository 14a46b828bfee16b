"""Models on the Hugging Face hub: `hub:owner/name`, fetched into the library's own cache.

Only files that `crvae.load` checks are ever fetched: no code, no pickle. That is why this is not PyTorchModelHubMixin,
whose loading falls back to pickles and accepts missing or surplus weights.
"""

from __future__ import annotations

import re
from pathlib import Path

from crvae.errors import UserError, brief
from crvae.storage.folders import PREFIX
from crvae.storage.weights import read_config

FILES = ["config.json", "model.safetensors", "prior.safetensors", "discriminator.safetensors"]
"""The files of a model; the last two are not in every one: N(0, I) has no weights."""

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def check_repository(name: str, option: str) -> None:
    """Raises UserError if `name` is not of the form owner/name."""
    if not REPOSITORY.fullmatch(name):
        raise UserError(f"{option} must be OWNER/NAME, got {name!r}")


def fetched(name: str) -> Path:
    """The folder in the cache that holds the model `hub:owner/name`, downloaded where it is not there or out of date.

    The configuration comes first: a model that is not crvae's, or of a newer format, is refused before its weights are
    fetched. Raises UserError if it cannot be downloaded; with HF_HUB_OFFLINE=1 only the cache is asked.
    """
    repository = name.removeprefix(PREFIX)
    check_repository(repository, f"the name of a hub model, {PREFIX}OWNER/NAME,")
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, allow_patterns=FILES[:1]))
    except Exception as error:  # the library's, the network's and the disk's, of many classes
        raise _not_fetched(name, error) from None
    read_config(folder)
    try:
        return Path(snapshot_download(repository, revision=folder.name, allow_patterns=FILES))
    except Exception as error:
        raise _not_fetched(name, error) from None


def _not_fetched(name: str, error: Exception) -> UserError:
    return UserError(
        f"{name} cannot be fetched ({brief(error)}): check the name, the network, and that you may read it"
    )
