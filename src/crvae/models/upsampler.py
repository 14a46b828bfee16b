"""Stage2 (section 4.3): a network that enlarges Stage1's outputs, the two together, and the discriminator of large images.

The paper gives no layers and follows StackGAN's Stage-II; so do these, without its text (specification, section 10).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crvae.config.stage2 import Stage2DiscriminatorConfig, UpsamplerConfig
from crvae.models.autoencoder import SAMPLE_BATCH, Autoencoder
from crvae.models.discriminator import Discriminator
from crvae.models.gaussian import DiagonalGaussian
from crvae.models.given import check_images
from crvae.models.origin import Origin, as_html
from crvae.models.prior import Prior


class Enlarge(nn.Module):
    """Maps of any size -> `size` by `size`: doubled by repetition, else interpolated linearly; the corners stay in place.

    A convolution behind it sees every output pixel alike, so there is no checkerboard as transposed convolutions make
    it; a factor that is not an integer would repeat some pixels and not others, so there it is linear.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        if self.size == 2 * x.shape[-1]:
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)

    def extra_repr(self) -> str:
        return f"size={self.size}"


class Residual(nn.Module):
    """relu(x + convolution, norm, relu, convolution, norm)."""

    def __init__(self, config: UpsamplerConfig, width: int):
        super().__init__()
        self.layers = nn.Sequential(*_block(config, width, width), *_block(config, width, width)[:2])

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return F.relu(x + self.layers(x))


class UpsamplingNetwork(nn.Module):
    """Small images `b c h w` in [-1, 1] -> large images `b c h2 w2`.

    Down to a quarter of the input's size, residual blocks, and up again. The last enlargements double; the first one makes
    up what is left, so that 64 -> 224 goes 16 -> 28 -> 56 -> 112 -> 224: the factor 1.75 falls where maps are smallest.
    With `residual` the output may leave [-1, 1] by a little; `Upsampler` clips it.
    """

    def __init__(self, config: UpsamplerConfig):
        super().__init__()
        self.config = config
        w = config.width
        self.down = nn.Sequential(
            nn.Conv2d(config.channels, w, 3, 1, 1, bias=False),
            nn.ReLU(),
            *_block(config, w, 2 * w, 4, 2),
            *_block(config, 2 * w, 4 * w, 4, 2),
            *_block(config, 4 * w, 4 * w),
        )
        self.blocks = nn.Sequential(*(Residual(config, 4 * w) for _ in range(config.blocks)))
        up: list[nn.Module] = []
        inputs = 4 * w
        for level, size in enumerate(enlargements(config.size // 4, config.output_size)):
            outputs = max(1, (2 * w) >> level)
            up += [Enlarge(size), *_block(config, inputs, outputs)]
            inputs = outputs
        self.up = nn.Sequential(*up)
        self.image = nn.Conv2d(inputs, config.channels, 3, 1, 1, bias=False)
        _initialise(self)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        raw = self.image(self.up(self.blocks(self.down(x))))
        if not self.config.residual:
            return torch.tanh(raw)
        return F.interpolate(x, size=raw.shape[-2:], mode="bilinear", align_corners=False) + raw


def enlargements(start: int, end: int) -> list[int]:
    """The sizes from `start` (not among them) to `end`: doublings, counted from the end; the first factor is what is left."""
    count = math.ceil(math.log2(end / start))
    return [math.ceil(end / 2 ** (count - 1 - level)) for level in range(count)]


class Upsampler(nn.Module):
    """Stage1 and the network on top of it: what a Stage2 run gives. Samples, decodes and reconstructs large images.

    Stage1 is frozen and always in evaluation mode. The latents are Stage1's.
    """

    def __init__(self, config: UpsamplerConfig, stage1: Autoencoder):
        """Raises ValueError if Stage1's images are not of the network's input size and colour."""
        super().__init__()
        if stage1.image_shape != (config.channels, config.size, config.size):
            raise ValueError(
                f"Stage1's images are {stage1.image_shape}, not {(config.channels, config.size, config.size)}"
            )
        self.config = config
        self.stage1 = stage1.eval().requires_grad_(False)
        self.network = UpsamplingNetwork(config)
        self.origin: Origin | None = None
        """What it was loaded from."""

    def train(self, mode: bool = True) -> Upsampler:
        super().train(mode)
        self.stage1.eval()
        return self

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one image's z: (z, 4, 4), dense: (n,)."""
        return self.stage1.latent_shape

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one large image: (c, h, w)."""
        return (self.config.channels, self.config.output_size, self.config.output_size)

    @property
    def prior(self) -> Prior:
        """Stage1's."""
        return self.stage1.prior

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one small image: (c, h, w)."""
        return self.stage1.image_shape

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Small images -> large ones, in [-1, 1]. Raises UserError if their shape, type or device is not the model's."""
        self._check(x, self.input_shape)
        return self.network(x).float().clamp(-1, 1)

    @torch.no_grad()
    def upscale(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Small images of any number, Stage1's outputs or others, -> large ones, without gradients.

        Raises UserError if their shape, type or device is not the model's.
        """
        self._check(x, self.input_shape)
        return torch.cat([self(part) for part in x.split(SAMPLE_BATCH)])

    def encode(self, x: Float[Tensor, "b c h w"]) -> DiagonalGaussian:
        """Small or large images -> Stage1's posterior q(z|x). Large ones are first reduced, with antialiasing.

        Raises UserError if their shape, type or device is not the model's.
        """
        self._check(x, self.input_shape, self.image_shape)
        size = self.config.size
        if x.shape[-1] != size:
            x = F.interpolate(x, size=(size, size), mode="bicubic", antialias=True).clamp(-1, 1)
        return self.stage1.encode(x)

    def decode(self, z: Float[Tensor, " b *d"], steps: int | None = None) -> Float[Tensor, "b c h2 w2"]:
        """z -> large images. With `steps` t, only the first t blocks are used, the rest are at the prior's mean.

        Raises UserError if the shape, type or device of z is not the model's, or t is not from 0 to T.
        """
        return self(self.stage1.decode(z, steps))

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """Small or large images -> large ones decoded from their posterior's mean. Raises UserError as `encode`."""
        return self.decode(self.encode(x).mean)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, truncation: float = 1.0) -> Float[Tensor, "b c h2 w2"]:
        """`count` large images from the prior: Stage1's `sample` of the same arguments, upsampled. Raises UserError as that."""
        return self.upscale(self.stage1.sample(count, seed, truncation))

    def _check(self, x: object, *shapes: tuple[int, ...]) -> None:
        weight = next(self.parameters())
        check_images(x, *shapes, dtype=weight.dtype, device=weight.device)

    def _repr_html_(self) -> str:
        config, stage1 = self.config, self.stage1.config
        latent = f"{stage1.latent}, {' x '.join(map(str, self.latent_shape))}"
        facts = {
            "images": f"{config.output_size} x {config.output_size}, from {config.size} x {config.size}",
            "latent": f"{latent}, {stage1.steps} time steps" if stage1.latent == "recurrent" else latent,
        }
        return as_html(self, "Upsampler", facts)


class Stage2Discriminator(Discriminator):
    """Large images `b c h w` -> logits of being real `b`.

    Halved until below 8 pixels, narrowed to 8 base widths, one residual block, one logit over the whole map. Batch norm
    everywhere but at the ends, always with the batch's own statistics: give it images of one kind at a time.
    """

    together = False

    def __init__(self, config: Stage2DiscriminatorConfig, size: int, channels: int):
        super().__init__()
        self.config = config
        width = config.width
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        side = size // 2
        while side >= 8:
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), _norm(2 * width), nn.LeakyReLU(0.2)]
            width, side = 2 * width, side // 2
        end = 8 * config.width
        while width > 2 * end:
            layers += [nn.Conv2d(width, width // 2, 1, bias=False), _norm(width // 2), nn.LeakyReLU(0.2)]
            width //= 2
        self.features = nn.Sequential(*layers, nn.Conv2d(width, end, 1, bias=False), _norm(end))
        self.residual = nn.Sequential(
            nn.Conv2d(end, end // 4, 1, bias=False), _norm(end // 4), nn.LeakyReLU(0.2),
            nn.Conv2d(end // 4, end // 4, 3, 1, 1, bias=False), _norm(end // 4), nn.LeakyReLU(0.2),
            nn.Conv2d(end // 4, end, 3, 1, 1, bias=False), _norm(end),
        )  # fmt: skip
        self.logit = nn.Sequential(
            nn.Conv2d(end, end, 1, bias=False), _norm(end), nn.LeakyReLU(0.2), nn.Conv2d(end, 1, side, bias=False)
        )
        _initialise(self)

    def forward(self, images: Float[Tensor, "b c h w"], real: int = 0) -> tuple[Float[Tensor, " b"], None]:
        features = self.features(images)
        return self.logit(F.leaky_relu(features + self.residual(features), 0.2)).flatten().float(), None


def _block(config: UpsamplerConfig, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """Convolution, norm, relu; the convolution keeps the size or (4, 2) halves it."""
    norm = nn.BatchNorm2d(outputs, eps=config.batch_norm_eps, momentum=config.batch_norm_momentum)
    return [nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False), norm, nn.ReLU()]


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, track_running_stats=False)


def _initialise(module: nn.Module) -> None:
    """StackGAN's initial weights: convolutions N(0, 0.02), batch norm's scale N(1, 0.02), its shift 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.trunc_normal_(layer.weight, 0, 0.02, -0.04, 0.04)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.02)
            nn.init.zeros_(layer.bias)
