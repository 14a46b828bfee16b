"""From images to blinded questions: the same images and seed give the same study, byte for byte."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from crvae.data.images import PIXELS, encode
from crvae.errors import UserError
from crvae.files import check_new_folder, new_folder, write_bytes, write_text
from crvae.web.study.folder import Key, Question, Study, Task, image_name
from crvae.web.study.sources import Picture, Shown, completions, model_names, samples

ATTENTION_EVERY = 8
"""One attention question for so many pairs."""
REPEAT_EVERY = 16
"""One repeated question for so many pairs."""
CONSENT = """\
You will see a few images at a time, all made by computer programs, and choose the most realistic one.
There is no right answer, except in a few questions that check whether somebody is looking.

Taking part is voluntary. You may stop at any time, and come back later with your personal link.
Only your choices and the time of each are stored: no name, no address, no cookies.
"""


@dataclass
class Draft:
    """A question before it has a number: alternatives in the order in which they are shown."""

    question: Question
    images: list[Picture]
    models: tuple[int, ...]
    context: Picture | None = None
    repeats: Draft | None = None


def create(runs: list[str], task: Task, pairs: int, seed: int, out: Path, pixels: int = PIXELS) -> Study:
    """Builds the study of `runs` (2 to 4) in the new folder `out`: for samples `pairs` questions, for completions
    as many for each occlusion, and repeated and attention questions on top. `seed` is from 0 to 2^63 - 1.
    Raises UserError; leaves nothing half-made.
    """
    if pairs < 1:
        raise UserError(f"--pairs must be at least 1, got {pairs}")
    if not 0 <= seed < 2**63:
        raise UserError(f"--seed must be from 0 to 2^63 - 1, got {seed}")
    check_new_folder(out)
    models = model_names(runs)
    if task == "sample":
        drawn = [samples(run, pairs, seed, pixels) for run in runs]
        shown: Shown = {"": [(list(images), None) for images in zip(*drawn, strict=True)]}
    else:
        shown = completions(runs, pairs, seed, pixels)
    _check_sizes(shown, runs)
    study, key, images = build(shown, models, task, seed)
    _write(out, study, key, images)
    return study


def build(shown: Shown, models: list[str], task: Task, seed: int) -> tuple[Study, Key, dict[str, Picture]]:
    """Blinds and shuffles `shown`: the study, which model is where, and every image by its name."""
    chance = random.Random(seed)
    pairs = []
    for group, tuples in shown.items():
        for (images, context), places in zip(tuples, _balanced_places(len(models), len(tuples), chance), strict=True):
            question = Question(kind="pair", group=group, context=context is not None)
            pairs.append(Draft(question, [images[model] for model in places], places, context))
    repeats = [_repeat(draft, chance) for draft in chance.sample(pairs, -(-len(pairs) // REPEAT_EVERY))]
    attention = _attention(pairs, -(-len(pairs) // ATTENTION_EVERY), chance)
    drafts = pairs + repeats + attention
    chance.shuffle(drafts)
    number = {id(draft): place for place, draft in enumerate(drafts, 1)}
    questions = [
        draft.question.model_copy(update={"repeats": number[id(draft.repeats)] if draft.repeats else 0})
        for draft in drafts
    ]
    study = Study(task=task, seed=seed, alternatives=len(models), questions=tuple(questions))
    key = Key(models=tuple(models), places=tuple(draft.models for draft in drafts))
    images = {}
    for place, draft in enumerate(drafts, 1):
        if draft.context is not None:
            images[image_name(place, 0)] = draft.context
        images |= {image_name(place, side): image for side, image in enumerate(draft.images, 1)}
    return study, key, images


def _balanced_places(models: int, count: int, chance: random.Random) -> list[tuple[int, ...]]:
    """`count` orders of the models: every order equally often, up to a remainder."""
    every = list(itertools.permutations(range(models)))
    places = []
    while len(places) < count:
        places += chance.sample(every, len(every))
    places = places[:count]
    chance.shuffle(places)
    return places


def _repeat(draft: Draft, chance: random.Random) -> Draft:
    """The same images with the sides shuffled until they differ."""
    sides = list(range(len(draft.models)))
    while sides == sorted(sides):
        chance.shuffle(sides)
    question = draft.question.model_copy(update={"kind": "repeat"})
    return Draft(
        question, [draft.images[s] for s in sides], tuple(draft.models[s] for s in sides), draft.context, draft
    )


def _attention(pairs: list[Draft], count: int, chance: random.Random) -> list[Draft]:
    """Questions whose alternatives have their pixels scrambled, all but one. They are made from the pairs on which
    scrambling shows the most (a plain white image stays plain white).
    """
    candidates = [
        (draft, place, _scrambled(image, chance)) for draft in pairs for place, image in enumerate(draft.images)
    ]
    candidates.sort(key=lambda found: _roughness(found[2]) - _roughness(found[0].images[found[1]]), reverse=True)
    drafts = []
    for draft, place, _ in chance.choices(candidates[: max(1, len(candidates) // 2)], k=count):
        answer = chance.randrange(len(draft.models))
        sides = [image if side == place else _scrambled(image, chance) for side, image in enumerate(draft.images)]
        sides[place], sides[answer] = sides[answer], sides[place]
        models = list(draft.models)
        models[place], models[answer] = models[answer], models[place]
        question = Question(
            kind="attention", group=draft.question.group, answer=answer + 1, context=draft.question.context
        )
        drafts.append(Draft(question, sides, tuple(models), draft.context))
    return drafts


def _scrambled(image: Picture, chance: random.Random) -> Picture:
    shuffle = np.random.default_rng(chance.getrandbits(64)).permutation(image.shape[0] * image.shape[1])
    return image.reshape(-1, 3)[shuffle].reshape(image.shape)


def _roughness(image: Picture) -> float:
    """Mean difference of neighbouring pixels, in grey levels."""
    return float(np.abs(np.diff(image.astype(np.int16), axis=1)).mean())


def _check_sizes(shown: Shown, runs: list[str]) -> None:
    for tuples in shown.values():
        for images, _ in tuples:
            sizes = [image.shape[:2] for image in images]
            for run, size in zip(runs, sizes, strict=True):
                if size != sizes[0]:
                    (height, width), (high, wide) = sizes[0], size
                    raise UserError(
                        f"--runs {runs[0]} has an image of {width}x{height} pixels where {run} has {wide}x{high}, "
                        "and the size would tell the models apart: bring them to one size"
                    )


def _write(out: Path, study: Study, key: Key, images: dict[str, Picture]) -> None:
    with new_folder(out) as unfinished:
        (unfinished / "images").mkdir()
        for name, image in images.items():
            write_bytes(unfinished / "images" / name, encode(Image.fromarray(image)))
        write_text(unfinished / "study.json", study.model_dump_json(indent=1) + "\n")
        write_text(unfinished / "key.json", key.model_dump_json(indent=1) + "\n")
        write_text(unfinished / "consent.txt", CONSENT)
