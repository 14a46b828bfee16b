"""Named Stage2 configurations (section 4.3).

The paper publishes neither layers nor weights: these are StackGAN's Stage-II where it has them, else this project's choice.
`-perceptual` adds the perceptual loss on reconstructions and changes nothing else.
"""

from __future__ import annotations

from crvae.config.stage2 import (
    Stage2Config,
    Stage2DiscriminatorConfig,
    Stage2InputConfig,
    Stage2ObjectiveConfig,
    Stage2TrainConfig,
    UpsamplerConfig,
)
from crvae.recipes.recipe import Recipe

PERCEPTUAL = 1.0
"""Weight of the perceptual loss, a share of the features' energy, beside adversarial terms of weight 1."""


def _paper(dataset: str, images: int, epochs: int, size: int, blocks: int) -> dict[str, Recipe]:
    """Table 1, lower half: StackGAN's widths, rates and batch."""
    rows = {}
    for ending, weight in (("", 0.0), ("-perceptual", PERCEPTUAL)):
        name = f"{dataset}-stage2-{size}{ending}"
        rows[name] = Recipe(
            f"Table 1, high resolution: 64 -> {size}" + " with perceptual loss" * bool(weight),
            f"{epochs * images / 1e6:.0f}M images",
            "not measured: the set is the user's to get",
            Stage2Config(
                recipe=name,
                model=UpsamplerConfig(output_size=size, blocks=blocks),
                objective=Stage2ObjectiveConfig(perceptual=weight),
                input=Stage2InputConfig(flip=True),
                train=Stage2TrainConfig(images=epochs * images, halve_every_images=max(1, epochs // 6) * images),
            ),
        )
    return rows


def _emoji() -> dict[str, Recipe]:
    """For a CPU core and three quarters of an hour: narrow, residual, held to the originals and to Stage1's samples."""
    rows = {}
    for ending, weight in (("", PERCEPTUAL), ("-plain", 0.0)):
        name = f"emoji-stage2-128{ending}"
        rows[name] = Recipe(
            f"CPU size, 64 -> 128, with{'' if weight else 'out'} perceptual loss",
            "50k images" + ": 42 minutes of one thread" * bool(weight),
            # 443 validation images, 2-core AMD EPYC (Zen 4): docs/research/stage2.md; the plain one on another Stage1 (figure7)
            "KID 0.80 against bicubic's 0.88, LPIPS-style distance 0.309 against 0.351"
            if weight
            else "after 10k images KID 0.82 against bicubic's 0.88, LPIPS-style distance 0.355 against 0.356",
            Stage2Config(
                recipe=name,
                model=UpsamplerConfig(width=24, blocks=2, residual=True),
                discriminator=Stage2DiscriminatorConfig(width=16),
                objective=Stage2ObjectiveConfig(
                    adversarial=0.0005,
                    perceptual=weight,
                    perceptual_network="squeezenet",
                    pixel=1.0,
                    sample_pixel=1.0,
                    consistency=5.0,
                ),
                train=Stage2TrainConfig(
                    images=50_000,
                    batch=16,
                    rate=4e-4,
                    discriminator_rate=0.5,
                    average_half_life_images=5_000,
                    report_images=1_000,
                    checkpoint_images=10_000,
                    snapshot_images=10_000,
                ),
            ),
        )
    return rows


STAGE2: dict[str, Recipe] = {
    **_paper("birds", 106_474, 100, 128, 2),
    **_paper("celeba", 162_770, 60, 128, 2),
    **_paper("lsun", 3_033_042, 6, 224, 4),
    **_emoji(),
}
"""Recipe by name."""
