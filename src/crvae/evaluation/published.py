"""What the paper printed, by recipe: the upper half of Table 1, and Section 5."""

from __future__ import annotations

INCEPTION = {
    "birds-vae-gan": 5.81,
    "birds-crvae-gan": 10.62,
    "birds-crvae-gan-mi": 11.07,
    "birds-vae-gan-release": 5.81,
    "birds-crvae-gan-mi-release": 11.07,
    "celeba-vae-gan": 21.70,
    "celeba-crvae-gan": 24.16,
    "celeba-crvae-gan-mi": 26.20,
}
"""Inception scores at 64 pixels, by the authors' VGG11 fine-tuned on birds or faces; their number of samples is not known."""

PREFERRED = {"lsun-vae-gan": 0.166, "lsun-crvae-gan": 0.299, "lsun-crvae-gan-mi": 0.535}
"""Share of 2,000 questions in which workers chose the model's image as the most realistic of three."""

COST = {
    "vae-gan": {"inference_ms": 2.6, "generation_ms": 2.2, "training_memory_gb": 6.2},
    "crvae-gan": {"inference_ms": 5.8, "generation_ms": 4.0, "training_memory_gb": 4.5},
}
"""Section 5: a batch of 128 images of 64 pixels on a Titan X."""


TITLES = {"is": "inception score (the authors' VGG11)"}
"""What the paper's scores are called where none of ours stands beside them."""


def published(recipe: str) -> dict[str, float]:
    """The paper's numbers for the model of `recipe`; none for recipes that are not the paper's."""
    found: dict[str, float] = {}
    if recipe in INCEPTION:
        found["is"] = INCEPTION[recipe]
    if recipe in PREFERRED:
        found["preferred"] = PREFERRED[recipe]
    if found:
        found |= COST["crvae-gan" if "-crvae-" in recipe else "vae-gan"]
    return found
