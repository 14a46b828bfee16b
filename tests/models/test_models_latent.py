"""Latent constructions: what each tells of itself, and a fourth that comes from elsewhere by one class and one entry."""

from __future__ import annotations

import pytest
import torch

from crvae.cli import main
from crvae.errors import UserError
from crvae.evaluation.cost import parameters
from crvae.models import Autoencoder, ChannelRecurrence
from crvae.models.latent import CONSTRUCTIONS
from crvae.storage.models import load, save
from crvae.training.stage1 import Stage1, build
from crvae.web.demo.walking import _explanation
from reference.toys import PooledLatent


@pytest.fixture
def pooled(monkeypatch):
    monkeypatch.setitem(CONSTRUCTIONS, "pooled", PooledLatent)


@pytest.mark.parametrize("latent", list(CONSTRUCTIONS))
@pytest.mark.parametrize("release", [False, True])
def test_groups_hold_every_parameter_once_and_recurrences_apart(small, latent, release):
    stage = Stage1(small(latent, model={"release": release}, train={"recurrence_rate": 0.25, "recurrence_clip": 3.0}))
    groups = {group.name: group for group in stage.sides[0].groups}
    found = [id(parameter) for group in groups.values() for parameter in group.parameters]
    assert sorted(found) == sorted(map(id, stage.model.parameters()))
    apart = [p for m in stage.model.modules() if isinstance(m, ChannelRecurrence) for p in m.parameters()]
    if apart:
        assert [id(p) for p in groups["recurrence"].parameters] == [id(p) for p in apart]
        assert (groups["recurrence"].rate, groups["recurrence"].clip) == (0.25, 3.0)
    else:
        assert set(groups) == {"trunk"}


@pytest.mark.parametrize("latent", [*CONSTRUCTIONS, "pooled"])
def test_what_decodes_is_exactly_what_an_image_depends_on_once_z_is_given(small, latent, pooled):
    config = small(latent)
    model, _ = build(config)
    z = torch.randn(2, *model.latent_shape)
    model.decode(z).sum().backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    counted = {id(p) for part in (model.decoder, *model.latent.decoding()) for p in part.parameters()}
    assert reached == {name for name, parameter in model.named_parameters() if id(parameter) in counted}
    assert parameters(config)["decoder"] == sum(dict(model.named_parameters())[name].numel() for name in reached)


def test_a_fourth_construction_trains_is_saved_and_described(small, pooled, tmp_path, colour, tiny):
    stage = Stage1(small("pooled"))
    assert [(group.name, group.rate) for group in stage.sides[0].groups] == [("trunk", 1.0), ("outwards", 0.5)]
    save(tmp_path / "folder", stage.model, recipe="test", images=0)
    assert torch.equal(load(tmp_path / "folder").sample(2), stage.model.eval().sample(2))

    run, out = tmp_path / "run", tmp_path / "out"
    options = ["--model.latent", "pooled", *tiny]
    assert main(["train", "emoji-crvae-gan-mi", "--data", str(colour), "--out", str(run), *options]) == 0
    assert main(["export", str(run), str(out)]) == 0
    assert "toy (pooled latent)" in (out / "README.md").read_text()
    assert "arbitrary" not in _explanation(load(out), 1)


@pytest.mark.parametrize("latent", ["dense", "convolutional"])
def test_blocks_without_an_order_are_called_arbitrary(small, latent):
    assert "arbitrary" in _explanation(Autoencoder(small(latent).model), 1)


def test_an_unknown_construction_is_one_sentence_that_names_the_known(small, tmp_path, colour, tiny, capsys):
    with pytest.raises(UserError, match="dense, convolutional, recurrent, got 'sparse'"):
        Autoencoder(small("sparse").model)
    out = tmp_path / "run"
    options = ["--model.latent", "sparse", *tiny]
    assert main(["train", "emoji-crvae-gan-mi", "--data", str(colour), "--out", str(out), *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()
    save(tmp_path / "folder", build(small("dense"))[0], recipe="test", images=0)
    config = tmp_path / "folder" / "config.json"
    config.write_text(config.read_text().replace('"dense"', '"sparse"'))
    with pytest.raises(UserError, match=r"config\.json: --model\.latent must be one of"):
        load(tmp_path / "folder")
