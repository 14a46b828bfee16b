"""What goes wrong without a number ceasing to be finite, said in words."""

from __future__ import annotations

from typing import Any

WARM = 20_000
"""Nothing is said before so many images: everything looks broken at the start."""

COLLAPSED_ERROR = 0.005
BLIND_ERROR = 0.49
UNUSED_NATS = 0.05
UNEXPLAINED = 0.2


def diagnose(report: dict[str, Any]) -> dict[str, str]:
    """Findings of one report of metrics.jsonl: a short name -> a sentence for the log; empty where all is well."""
    found: dict[str, str] = {}
    if report["images"] < WARM:
        return found
    error = report.get("discriminator_error")
    if error is not None and error < COLLAPSED_ERROR:
        found["discriminator-wins"] = (
            f"the discriminator errs on {error:.1%} of the images only: its gradient may teach nothing any more"
            " (lower --train.discriminator-rate, or set --objective.margin)"
        )
    if error is not None and error > BLIND_ERROR:
        found["discriminator-blind"] = (
            f"the discriminator errs on {error:.0%} of the images: it guesses, and teaches nothing"
        )
    unused = [t for t, nats in enumerate(report.get("kl_per_step", ()), 1) if nats < UNUSED_NATS]
    if unused:
        which = "all time steps" if len(unused) == len(report["kl_per_step"]) else f"time steps {unused}"
        found[f"posterior-collapse-{len(unused)}"] = (
            f"posterior collapse: {which} carry under {UNUSED_NATS} nats an image (lower --objective.kl-early or kl-late)"
        )
    deviation = report.get("posterior_deviation")
    if deviation is not None and not 1e-3 < deviation < 30:
        found["variance-saturated"] = (
            f"the posterior's standard deviation is {deviation:.2g}: the variance path has saturated"
        )
    explained = report.get("mutual_information_explained")
    if explained is not None and explained < UNEXPLAINED:
        found["mutual-information"] = (
            f"the latent head explains {explained:.0%} of the latent's variance: below {UNEXPLAINED:.0%}"
            " mutual-information regularisation can do little"
        )
    return found
