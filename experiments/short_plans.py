"""What each of the paper's tables and figures compares, as data, by runs of minutes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from experiments.options import (
    BOTH_PRIORS,
    BUDGETS,
    FROM_NORMAL,
    NARROW,
    PUBLISHED,
    SAMPLES,
    halving,
    kl,
    length,
)
from experiments.plan import Plan, Row

EMOJI = {"cpu": 80_000, "gpu": 4_000_000}
"""cpu: about 10 minutes of one core a row. gpu: the number of images that the paper's birds recipe sees in 38 epochs."""
SCORES = "kid,fid,prdc,is,reconstruction,kl"
MI = "emoji-crvae-gan-mi"

AVATARS, FAST = "data/avatars64", "fast-crvae-gan-mi"
OF_ATTRIBUTES = ("--attributes", "all", "--backbone", "small")
BUILT_IN = ("--model.width", "14", "--model.latent-channels", "24", "--prior.flow.width", "384")
"""Of the built-in model `faces`, whose weights must stay small."""
HALF = dict.fromkeys(BUDGETS, 30_000)
"""Half the fast recipes' own length: five minutes of one core, and as much for the prior and the scores."""
HALF_LENGTH = length(30_000, 250_000)
"""Options of a fast recipe at this length."""

GREY = ("--model.size", "32", "--model.channels", "1")


def _fashion(title: str, rows: tuple[Row, ...]) -> Plan:
    """A plan on Fashion-MNIST, whose images are others' and stay out of the results."""
    return Plan(title, "data/fashion32", EMOJI, rows, SCORES, scored=2_000, originals=False)


def _clothes(title: str, rows: tuple[Row, ...], **more: Any) -> Plan:
    """A plan on Fashion-MNIST, all seeds reported together by the classifier that is kept; by the paper's objective where `more`
    says nothing else."""
    more = {"images": EMOJI, "views": PUBLISHED, "judge": ("--backbone", "small", "--epochs", "2")} | more
    return Plan(title, "data/fashion32", rows=rows, scores="is", **more)


def avatars(title: str, rows: tuple[Row, ...], **more: Any) -> Plan:
    """A plan on faces, by the fast recipes at half their length where `more` says nothing else."""
    more = {"images": HALF, "shared": dict.fromkeys(BUDGETS, HALF_LENGTH), "scores": "is"} | more
    return Plan(title, AVATARS, rows=rows, faces=True, judge=OF_ATTRIBUTES, **more)


def _controls(recipe: str, options: tuple[str, ...] = ()) -> tuple[Row, ...]:
    """The recurrent model as it is, without its recurrence, and over blocks in a random order."""
    return (
        Row("crvae-gan-mi", recipe, options),
        Row("perceptron", recipe, (*options, "--model.mixing", "perceptron")),
        Row("permuted", recipe, (*options, "--model.permute")),
    )


def _alike(*departures: tuple[str, tuple[str, ...]]) -> tuple[Row, ...]:
    """The same departures from the recipe, each a name and its options, on the dense and on the recurrent model."""
    return tuple(
        Row(f"{model}{name}", recipe, (*GREY, *options))
        for name, options in departures
        for model, recipe in (("vae-gan", "emoji-vae-gan"), ("crvae-gan-mi", MI))
    )


NEARBY = {"gamma": 0.02, "tau": 0.0, "steps": 60, "restarts": 1, "start": "posterior"}
"""How completions of the fast recipes are searched, as the demo does."""
CONSTRUCTIONS = (Row("vae-gan", "fast-vae-gan"), Row("cvae-gan", "fast-cvae-gan"), Row("crvae-gan-mi", FAST))
KL_WEIGHTS = Row("crvae-gan-mi-kl", FAST, kl("2.4e-5", "1.6e-5"))
"""The release's 1.5 : 1, with the recipes' own mean."""
PAPER = halving(40_000, "flow", 250_000)
"""The release's 60 of 150 epochs, as a share of 100,000 images; a prior that the paper does not have, beside N(0, I)."""

DIGITS = tuple(Row(row, row) for row in ("mnist-vae", "mnist-cvae", "mnist-crvae"))
TENTH = (*NARROW, *halving(300_000, "autoregressive", 300_000))
"""The release's 50 of 200 epochs, at a tenth of its length."""

SHORT: dict[str, Plan] = {
    "table1": Plan(
        "Table 1, upper half: latent constructions under the same adversarial training",
        "data/emoji64",
        EMOJI,
        (
            Row("vae-gan", "emoji-vae-gan"),
            Row("cvae-gan", "emoji-cvae-gan"),
            Row("crvae-gan", "emoji-crvae-gan"),
            Row("crvae-gan-mi", MI),
            Row("crvae-gan-mi-release-kl", MI, kl("6e-4", "4e-4")),
        ),
        "is",
        scored=443,
        views=PUBLISHED,
    ),
    "controls": Plan(
        "Is it the recurrence? The same without it, and over blocks in a random order",
        "data/emoji64",
        EMOJI,
        _controls(MI),
        "is",
        scored=443,
        views=PUBLISHED,
    ),
    "figure3": Plan(
        "Figure 3: VAE, cVAE and crVAE without adversarial loss",
        "data/emoji64",
        EMOJI,
        (Row("vae", "emoji-vae"), Row("cvae", "emoji-cvae"), Row("crvae", "emoji-crvae")),
        "is",
        scored=443,
        views={"N(0, I)": ("--scores", f"{SAMPLES},reconstruction,kl")},
    ),
    "figure5": _clothes(
        "Figure 5: mutual-information regularisation of the dense model, on u = FC_gen(z) and on z",
        (
            Row("vae-gan", "emoji-vae-gan", GREY),
            Row("vae-gan-mi-u", "emoji-vae-gan", (*GREY, "--objective.mutual-information", "0.02")),
            Row(
                "vae-gan-mi-z",
                "emoji-vae-gan",
                (*GREY, "--objective.mutual-information", "0.02", "--objective.mutual-information-on", "z"),
            ),
        ),
    ),
    "figure6": Plan(
        "Figure 6: does mutual-information regularisation steady training?",
        "data/emoji64",
        EMOJI,
        (Row("crvae-gan", "emoji-crvae-gan"), Row("crvae-gan-mi", MI)),
        SCORES,
    ),
    "figure6-avatars": avatars(
        "Figure 6 on faces: does mutual-information regularisation steady training?",
        (Row("crvae-gan", "emoji-crvae-gan"), Row("crvae-gan-mi", MI)),
        images=dict.fromkeys(BUDGETS, 24_000),
        shared=dict.fromkeys(
            BUDGETS, ("--objective.adversarial-after-images", "12000", "--train.snapshot-images", "1200")
        ),
        scores="kid,prdc,reconstruction",
        scored=1_000,
    ),
    "fashion": _clothes(
        "Table 1, upper half, on Fashion-MNIST, 32x32, grey, by the paper's objective",
        (
            Row("vae-gan", "emoji-vae-gan", GREY),
            Row("cvae-gan", "emoji-cvae-gan", GREY),
            Row("crvae-gan", "emoji-crvae-gan", GREY),
            Row("crvae-gan-mi", MI, GREY),
        ),
    ),
    "fashion-controls": _clothes(
        "The same controls on Fashion-MNIST, and the release's KL weights, by the paper's objective",
        (
            *_controls(MI, GREY),
            Row("release-kl", MI, (*GREY, *kl("6e-4", "4e-4"))),
        ),
    ),
    "fashion-search": _fashion(
        "The same departures from the recipe on the dense and on the recurrent model",
        _alike(
            ("", ()),
            ("-kl-1e-3", kl("1e-3", "1e-3")),
            ("-adversarial-0.004", ("--objective.adversarial", "0.004")),
        ),
    ),
    "fashion-minibatch": _fashion(
        "Minibatch discrimination: with and without it, on the dense and on the recurrent model",
        _alike(("", ()), ("-without", ("--discriminator.kernels", "0"))),
    ),
    "avatars": avatars(
        "Table 1, upper half, on avatars: with learned priors and with N(0, I), and what each block knows of the face",
        CONSTRUCTIONS,
        images={"cpu": 30_000, "gpu": 600_000},
        probed=True,
        views=BOTH_PRIORS,
        search=NEARBY,
        shared={"cpu": HALF_LENGTH, "gpu": length(600_000, 5_000_000)},
    ),
    "emoji": Plan(
        "Table 1, upper half, on emoji, by the fast recipes",
        "data/emoji64",
        HALF,
        CONSTRUCTIONS,
        "is",
        scored=443,
        views=BOTH_PRIORS,
        search=NEARBY,
        shared=dict.fromkeys(BUDGETS, HALF_LENGTH),
    ),
    "fashion-fast": _clothes(
        "Table 1, upper half, on Fashion-MNIST, by the fast recipes",
        tuple(replace(row, options=GREY) for row in CONSTRUCTIONS),
        images=HALF,
        views=BOTH_PRIORS,
        shared=dict.fromkeys(BUDGETS, HALF_LENGTH),
    ),
    "paper": avatars(
        "The paper's own networks, recurrence and objective, on avatars",
        (
            Row("vae-gan", "birds-vae-gan"),
            Row("cvae-gan", "birds-crvae-gan", ("--model.latent", "convolutional")),
            Row("crvae-gan-mi", "birds-crvae-gan-mi"),
        ),
        images=dict.fromkeys(BUDGETS, 100_000),
        probed=True,
        views=BOTH_PRIORS,
        shared={"cpu": (*PAPER, "--model.width", "16"), "gpu": PAPER},
    ),
    "prior-rates": avatars(
        "Learned prior against N(0, I) at three KL weights",
        tuple(
            Row(f"{row.name}-{weight}", row.recipe, kl(weight, weight) if weight != "2e-5" else ())
            for row in CONSTRUCTIONS
            for weight in ("2e-5", "1e-4", "5e-4")
        ),
        views=BOTH_PRIORS,
    ),
    "normal-prior": avatars(
        "N(0, I) at a KL weight at which it draws faces: the latent constructions, and a perceptron for the LSTM",
        tuple(
            replace(row, options=(*row.options, *kl("5e-4", "5e-4"))) for row in (*CONSTRUCTIONS, _controls(FAST)[1])
        ),
        views=FROM_NORMAL,
        shared=dict.fromkeys(BUDGETS, (*HALF_LENGTH[:2], "--prior.kind", "normal")),
    ),
    "controls-avatars": avatars(
        "Is it the recurrence? The fast recipe without it, and over blocks in a random order",
        _controls(FAST),
        views=BOTH_PRIORS,
    ),
    "avatars-long": avatars(
        "Dense and recurrent on faces at four times the budget",
        (CONSTRUCTIONS[0], CONSTRUCTIONS[2]),
        images={"cpu": 120_000, "gpu": 600_000},
        views=BOTH_PRIORS,
        shared={"cpu": (*BUILT_IN, *length(120_000, 1_000_000)), "gpu": (*BUILT_IN, *length(600_000, 5_000_000))},
    ),
    "nested": avatars(
        "What the first blocks cost and show: plain and nested, dense, convolutional and recurrent",
        tuple(Row(row.name + end, row.recipe + end) for row in CONSTRUCTIONS for end in ("", "-nested")),
        order=True,
    ),
    "kl-weights": avatars(
        "Section 3.3.2: are early blocks coarser when they are dearer?",
        (
            Row("equal", FAST),
            Row("early-dearer", FAST, kl("8e-5", "5e-6")),
            Row("late-dearer", FAST, kl("5e-6", "8e-5")),
        ),
        order=True,
    ),
    "objectives": avatars(
        "Figures 3, 5 and 6: what the adversarial loss, mutual-information regularisation and KL weights add",
        (
            Row("vae", "fast-vae"),
            Row("cvae", "fast-cvae"),
            Row("crvae", "fast-crvae"),
            Row("vae-gan", "fast-vae-gan"),
            Row("vae-gan-mi", "fast-vae-gan", ("--objective.mutual-information", "0.02")),
            Row("crvae-gan", "fast-crvae-gan"),
            Row("crvae-gan-mi", FAST),
            KL_WEIGHTS,
        ),
        views=BOTH_PRIORS,
    ),
    "mnist": Plan(
        "Likelihoods of binarised digits",
        "data/mnist28",
        {"cpu": 120_000, "gpu": 12_000_000},
        DIGITS,
        "elbo,nll",
        views={"N(0, I)": ("--scores", "elbo,nll,kl")},
        shared={"cpu": NARROW},
    ),
    "mnist-priors": Plan(
        "Likelihoods of binarised digits under the autoregressive prior and under N(0, I)",
        "data/mnist28",
        {"cpu": 1_200_000, "gpu": 12_000_000},
        DIGITS,
        "elbo,nll",
        views={"own prior": ("--scores", "elbo,nll"), "N(0, I)": ("--scores", "elbo,nll", "--prior", "normal")},
        shared=dict.fromkeys(BUDGETS, TENTH),
    ),
}
"""Name -> plan."""

PARTS = (Row("crvae-gan", "fast-crvae-gan"), KL_WEIGHTS, *_controls(FAST))
SHORT["emoji-parts"] = replace(
    SHORT["emoji"],
    title="What the recurrence, mutual information and KL weights add on emoji, by the fast recipes",
    rows=PARTS,
)
SHORT["fashion-parts"] = replace(
    SHORT["fashion-fast"],
    title="What the recurrence, mutual information and KL weights add on Fashion-MNIST, by the fast recipes",
    rows=tuple(replace(row, options=(*GREY, *row.options)) for row in PARTS[:-1]),
)
