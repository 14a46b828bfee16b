"""What the pages of evidence compare, as data: pairs of rows of tables, by set and by the paper's claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.verdicts import LEARNED, NORMAL, Comparison

SAMPLES = {"kid": "KID", "is": "inception score"}
RECURRENT, DENSE, SPATIAL = "crvae-gan-mi", "vae-gan", "cvae-gan"

SETS = {
    "faces, 30,000 images": "avatars",
    "faces, 240,000": "avatars-eightfold",
    "emoji, 30,000": "emoji",
    "emoji, 240,000": "emoji-eightfold",
    "Fashion-MNIST, 30,000": "fashion-fast",
    "Fashion-MNIST, 240,000": "fashion-eightfold-pair",
}
"""Table 1 by the fast recipes."""
PAPER = {"faces, the paper's networks, 100,000": "paper", "the same, 400,000": "paper-long"}
WITHOUT_SPATIAL = {"fashion-eightfold-pair", "paper-long"}
"""Tables without the convolutional model."""
PARTS = {
    "faces": "objectives",
    "faces, 240,000 images": "avatars-eightfold-parts",
    "emoji": "emoji-parts",
    "emoji, 240,000 images": "emoji-eightfold-parts",
    "Fashion-MNIST": "fashion-parts",
    "Fashion-MNIST, 240,000 images": "fashion-eightfold-parts",
}
CONTROLS = {"faces": "controls-avatars", "emoji": "emoji-parts", "Fashion-MNIST": "fashion-parts"}
OBJECTIVE = {"clothes": "fashion", "emoji": "table1"}
"""Table 1 by the paper's objective on small networks, the emoji recipes."""


@dataclass(frozen=True)
class Table:
    """Comparisons by the same scores: score -> the column's title."""

    scores: dict[str, str]
    rows: Sequence[Comparison]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, or a question beside it, and the comparisons that bear on it, each with the page that has more."""

    says: str
    rows: Sequence[tuple[Comparison, str]]


def both(what: str, table: str, ours: str, theirs: str) -> list[Comparison]:
    """A pair of a table's rows with each prior."""
    return [Comparison(what, prior, (table, ours), (table, theirs)) for prior in (NORMAL, LEARNED)]


def alone(what: str, table: str, ours: str, theirs: str) -> Comparison:
    """A pair of a table's rows without a learned prior."""
    return Comparison(what, NORMAL, (table, ours), (table, theirs))


def published(what: str, table: str) -> list[Comparison]:
    """A table's latent constructions under the paper's objective."""
    return [
        alone(f"{what}: crVAE-GAN against VAE-GAN", table, "crvae-gan", DENSE),
        alone("crVAE-GAN against cVAE-GAN", table, "crvae-gan", SPATIAL),
        alone("crVAE-GAN + MI against VAE-GAN", table, RECURRENT, DENSE),
        alone("crVAE-GAN + MI against cVAE-GAN", table, RECURRENT, SPATIAL),
        alone("crVAE-GAN + MI against crVAE-GAN", table, RECURRENT, "crvae-gan"),
    ]


def pairs(tables: dict[str, str], ours: str, theirs: str) -> list[Comparison]:
    """The same pair in several tables, with each prior."""
    return [row for what, table in tables.items() for row in both(what, table, ours, theirs)]


TABLES: dict[str, Table] = {
    "dense": Table(SAMPLES, pairs(SETS | PAPER, RECURRENT, DENSE)),
    "convolutional": Table(
        SAMPLES,
        pairs(
            {what: table for what, table in (SETS | PAPER).items() if table not in WITHOUT_SPATIAL}, RECURRENT, SPATIAL
        ),
    ),
    "reconstructions": Table(
        {"psnr": "PSNR, dB", "lpips": "LPIPS-style distance"},
        [Comparison(what, LEARNED, (name, RECURRENT), (name, DENSE)) for what, name in (SETS | PAPER).items()],
    ),
    "recurrence": Table(SAMPLES, pairs(CONTROLS, RECURRENT, "perceptron")),
    "rate": Table(
        SAMPLES,
        [
            alone("faces, against dense", "normal-prior", RECURRENT, DENSE),
            alone("faces, against convolutional", "normal-prior", RECURRENT, SPATIAL),
            alone("faces, against the perceptron", "normal-prior", RECURRENT, "perceptron"),
        ],
    ),
    "published": Table(
        SAMPLES,
        [
            *(row for what, table in OBJECTIVE.items() for row in published(what, table)),
            alone("clothes: crVAE-GAN + MI, LSTM against perceptron", "fashion-controls", RECURRENT, "perceptron"),
            alone("the same, blocks in order against a random order", "fashion-controls", RECURRENT, "permuted"),
            alone("the same, KL weights 1.5 : 1 against equal", "fashion-controls", "release-kl", RECURRENT),
            alone("emoji: crVAE-GAN + MI, LSTM against perceptron", "controls", RECURRENT, "perceptron"),
            alone("the same, blocks in order against a random order", "controls", RECURRENT, "permuted"),
            alone(
                "emoji: crVAE-GAN + MI, KL weights 1.5 : 1 against equal",
                "table1",
                "crvae-gan-mi-release-kl",
                RECURRENT,
            ),
            alone("clothes: VAE-GAN against VAE-GAN + MI on u", "figure5", DENSE, "vae-gan-mi-u"),
            alone("clothes: VAE-GAN against VAE-GAN + MI on z", "figure5", DENSE, "vae-gan-mi-z"),
        ],
    ),
    "information": Table(SAMPLES, pairs(PARTS, RECURRENT, "crvae-gan")),
    "weights": Table(SAMPLES, pairs(PARTS, "crvae-gan-mi-kl", RECURRENT)),
}

FACES, EMOJI, CLOTHES = "evidence/faces.md", "evidence/emoji.md", "evidence/clothes.md"


def _one(what: str, page: str, table: str, ours: str, theirs: str, prior: str = NORMAL) -> tuple[Comparison, str]:
    return Comparison(what, prior, (table, ours), (table, theirs)), page


def _by_objective(ours: str, theirs: str) -> list[tuple[Comparison, str]]:
    return [
        _one(f"{what}, the emoji recipes", page, OBJECTIVE[what], ours, theirs)
        for what, page in (("clothes", CLOTHES), ("emoji", EMOJI))
    ]


DEARER = "faces, fast, 30,000 images, KL weight 5e-4"
AGAIN = "faces, fast, seeds 1 and 2 on another machine"
LONG = {"faces": ("avatars-eightfold", FACES), "emoji": ("emoji-eightfold", EMOJI)}
LONG_PARTS = (
    ("faces", "avatars-eightfold-parts", FACES),
    ("emoji", "emoji-eightfold-parts", EMOJI),
    ("clothes", "fashion-eightfold-parts", CLOTHES),
)
CLAIMS: Sequence[Claim] = (
    Claim(
        "Table 1: samples of crVAE-GAN + MI are better than VAE-GAN's",
        (
            *_by_objective(RECURRENT, DENSE),
            *(_one(f"{what}, fast", page, table, RECURRENT, DENSE) for what, (table, page) in LONG.items()),
            _one(AGAIN, FACES, "avatars-eightfold-pair", RECURRENT, DENSE),
            _one(DEARER, FACES, "normal-prior", RECURRENT, DENSE),
            _one("clothes, fast", CLOTHES, "fashion-eightfold-pair", RECURRENT, DENSE),
            _one("faces, the paper's networks", "research/paper-networks.md", "paper-long", RECURRENT, DENSE),
        ),
    ),
    Claim(
        "The same from a learned prior (not in the paper)",
        (
            *(_one(f"{what}, fast", page, table, RECURRENT, DENSE, LEARNED) for what, (table, page) in LONG.items()),
            _one(AGAIN, FACES, "avatars-eightfold-pair", RECURRENT, DENSE, LEARNED),
            _one("clothes, fast", CLOTHES, "fashion-eightfold-pair", RECURRENT, DENSE, LEARNED),
        ),
    ),
    Claim(
        "Table 1: and better than the convolutional model's",
        (
            *_by_objective(RECURRENT, SPATIAL),
            *(_one(f"{what}, fast", page, table, RECURRENT, SPATIAL) for what, (table, page) in LONG.items()),
            _one(DEARER, FACES, "normal-prior", RECURRENT, SPATIAL),
        ),
    ),
    Claim(
        "It is the recurrence: an LSTM against a perceptron of each block",
        (
            _one("clothes, the emoji recipes", CLOTHES, "fashion-controls", RECURRENT, "perceptron"),
            _one("emoji, the emoji recipes", EMOJI, "controls", RECURRENT, "perceptron"),
            _one("faces, fast, 30,000 images", FACES, "controls-avatars", RECURRENT, "perceptron"),
            _one(DEARER, FACES, "normal-prior", RECURRENT, "perceptron"),
        ),
    ),
    Claim(
        "Table 1: mutual information helps",
        (
            *_by_objective(RECURRENT, "crvae-gan"),
            *(_one(f"{what}, fast", page, table, RECURRENT, "crvae-gan") for what, table, page in LONG_PARTS),
        ),
    ),
    Claim(
        "3.3.2: a larger KL weight on early steps helps",
        (
            _one("clothes, the emoji recipes", CLOTHES, "fashion-controls", "release-kl", RECURRENT),
            _one("emoji, the emoji recipes", EMOJI, "table1", "crvae-gan-mi-release-kl", RECURRENT),
            *(_one(f"{what}, fast", page, table, "crvae-gan-mi-kl", RECURRENT) for what, table, page in LONG_PARTS),
        ),
    ),
    Claim(
        "Figure 3: without adversarial loss crVAE's samples are better than the VAE's",
        (
            _one("faces, fast, 30,000 images", FACES, "objectives", "crvae", "vae"),
            _one("emoji, the emoji recipes", EMOJI, "figure3", "crvae", "vae"),
        ),
    ),
)
"""The first table of docs/evidence.md."""
