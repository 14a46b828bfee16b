"""What is counted of attributes: the deciding block is chosen on one half of the samples, unknown values count for nothing."""

from __future__ import annotations

import pytest
import torch

from crvae.tasks.attributes import Faces, _decision, known_by_blocks, seen


def test_a_block_is_chosen_on_every_other_sample_and_judged_on_the_others():
    changed = torch.zeros(3, 8, dtype=torch.bool)
    changed[0, ::2] = True  # chosen, and never again
    changed[1, 0] = True  # the second of that half
    changed[1, 1::2] = changed[2, 1] = True
    others = torch.zeros(3, 8)
    others[0, 1::2] = 0.25
    found = _decision(changed, others)
    assert found["block"] == 1
    assert found["here"]["value"] == 0
    assert found["elsewhere"]["value"] == pytest.approx((1 + 3 * 0.5) / 4)
    assert found["lead"]["value"] == -1
    assert found["others_here"]["value"] == 0.25


def test_images_of_unknown_value_count_for_nothing(make):
    model = make[0]("convolutional")
    x, looked = model.sample(60, seed=3), []

    def classify(images):
        looked.append(len(images))
        return {"bright": (images.mean((1, 2, 3)) > 0).long()}

    values = (torch.arange(60) % 3 == 0).long()
    values[::4] = 1
    train, odd = Faces(x, {"bright": values}), slice(1, None, 2)
    unknown = Faces(x, {"bright": torch.where(torch.arange(60) % 2 == 1, values, -1)})
    known = Faces(x[odd], {"bright": values[odd]})
    assert known_by_blocks(model, train, unknown) == known_by_blocks(model, train, known)
    assert seen(model, unknown, classify) == seen(model, known, classify)
    assert looked == [60, 60, 30, 30]
