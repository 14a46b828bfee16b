"""Options of `crvae train` that rows share, and the views in which `crvae evaluate` scores them."""

from __future__ import annotations

BUDGETS = ("cpu", "gpu")
NARROW = ("--model.width", "8")
"""A quarter of the paper's width on digits, for a CPU."""


def length(images: int, latents: int) -> tuple[str, ...]:
    """Options of a fast recipe at another length than its own: the discriminator after 70% of the images, the prior's latents."""
    return ("--objective.adversarial-after-images", str(images * 7 // 10), "--prior.images", str(latents))


def halving(every: int, prior: str, latents: int) -> tuple[str, ...]:
    """Options for the paper's schedule at another length, halved every so many images, and for the prior learned after it."""
    return ("--train.halve-every-images", str(every), "--prior.kind", prior, "--prior.images", str(latents))


def kl(early: str, late: str) -> tuple[str, ...]:
    """Options for the KL weights of early and late time steps."""
    return ("--objective.kl-early", early, "--objective.kl-late", late)


NORMAL = frozenset(("--prior", "normal"))
SAMPLES = "kid,prdc,is"
BOTH_PRIORS = {
    "own prior": ("--scores", f"{SAMPLES},reconstruction,kl"),
    "own prior, classifier": ("--scores", "kid,prdc", "--features", "classifier"),
    "N(0, I)": ("--scores", SAMPLES, "--features", "classifier", "--prior", "normal"),
}
"""Whose features are compared, and the prior that samples are drawn from."""

FROM_NORMAL = {"N(0, I)": ("--scores", f"{SAMPLES},reconstruction,kl", "--features", "classifier")}
PUBLISHED = FROM_NORMAL | {"N(0, I), EfficientNet-Lite0": ("--scores", "kid,prdc")}
"""Without a learned prior, as the paper has it: by the classifier's features, and by another network's."""
