"""Recipes for people's own pictures: ten minutes of two CPU cores, colour images at 64 pixels, any prepared set.

What departs from the paper's recipes was found by a search that was the same for dense, convolutional and recurrent models
(docs/research/fast-recipes.md): the picture is let through the latent by a KL weight a fifteenth of the paper's, the error is
perceptual too, the trunk works on patches, and a prior that is learned after the autoencoder takes N(0, I)'s place. The
discriminator sees reconstructions, since samples no longer come from N(0, I).
"""

from __future__ import annotations

from crvae.config.prior import PriorConfig
from crvae.config.stage1 import DiscriminatorConfig, ModelConfig, ObjectiveConfig, Stage1Config, TrainConfig
from crvae.recipes.recipe import Recipe

IMAGES, ALONE, LATENTS = 60_000, 42_000, 500_000
"""Images that the autoencoder sees, of these before the discriminator; latents that the prior sees."""

# at full length on the demo's faces, two processes on a 2-core Intel Xeon with AVX512-BF16 and AMX, 2,000 held-out avatars
# avatars, at half the length, three seeds (docs/evidence.md: make objectives, make avatars; docs/research/order.md: make nested)
MEASURED = {
    "crvae-gan-mi": "avatars, 10 min 17 s of two cores: PSNR 26.7 dB, KID 0.90; clear, varied faces",
    **dict.fromkeys(
        ("vae-gan", "cvae-gan", "crvae-gan"), "avatars, at half the length: as clear and varied as crvae-gan-mi"
    ),
    "vae": "avatars, at half the length: PSNR 25.0 dB, a little softer than vae-gan",
    "cvae": "avatars, at half the length: PSNR 25.1 dB, a little softer than cvae-gan",
    "crvae": "avatars, at half the length: PSNR 24.9 dB, a little softer than crvae-gan",
    "vae-gan-nested": "avatars, at half the length: PSNR 24.4 dB, 22.6 dB by the first block alone",
    "cvae-gan-nested": "avatars, at half the length: PSNR 24.2 dB, 23.4 dB by the first block alone",
    "crvae-gan-mi-nested": "avatars, at half the length: PSNR 24.1 dB, 23.4 dB by the first block alone",
}

NESTED = 0.5
"""Share of images that the -nested recipes decode from some of their first blocks alone."""


def _fast(name: str, latent: str, beta: float, kappa: float, nested: float = 0.0) -> Stage1Config:
    return Stage1Config(
        recipe=name,
        model=ModelConfig(trunk="patch", width=16, latent=latent, latent_channels=32, residual=True),  # type: ignore[arg-type]
        discriminator=DiscriminatorConfig(kind="projected", network="squeezenet"),
        objective=ObjectiveConfig(
            kl_early=2e-5,
            kl_late=2e-5,
            perceptual=0.3,
            perceptual_network="squeezenet",
            nested=nested,
            adversarial=beta,
            adversarial_loss="hinge",
            adversarial_on="reconstructions",
            adversarial_after_images=ALONE if beta else 0,
            mutual_information=kappa,
            mutual_information_normalise=True,
        ),
        train=TrainConfig(
            images=IMAGES,
            batch=32,
            rate=1.5e-3,
            ramp_images=1_600,
            cool_down=0.4,
            beta2=0.99,
            average_half_life_images=5_000,
            checkpoint_images=10_000,
            snapshot_images=20_000,
        ),
        prior=PriorConfig(kind="flow", images=LATENTS),
    )


def _recipes() -> dict[str, Recipe]:
    rows: dict[str, tuple[str, float, float, str]] = {
        "vae": ("dense", 0.0, 0.0, "VAE"),
        "cvae": ("convolutional", 0.0, 0.0, "cVAE"),
        "crvae": ("recurrent", 0.0, 0.0, "crVAE"),
        "vae-gan": ("dense", 0.02, 0.0, "VAE-GAN"),
        "cvae-gan": ("convolutional", 0.02, 0.0, "cVAE-GAN"),
        "crvae-gan": ("recurrent", 0.02, 0.0, "crVAE-GAN"),
        "crvae-gan-mi": ("recurrent", 0.02, 0.02, "crVAE-GAN with mutual-information regularisation"),
    }
    plain = {
        f"fast-{name}": Recipe(
            f"your own pictures, 64x64: {what} and a learned prior",
            f"{IMAGES // 1000}k images",
            MEASURED[name],
            _fast(f"fast-{name}", latent, beta, kappa),
        )
        for name, (latent, beta, kappa, what) in rows.items()
    }
    nested = {
        f"fast-{name}-nested": Recipe(
            f"your own pictures, 64x64: {what}, any prefix of whose blocks decodes, and a learned prior",
            f"{IMAGES // 1000}k images",
            MEASURED[f"{name}-nested"],
            _fast(f"fast-{name}-nested", latent, beta, kappa, NESTED),
        )
        for name, (latent, beta, kappa, what) in rows.items()
        if name in ("vae-gan", "cvae-gan", "crvae-gan-mi")
    }
    return plain | nested


FAST: dict[str, Recipe] = _recipes()
"""Recipe by name."""
