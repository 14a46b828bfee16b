"""Whether a configuration can be trained: on this dataset, on this many devices, with a discriminator that ever starts."""

from __future__ import annotations

from typing import Any, NoReturn

from crvae.counting import counted
from crvae.data import PreparedData
from crvae.errors import UserError
from crvae.models.priors import prior_config
from crvae.training.cluster import place
from crvae.training.logs import check_log
from crvae.training.prior_stage import has_prior_stage


def check(config: Any, data: PreparedData, resumed: bool = False) -> None:
    """Raises UserError if the dataset is not of the recipe's size or colour, or smaller than a batch.

    The sentence ends with what to type: for a run that is `resumed`, whose options are fixed, other data.
    """

    def refuse(problem: str, remedy: str) -> NoReturn:
        raise UserError(f"{problem}: {'pass --data with the dataset of the run' if resumed else remedy}")

    model, card = config.model, data.card
    check_log(config.train.log)
    if config.stage == 1:
        prior_config(config.prior)
    if has_prior_stage(config) and config.prior.batch % place().world:
        raise UserError(
            f"{'prior.batch of the run' if resumed else '--prior.batch'} must be a multiple of the number of devices"
            f" ({place().world}), got {config.prior.batch}"
        )
    count = len(data.split("train"))
    if config.train.batch > count:
        refuse(
            f"{'the batch of' if resumed else '--train.batch'} {config.train.batch} is larger than the train split of"
            f" {data.path} ({counted(count, 'image')})",
            f"use {fitting_batch(config, count)}",
        )
    if card.size != model.size:
        refuse(
            f"{data.path} holds {card.size}-pixel images, the recipe needs {model.size}",
            f"prepare it with --size {model.size}"
            + (f", or pass --model.size {card.size}" if config.stage == 1 else ""),
        )
    if card.channels != model.channels:
        kinds = {1: "grey", 3: "colour"}
        refuse(
            f"{data.path} holds {kinds[card.channels]} images, the recipe needs {kinds[model.channels]}",
            f"set --model.channels {card.channels}",
        )
    if config.stage == 2 and model.output_size not in card.sizes:
        refuse(
            f"{data.path} holds no {model.output_size}-pixel images beside its {card.size}-pixel ones",
            f"prepare it with --size {model.size} --pair {model.output_size}",
        )


def fitting_batch(config: Any, count: int) -> str:
    """The options that give the largest batch for `count` training images, as they are typed."""
    parts = place().world * config.train.accumulate
    largest = max(parts * (count // parts), 2)
    for batch in range(largest, 1, -parts):
        smaller = config.model_copy(update={"train": config.train.model_copy(update={"batch": batch})})
        if config.stage == 2 or not smaller.undivided(parts):
            return f"--train.batch {batch}"
    return f"--train.batch {largest} --discriminator.group {largest // parts}"


def too_late(config: Any) -> int:
    """The images after which the run's discriminator starts, where that is after the run's last batch; else 0."""
    if config.stage != 1 or not config.objective.adversarial:
        return 0
    after = config.objective.adversarial_after_images
    return after if after > last_batch(config.train) else 0


def last_batch(train: Any) -> int:
    """The images seen when the run's last batch begins."""
    return (train.images - 1) // train.batch * train.batch
