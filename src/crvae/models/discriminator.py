"""The discriminator: shared features, the adversarial head and the latent head (sections 3.3.1 and 3.3.3)."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crvae.config.stage1 import DiscriminatorConfig, ModelConfig
from crvae.models.layers import MinibatchDiscrimination, Offset, UnscaledDropout

WHOLE_BATCH = 64
"""Images of a group where the discriminator was trained on groups as large as its batch."""


class Discriminator(nn.Module):
    """What the adversary, completion and storage know of a discriminator.

    `forward(images, real=0)`: images `b c h w` in [-1, 1] -> logits of being real, `b` or of its places `b *map`, and the estimated
    latent `b *e`, None without a latent head. The first `real` images are real ones, whose latent nobody knows: none is estimated.
    A frozen network that a kind looks through is outside its modules (in a tuple), so that it is neither trained nor stored;
    it is made under `torch.device("cpu")`, as loading builds all else without memory.
    """

    config: Any
    latent_shape: tuple[int, ...] | None = None
    """Shape of the latent that is estimated; None: no latent head."""
    together: bool = True
    """Whether images of several kinds may share a batch; else (batch norm) each kind passes alone."""
    company: int = 0
    """Images beside which an image is judged, as in training; 0: each alone."""
    seen: int | None = None
    """Images that it was trained on; None where nobody wrote it down."""

    @property
    def untrained(self) -> bool:
        """Whether it is known to know nothing: its run ended before its first step."""
        return self.seen == 0

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters that share a learning rate, by name: `features`, `adversarial_head`, `latent_head`, or all as one."""
        return {"discriminator": list(self.parameters())}

    def estimate(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, " b *e"]:
        """The estimated latent alone."""
        return self(images)[1]

    def remember(self, images: Float[Tensor, "b c h w"]) -> Tensor | None:
        """What `judge_alone` needs of the images beside which others are judged; there are `company` of them."""
        return None

    def judge_alone(self, images: Float[Tensor, "b c h w"], company: Tensor | None = None) -> Float[Tensor, " b"]:
        """Logit of each image alone beside the `company` that `remember` gave; the mean of a map's. In evaluation mode."""
        return self(images)[0].reshape(len(images), -1).mean(1)


class PaperDiscriminator(Discriminator):
    """Images `b c h w` in [-1, 1] -> logits of being real `b`, and (with `latent_shape`) the estimated latent `b *e`.

    No batch norm but in the latent head; widths and kernels as in specification 3.5 (`narrow`: 2.3).
    """

    def __init__(self, config: DiscriminatorConfig, model: ModelConfig, latent_shape: tuple[int, ...] | None = None):
        super().__init__()
        self.config = config
        self.latent_shape = latent_shape
        self.company = (config.group or WHOLE_BATCH) - 1 if config.kernels else 0
        b = model.width
        widths = [b, 2 * b, 4 * b, 8 * b] if config.narrow else [2 * b, 4 * b, 8 * b, 8 * b]
        poolings = round(math.log2(model.size)) - 2  # 28 and 32 pixels: 3, 64: 4, 256: 6
        widths = [widths[0]] * max(0, poolings - 4) + widths[max(0, 4 - poolings) :]
        side = model.size // 2**poolings

        layers: list[nn.Module] = []
        for depth, (inputs, outputs) in enumerate(zip([model.channels, *widths[:-1]], widths, strict=True)):
            kernel = 3 if depth == len(widths) - 1 else 5
            layers.append(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
                    *_halve(config.pooling),
                    UnscaledDropout(config.dropout),
                )
            )
        self.features = nn.Sequential(*layers)
        self.adversarial_head = AdversarialHead(config, widths[-1] * side * side, 16 * 2 * b)
        self.latent_head = None if latent_shape is None else LatentHead(model, widths[-1], side, latent_shape)

    def forward(
        self, images: Float[Tensor, "b c h w"], real: int = 0
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b2 *e"] | None]:
        """Both heads on one pass of the features."""
        features = self.features(images)
        estimate = None
        if self.latent_head is not None and real < len(images):
            estimate = self.latent_head(features[real:])
        return self.adversarial_head(features), estimate

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {name: list(part.parameters()) for name, part in self.named_children()}

    def estimate(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, " b *e"]:
        assert self.latent_head is not None
        return self.latent_head(self.features(images))

    def remember(self, images: Float[Tensor, "b c h w"]) -> Tensor | None:
        head = self.adversarial_head
        return None if head.minibatch is None else head.minibatch.points(head.represent(self.features(images)))

    def judge_alone(self, images: Float[Tensor, "b c h w"], company: Tensor | None = None) -> Float[Tensor, " b"]:
        return self.adversarial_head(self.features(images), company)


def _halve(pooling: str) -> tuple[nn.Module, nn.Module]:
    """Activation and halving. Through a maximum, one pixel of four has a gradient: four stages of it draw a lattice of dots."""
    if pooling == "max":
        return nn.MaxPool2d(2), nn.ReLU()
    return nn.LeakyReLU(0.2), nn.AvgPool2d(2)


class AdversarialHead(nn.Module):
    """Features `b k h w` -> logit of being real `b`."""

    def __init__(self, config: DiscriminatorConfig, inputs: int, hidden: int):
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.dropout = UnscaledDropout(config.dropout)
        self.minibatch = None
        if config.kernels:
            self.minibatch = MinibatchDiscrimination(hidden, config.kernels, config.kernel_size, config.group)
        self.logit = nn.Linear(hidden + config.kernels, 1)
        if self.minibatch is not None:
            nn.init.zeros_(self.minibatch.project.bias)
        if not config.narrow:  # the released baseline leaves these as they are
            nn.init.zeros_(self.hidden.bias)
            nn.init.zeros_(self.logit.bias)

    def represent(self, features: Float[Tensor, "b k h w"]) -> Float[Tensor, "b hidden"]:
        """What minibatch discrimination compares: of unit length, then rectified."""
        hidden = self.hidden(features.flatten(1)).float()
        hidden = F.normalize(hidden, dim=1, eps=1e-5)  # the release: x / sqrt(sum x^2 + 1e-10)
        return F.relu(self.dropout(hidden))

    def forward(self, features: Float[Tensor, "b k h w"], company: Tensor | None = None) -> Float[Tensor, " b"]:
        """Each group's images beside each other, or with `company` each image beside those alone."""
        hidden = self.represent(features)
        if self.minibatch is not None:
            hidden = self.minibatch(hidden) if company is None else self.minibatch.beside(hidden, company)
        return self.logit(hidden)[:, 0].float()


class LatentHead(nn.Module):
    """Features `b k h w` -> estimate of the latent behind the image, the mean of q_psi in equation 2: `b *e`."""

    def __init__(self, model: ModelConfig, inputs: int, side: int, latent_shape: tuple[int, ...]):
        super().__init__()
        width, maps = 2 * model.width, model.latent_channels
        eps, momentum = model.batch_norm_eps, model.batch_norm_momentum
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1),
            nn.BatchNorm2d(width, eps=eps, momentum=momentum),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, maps, 1),
            nn.BatchNorm2d(maps, eps=eps, momentum=momentum),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(maps * side * side, math.prod(latent_shape)),
            nn.Unflatten(1, latent_shape),
            Offset(*latent_shape),
        )
        if model.release:
            for layer in self.layers:
                if isinstance(layer, nn.BatchNorm2d):
                    nn.init.uniform_(layer.weight)

    def forward(self, features: Float[Tensor, "b k h w"]) -> Float[Tensor, " b *e"]:
        return self.layers(features).float()
