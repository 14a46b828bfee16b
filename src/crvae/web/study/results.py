"""What the votes say: selection frequencies with intervals and exact tests, agreement, raters that did not look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from scipy.stats import binomtest

from crvae.web.study.database import Cast
from crvae.web.study.folder import Key, Study

Interval = Literal["wilson", "clopper-pearson"]
METHODS = {"wilson": "wilson", "clopper-pearson": "exact"}
ATTENTION = 0.8
"""Raters with a smaller share of their attention questions right are excluded."""


def tally(study: Study, key: Key, votes: Iterable[Cast], interval: Interval = "wilson") -> dict:
    """Everything that the report and the administrator's page show, ready for JSON.

    Frequencies (section 4.4, Table 2) are over pairs alone: repeated and attention questions never count, and neither
    does a rater with under 80% of the answered attention questions right. `models` sums over the occlusions of
    `groups` (just `all` for samples). Intervals are at 95%, `p_value` is the two-sided exact
    binomial test against chance; both take votes as independent.
    """
    by_rater: dict[int, dict[int, int]] = defaultdict(dict)
    for vote in votes:
        by_rater[vote.rater][vote.question] = vote.choice
    raters = [_rater(study, rater, choices) for rater, choices in sorted(by_rater.items())]
    counted = {row["rater"]: by_rater[row["rater"]] for row in raters if not row["excluded"]}
    chosen = {  # rater, question -> model
        (rater, question): key.model(question, choice)
        for rater, choices in counted.items()
        for question, choice in choices.items()
    }
    pairs = {at: model for at, model in chosen.items() if study.questions[at[1] - 1].kind == "pair"}
    by_group: dict[str, list[int]] = {q.group: [] for q in study.questions if q.kind == "pair"}
    for (_, question), model in pairs.items():
        by_group[study.questions[question - 1].group].append(model)
    agreement, observed = agreement_between_raters(pairs)
    return {
        "task": study.task,
        "models": _shares(key, pairs.values(), interval),
        "groups": {group or "all": _shares(key, by_group[group], interval) for group in sorted(by_group)},
        "chance": 1 / len(key.models),
        "interval": interval,
        "votes": len(pairs),
        "questions": len(study.questions),
        "raters": len(counted),
        "excluded": [row["rater"] for row in raters if row["excluded"]],
        "agreement": agreement,
        "agreement_observed": observed,
        "repeated_alike": _repeated_alike(study, chosen),
        "places": _places(study, counted),
        "by_rater": raters,
    }


def share(votes: int, of: int, chance: float, interval: Interval = "wilson") -> dict:
    """`votes` out of `of`: frequency, 95% interval and exact binomial test against `chance`; None without votes."""
    if of == 0:
        return {"frequency": None, "low": None, "high": None, "votes": 0, "of": 0, "p_value": None}
    test = binomtest(votes, of, chance)
    bounds = test.proportion_ci(0.95, method=METHODS[interval])
    low, high, p_value = float(bounds.low), float(bounds.high), float(test.pvalue)
    return {"frequency": votes / of, "low": low, "high": high, "votes": votes, "of": of, "p_value": p_value}


def agreement_between_raters(chosen: dict[tuple[int, int], int]) -> tuple[float | None, float | None]:
    """Krippendorff's alpha (nominal, any number of raters a question) and the share of pairs of raters that agree.

    `chosen` maps (rater, question) to the model chosen. Alpha is 1 for full agreement and 0 for what chance gives;
    None where no question has two raters, or where everybody always chose one model, as chance then agrees as well.
    """
    answers: dict[int, list[int]] = defaultdict(list)
    for (_, question), model in chosen.items():
        answers[question].append(model)
    units = [models for models in answers.values() if len(models) > 1]
    if not units:
        return None, None
    total = sum(map(len, units))
    alike = pairs = disagreement = 0.0
    for models in units:
        same = sum(models.count(model) - 1 for model in models)  # ordered pairs of raters that chose alike
        ordered = len(models) * (len(models) - 1)
        alike, pairs = alike + same, pairs + ordered
        disagreement += (ordered - same) / (len(models) - 1)
    counts = [sum(models.count(model) for models in units) for model in {model for models in units for model in models}]
    expected = (total**2 - sum(count**2 for count in counts)) / (total - 1)
    return (1 - disagreement / expected if expected else None), alike / pairs


def _shares(key: Key, models: Iterable[int], interval: Interval) -> dict:
    models = list(models)
    return {
        name: share(models.count(index), len(models), 1 / len(key.models), interval)
        for index, name in enumerate(key.models)
    }


def _rater(study: Study, rater: int, choices: dict[int, int]) -> dict:
    attention = [number for number in choices if study.questions[number - 1].kind == "attention"]
    right = sum(choices[number] == study.questions[number - 1].answer for number in attention)
    excluded = right < ATTENTION * len(attention)
    return {
        "rater": rater,
        "answers": len(choices),
        "attention": len(attention),
        "attention_right": right,
        "excluded": excluded,
    }


def _repeated_alike(study: Study, chosen: dict[tuple[int, int], int]) -> float | None:
    """Share of repeated questions on which a rater chose the same model both times."""
    alike = [
        model == chosen[rater, study.questions[question - 1].repeats]
        for (rater, question), model in chosen.items()
        if study.questions[question - 1].kind == "repeat" and (rater, study.questions[question - 1].repeats) in chosen
    ]
    return sum(alike) / len(alike) if alike else None


def _places(study: Study, counted: dict[int, dict[int, int]]) -> list[float] | None:
    """Share of votes for each place on the screen, from the left: far from even means that raters prefer a side."""
    choices = [
        choice
        for answers in counted.values()
        for question, choice in answers.items()
        if study.questions[question - 1].kind == "pair"
    ]
    return [choices.count(place) / len(choices) for place in range(1, study.alternatives + 1)] if choices else None
