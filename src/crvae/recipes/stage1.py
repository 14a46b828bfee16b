"""Named Stage1 configurations.

Recipes that are compared (`birds-*`, `celeba-*`, `lsun-*`, `mnist-*`, `emoji-*`) share everything but the latent construction
and the one thing that their name says.
"""

from __future__ import annotations

from crvae.config.stage1 import (
    DiscriminatorConfig,
    InputConfig,
    ModelConfig,
    ObjectiveConfig,
    Stage1Config,
    TrainConfig,
)
from crvae.recipes.recipe import Recipe

BIRDS, CELEBA, LSUN = 106_474, 162_770, 3_033_042
"""Training images of the paper's sets (specification, section 9; CelebA: the official partition)."""


def _paper(name: str, latent: str, kappa: float, epochs: int, images: int) -> Stage1Config:
    """The paper's Stage1 at base width 32 with the release's weights, the same for every latent construction; `images` an epoch."""
    return Stage1Config(
        recipe=name,
        model=ModelConfig(latent=latent),  # type: ignore[arg-type]
        objective=ObjectiveConfig(mutual_information=kappa, margin=0.1),
        input=InputConfig(flip=True),
        train=TrainConfig(
            images=epochs * images,
            halve_every_images=max(1, 2 * epochs // 5) * images,
            snapshot_images=images,  # Figure 6 shows the last ten epochs
            warm_up=True,
            recurrence_rate=1 / 8,
        ),
    )


def _paper_set(dataset: str, images: int, epochs: int) -> dict[str, Recipe]:
    """VAE-GAN, crVAE-GAN and crVAE-GAN + MI on one of the paper's datasets (Table 1, upper half)."""
    rows = {
        "vae-gan": ("dense", 0.0, "VAE-GAN"),
        "crvae-gan": ("recurrent", 0.0, "crVAE-GAN"),
        "crvae-gan-mi": ("recurrent", 0.02, "crVAE-GAN with mutual-information regularisation"),
    }
    return {
        f"{dataset}-{name}": Recipe(
            f"Table 1: {what}, 64x64",
            f"{epochs * images / 1e6:.0f}M images",
            "not measured: the set is the user's to get",
            _paper(f"{dataset}-{name}", latent, kappa, epochs, images),
        )
        for name, (latent, kappa, what) in rows.items()
    }


def _birds_release() -> dict[str, Recipe]:
    """The two models as the authors released them, without their bugs (specification, sections 2 to 5)."""
    chunk = BIRDS // 128 * 128
    train = {"images": 150 * chunk, "halve_every_images": 60 * chunk, "warm_up": True}
    momentum = {"batch_norm_momentum": 0.9, "release": True}
    dense = Stage1Config(
        recipe="birds-vae-gan-release",
        model=ModelConfig(latent="dense", **momentum),
        discriminator=DiscriminatorConfig(narrow=True, mixed_batch=True, group=0),
        objective=ObjectiveConfig(kl_early=2e-4, kl_late=2e-4, adversarial=0.05, encoder_adversarial=False, margin=0.1),
        input=InputConfig(flip=True),
        train=TrainConfig(adversarial_head_rate=0.5, seed=1196, **train),
    )
    recurrent = Stage1Config(
        recipe="birds-crvae-gan-mi-release",
        model=ModelConfig(**momentum),
        discriminator=DiscriminatorConfig(mixed_batch=True, group=0),
        objective=ObjectiveConfig(
            mutual_information=0.02, mutual_information_weights="0.1,1.5,1.5,1.25,0.1,0.1,1,1", margin=0.1
        ),
        input=InputConfig(flip=True),
        train=TrainConfig(recurrence_rate=1 / 8, seed=96, **train),
    )
    cost, result = f"{150 * chunk / 1e6:.0f}M images", "not measured: the set is the user's to get"
    return {
        dense.recipe: Recipe("the authors' VAE-GAN, bugs fixed, one joint step", cost, result, dense),
        recurrent.recipe: Recipe("the authors' crVAE-GAN + MI, bugs fixed, one joint step", cost, result, recurrent),
    }


def _mnist() -> dict[str, Recipe]:
    """Bernoulli models on dynamically binarised digits: one trunk, and the release's three."""
    recipes = {}
    names = {"vae": "dense", "cvae": "convolutional", "crvae": "recurrent"}
    # make mnist-priors: twenty epochs on one core of an Intel Xeon, N(0, I), IWAE-100 on 1,000 images (docs/research/scores.md)
    results = {"vae": "96.8", "cvae": "92.3", "crvae": "90.9"}
    for release in (False, True):
        for name, latent in names.items():
            recipe = f"mnist-{name}" + "-release" * release
            weight = 1e-3 if release else 1 / 784  # 1/784 is the evidence lower bound (specification 5.21)
            crvae_release = release and name == "crvae"
            recipes[recipe] = Recipe(
                f"likelihood on 28x28 digits: {name.replace('vae', 'VAE')}" + ", as released" * release,
                "12M images",
                "not measured"
                if release
                else f"width 8, after 1.2M images: {results[name]} nats (IWAE-100); not measured at full length",
                Stage1Config(
                    recipe=recipe,
                    model=ModelConfig(
                        latent=latent,  # type: ignore[arg-type]
                        size=28,
                        channels=1,
                        likelihood="bernoulli",
                        release=release,
                        batch_norm_eps=1e-5 if crvae_release else 1e-6,
                        batch_norm_momentum=0.9 if release and not crvae_release else 0.1,
                    ),
                    objective=ObjectiveConfig(adversarial=0, kl_early=weight, kl_late=weight),
                    input=InputConfig(binarise=True),
                    train=TrainConfig(
                        images=200 * 60_000,
                        halve_every_images=50 * 60_000,
                        rate=3e-3 if crvae_release else 3e-4,
                        recurrence_rate=1 / 8 if crvae_release else 1.0,
                    ),
                ),
            )
    return recipes


def _emoji() -> dict[str, Recipe]:
    """For two CPU cores: base width 8, on anything simple and colourful at 64 pixels. No flips: letters and clocks mirror.

    What departs from the paper's recipes was found by a small search on one seed (docs/research/recipe-search.md): the residual recurrence,
    smooth upsampling and average pooling (without which samples turn to a lattice), small batches, equal KL weights, a
    discriminator without dropout that starts late, Adam's beta1.
    """
    rows = {
        "vae": ("dense", 0.0, 0.0, "VAE (Figure 3)"),
        "cvae": ("convolutional", 0.0, 0.0, "cVAE (Figure 3)"),
        "crvae": ("recurrent", 0.0, 0.0, "crVAE (Figure 3)"),
        "vae-gan": ("dense", 0.0125, 0.0, "VAE-GAN"),
        "cvae-gan": ("convolutional", 0.0125, 0.0, "cVAE-GAN"),
        "crvae-gan": ("recurrent", 0.0125, 0.0, "crVAE-GAN"),
        "crvae-gan-mi": ("recurrent", 0.0125, 0.02, "crVAE-GAN with mutual-information regularisation"),
    }
    # 443 validation images, EfficientNet-Lite0's features, N(0, I) (docs/evidence.md: make table1, one seed; make figure3, three)
    results = {
        "vae": "after 80k images: KID 0.76, PSNR 17.2 dB; no sample can be named",
        "cvae": "after 80k images: KID 0.95, PSNR 18.1 dB; no sample can be named",
        "crvae": "after 80k images: KID 0.88, PSNR 17.9 dB; no sample can be named",
        "vae-gan": "after 80k images: KID 0.74, PSNR 16.5 dB",
        "cvae-gan": "after 80k images: KID 0.88, PSNR 17.6 dB",
        "crvae-gan": "after 80k images: KID 0.71, PSNR 17.2 dB",
        "crvae-gan-mi": "after 80k images: KID 0.71, PSNR 17.2 dB; round faces, figures, some patches",
    }
    recipes = {}
    for name, (latent, beta, kappa, what) in rows.items():
        recipe = f"emoji-{name}"
        recipes[recipe] = Recipe(
            f"CPU size, 64x64: {what}",
            "200k images",
            results[name],
            Stage1Config(
                recipe=recipe,
                model=ModelConfig(latent=latent, width=8, residual=True, upsampling="smooth"),  # type: ignore[arg-type]
                discriminator=DiscriminatorConfig(dropout=0, pooling="average"),
                objective=ObjectiveConfig(
                    kl_early=5e-4,
                    kl_late=5e-4,
                    adversarial=beta,
                    adversarial_after_images=40_000 if beta else 0,
                    mutual_information=kappa,
                    mutual_information_normalise=True,
                ),
                train=TrainConfig(
                    images=200_000,
                    batch=32,
                    rate=6e-4,
                    recurrence_rate=2.0,
                    beta1=0.5,
                    halve_every_images=60_000,
                    average_half_life_images=10_000,
                    checkpoint_images=20_000,
                    snapshot_images=20_000,
                ),
            ),
        )
    return recipes


STAGE1: dict[str, Recipe] = {
    **_paper_set("birds", BIRDS, 150),
    **_birds_release(),
    **_paper_set("celeba", CELEBA, 100),
    **_paper_set("lsun", LSUN, 10),
    **_mnist(),
    **_emoji(),
}
"""Recipe by name."""
