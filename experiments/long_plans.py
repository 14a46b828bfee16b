"""The same tables by longer runs, each of about an hour of one core or more; on a GPU minutes, several runs at once."""

from __future__ import annotations

from dataclasses import replace

from experiments.plan import Plan
from experiments.short_plans import BOTH_PRIORS, CONSTRUCTIONS, SHORT, avatars, length

FP32 = ("--train.precision", "fp32")
"""On a GPU: autocast's copies are a third of what so small a network launches."""

EIGHTFOLD = {"cpu": 240_000, "gpu": 240_000}
"""Eight times HALF."""
AT_LENGTH = {"cpu": length(240_000, 2_000_000), "gpu": (*length(240_000, 2_000_000), *FP32)}

PAPER = ("--train.halve-every-images", "160000", "--prior.kind", "flow", "--prior.images", "1000000")
"""The paper's 60 of 150 epochs, as a share of 400,000 images; a prior that the paper does not have, beside N(0, I)."""

HALF_SCHEDULE = ("--train.halve-every-images", "1500000", "--prior.kind", "autoregressive", "--prior.images", "600000")
"""The supplement's 50 of 200 epochs, at half of its length."""

LONG: dict[str, Plan] = {
    f"{name}-eightfold": replace(
        SHORT[base],
        title=f"Table 1, upper half, on {data}, at eight times the budget",
        images=EIGHTFOLD,
        probed=False,
        shared=AT_LENGTH,
    )
    for name, base, data in (
        ("avatars", "avatars", "avatars"),
        ("emoji", "emoji", "emoji"),
        ("fashion", "fashion-fast", "Fashion-MNIST"),
    )
}
FACES = LONG["avatars-eightfold"]

PAIR = CONSTRUCTIONS[::2]
ORDER = replace(FACES, title="The order of the blocks at eight times the budget", views={}, order=True)

LONG |= {
    "avatars-eightfold-pair": replace(
        FACES, rows=PAIR, title="Table 1 on avatars, at eight times the budget, dense and recurrent", probed=True
    ),
    "avatars-eightfold-order": replace(ORDER, rows=PAIR),
    "avatars-eightfold-again": replace(
        FACES, title="Table 1 on avatars, at eight times the budget: the same seeds on another machine", probed=True
    ),
    "avatars-eightfold-order-again": replace(ORDER, title=f"{ORDER.title}: the same seeds on another machine"),
    "paper-long": avatars(
        "The paper's own networks, recurrence and objective, on avatars, at four times the budget",
        SHORT["paper"].rows[::2],
        images=dict.fromkeys(("cpu", "gpu"), 400_000),
        probed=True,
        views=BOTH_PRIORS,
        shared={"cpu": (*PAPER, "--model.width", "16"), "gpu": PAPER},
    ),
    "mnist-long": replace(
        SHORT["mnist-priors"],
        title="Likelihoods of binarised digits at half of the supplement's schedule",
        images=dict.fromkeys(("cpu", "gpu"), 6_000_000),
        shared={"cpu": HALF_SCHEDULE, "gpu": (*HALF_SCHEDULE, *FP32)},
    ),
}
