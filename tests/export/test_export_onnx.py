"""ONNX graphs run by ONNX Runtime against the model, at batches that they were not traced with.

Tracing takes seconds a graph: most of these are slow, and `test_export_folder.py` exports one real run in every suite.
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

import crvae as package
from crvae.cli import main
from crvae.config.prior import AutoregressivePriorConfig, FlowPriorConfig
from crvae.errors import UserError
from crvae.export import onnx as graphs
from crvae.export.onnx import AGREEMENT, write_graphs
from crvae.models.priors import build_prior
from crvae.models.upsampler import Upsampler

OTHERS = [
    {"latent": "recurrent", "permute": True, "mixing": "perceptron"},
    {"latent": "dense"},
    {"latent": "convolutional"},
    {"latent": "recurrent", "size": 28, "channels": 1, "likelihood": "bernoulli", "release": True},
]


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def agrees(model, tmp_path):
    c, h, w = model.image_shape
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, c, h, w, generator=generator) * 2 - 1
    told = []
    checked = {found.file: found for found in write_graphs(model, tmp_path, images, lambda *part: told.append(part))}
    assert [done for _, done, _ in told] == [0, 1, 2, 3, 3, 4, 5, 6]
    assert {total for _, _, total in told} == {6}
    assert set(checked) == {"encoder.onnx", "decoder.onnx"}
    assert all(found.difference <= AGREEMENT for found in checked.values())
    encoder, decoder = session(tmp_path / "encoder.onnx"), session(tmp_path / "decoder.onnx")
    for batch in (1, 3, 7):
        x = torch.rand(batch, c, h, w, generator=generator) * 2 - 1
        mean, log_variance = encoder.run(None, {"images": x.numpy()})
        with torch.no_grad():
            posterior = model.encode(x)
        np.testing.assert_allclose(mean, posterior.mean.numpy(), atol=1e-4)
        np.testing.assert_allclose(log_variance, posterior.log_variance.numpy(), atol=1e-4)
        z = torch.randn(batch, *model.latent_shape, generator=generator)
        with torch.no_grad():
            expected = model.decode(z)
        np.testing.assert_allclose(decoder.run(None, {"z": z.numpy()})[0], expected.numpy(), atol=1e-4)
    assert expected.std(0).mean() > 10 * AGREEMENT, "what is compared must depend on z"
    assert [output.name for output in encoder.get_outputs()] == ["mean", "log_variance"]


@pytest.mark.slow
def test_recurrent_and_left_as_it_was(small, tmp_path):
    """Tracing replaces the LSTM's own list of weights; that must happen to a copy (make test-export)."""
    model = small(residual=True)
    before = model.sample(2)
    agrees(model, tmp_path)
    assert "LSTM" in {node.op_type for node in onnx.load(tmp_path / "decoder.onnx").graph.node}
    assert torch.equal(model.sample(2), before)
    assert all(isinstance(weight, torch.nn.Parameter) for weight in model.latent.transform.lstm._flat_weights)
    model.train()
    model(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("options", OTHERS, ids=lambda o: "-".join(str(v) for v in o.values()))
def test_every_other_construction(small, tmp_path, options):
    """make test-export"""
    agrees(small(**options), tmp_path)


@pytest.mark.slow
def test_stage2(folder2, tmp_path):
    """make test-export"""
    model = package.load(folder2)
    assert isinstance(model, Upsampler)
    found = write_graphs(model, tmp_path, torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    assert [checked.file for checked in found] == ["encoder.onnx", "decoder.onnx", "upsampler.onnx"]
    z = model.stage1.prior.sample(5, seed=9)
    small_images = session(tmp_path / "decoder.onnx").run(None, {"z": z.numpy()})[0]
    large = session(tmp_path / "upsampler.onnx").run(None, {"images": small_images})[0]
    np.testing.assert_allclose(large, model.decode(z).numpy(), atol=1e-4)
    assert large.shape == (5, 3, 56, 56)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flow", "autoregressive"])
def test_a_learned_prior_is_a_graph_too(small, tmp_path, kind):
    """make test-export"""
    model = small(steps=2)
    config = {
        "flow": FlowPriorConfig(width=16, depth=1, solver_steps=2),
        "autoregressive": AutoregressivePriorConfig(width=8, mixture=3),
    }[kind]
    torch.manual_seed(0)
    model.prior = build_prior(config, model.latent_shape, 2).eval()
    with torch.no_grad():
        for parameter in model.prior.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    found = write_graphs(model, tmp_path, torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    assert [checked.file for checked in found] == ["encoder.onnx", "decoder.onnx", "prior.onnx"]
    noise = model.prior.noise(5, 9)
    (z,) = session(tmp_path / "prior.onnx").run(None, {"noise": noise.numpy()})
    np.testing.assert_allclose(z, model.prior.sample(5, 9).detach().numpy(), atol=1e-3)


def test_a_graph_that_differs_is_not_kept(folder, tmp_path, monkeypatch, capsys):
    write = graphs.write_graph

    def wrong(graph, path, example):
        for parameter in graph.module.parameters():
            parameter.data.mul_(1.001)
        write(graph, path, example)

    monkeypatch.setattr(graphs, "write_graph", wrong)
    assert main(["export", str(folder), str(tmp_path / "out"), "--format", "onnx"]) == 2
    assert "differs from the model by" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_the_extra(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", str(folder), str(tmp_path / "out"), "--format", "onnx"]) == 2
    assert "crvae[onnx]" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [1.0, -1.0, float("nan")])
@pytest.mark.parametrize("output", [0, 1])
def test_a_difference_in_any_output_and_direction_is_one(tmp_path, wrong, output):
    """Both outputs are the input itself."""
    about = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in ("x", "a", "b")]
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in ("a", "b")]
    model = helper.make_model(
        helper.make_graph(nodes, "same", about[:1], about[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "same.onnx")
    graph, x = graphs.Graph("same.onnx", torch.nn.Identity(), "x", ("a", "b")), torch.zeros(2, 3)
    assert graphs._check(graph, tmp_path / "same.onnx", x, (x, x), {}).difference == 0
    expected = [x, x]
    expected[output] = torch.tensor([[0, 0, 0], [0, 0, wrong]])
    with pytest.raises(UserError, match="differs from the model by"):
        graphs._check(graph, tmp_path / "same.onnx", x, tuple(expected), {})
