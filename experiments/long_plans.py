"""The same tables by longer runs, each of half an hour of one core or more; on a GPU minutes, several runs at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from experiments.options import BOTH_PRIORS, BUDGETS, NARROW, halving, length
from experiments.plan import Plan
from experiments.short_plans import SHORT, avatars

FP32 = ("--train.precision", "fp32")
"""On a GPU: autocast's copies are a third of what so small a network launches."""

EIGHTFOLD = dict.fromkeys(BUDGETS, 240_000)
"""Eight times HALF."""
AT_LENGTH = {"cpu": length(240_000, 2_000_000), "gpu": (*length(240_000, 2_000_000), *FP32)}
"""Options of a fast recipe at this length."""

PAPER_LONG = halving(160_000, "flow", 1_000_000)
"""The release's 60 of 150 epochs, as a share of 400,000 images; a prior that the paper does not have, beside N(0, I)."""

HALF_SCHEDULE = (*NARROW, *halving(1_500_000, "autoregressive", 600_000))
"""The release's 50 of 200 epochs, at half of its length."""

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
LONG |= {
    f"{name}-eightfold-parts": replace(
        LONG[f"{name}-eightfold"],
        title=f"What mutual information and KL weights add on {data}, at eight times the budget",
        rows=SHORT[parts].rows[:3],
    )
    for name, parts, data in (
        ("avatars", "emoji-parts", "avatars"),
        ("emoji", "emoji-parts", "emoji"),
        ("fashion", "fashion-parts", "Fashion-MNIST"),
    )
}
FACES = LONG["avatars-eightfold"]
FACES_PAIR, CLOTHES_PAIR = (
    replace(plan, rows=plan.rows[::2], title=f"{plan.title}, dense and recurrent")
    for plan in (FACES, LONG["fashion-eightfold"])
)
ORDER: dict[str, Any] = {"views": {}, "probed": False, "order": True}

LONG |= {
    "avatars-eightfold-probed": replace(FACES, probed=True, title=f"{FACES.title}: what each block knows and decides"),
    "avatars-eightfold-order": replace(FACES, title="The order of the blocks at eight times the budget", **ORDER),
    "avatars-eightfold-pair": replace(FACES_PAIR, probed=True),
    "avatars-eightfold-pair-order": replace(
        FACES_PAIR, title="The order of the blocks at eight times the budget, dense and recurrent", **ORDER
    ),
    "fashion-eightfold-pair": CLOTHES_PAIR,
    "fashion-eightfold-pair-order": replace(
        CLOTHES_PAIR,
        title="The order of the blocks on Fashion-MNIST at eight times the budget, dense and recurrent",
        **ORDER,
    ),
    "paper-long": avatars(
        "The paper's own networks, recurrence and objective, on avatars, at four times the budget",
        SHORT["paper"].rows[::2],
        images=dict.fromkeys(BUDGETS, 400_000),
        probed=True,
        views=BOTH_PRIORS,
        shared={"cpu": (*PAPER_LONG, "--model.width", "16"), "gpu": PAPER_LONG},
    ),
    "mnist-long": replace(
        SHORT["mnist-priors"],
        title="Likelihoods of binarised digits at half of the release's schedule",
        images=dict.fromkeys(BUDGETS, 6_000_000),
        shared={"cpu": HALF_SCHEDULE, "gpu": (*HALF_SCHEDULE, *FP32)},
    ),
}
