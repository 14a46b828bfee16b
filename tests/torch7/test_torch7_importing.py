"""The released models: what is imported computes what Torch7 would, layer by layer, written out anew here."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import crvae as package
from crvae.cli import main
from crvae.errors import UserError
from crvae.torch7.importing import import_torch7


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(fields, x):
    """cuDNN's flat weights, gate by gate, one step after the other, in float64: b t i -> b t h."""
    hidden = fields["hiddenSize"]
    flat = fields["weight"].astype(np.float64)
    at = 0

    def take(*shape):
        nonlocal at
        count = int(np.prod(shape))
        at += count
        return flat[at - count : at].reshape(shape)

    sizes = [fields["inputSize"], hidden]
    matrices = [
        [take(hidden, sizes[depth]) for _ in range(4)] + [take(hidden, hidden) for _ in range(4)] for depth in (0, 1)
    ]
    biases = [[take(hidden) for _ in range(8)] for _ in (0, 1)]
    assert at == len(flat)
    for w, b in zip(matrices, biases, strict=True):
        h = c = np.zeros((len(x), hidden))
        outputs = []
        for t in range(x.shape[1]):
            i, f, g, o = (x[:, t] @ w[k].T + b[k] + h @ w[4 + k].T + b[4 + k] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        x = np.stack(outputs, 1)
    return x


def run(layer, x, steps):
    """One Torch7 layer in evaluation mode, float64."""
    f = {k: torch.from_numpy(v).double() if isinstance(v, np.ndarray) else v for k, v in layer.fields.items()}
    short = layer.name.rpartition(".")[2]
    if short in ("Sequential",):
        for child in layer.fields["modules"].values():
            x = run(child, x, steps)
        return x
    if short == "ConcatTable":
        return [run(child, x, steps) for child in layer.fields["modules"].values()]
    if short == "ParallelTable":
        return [run(child, part, steps) for child, part in zip(layer.fields["modules"].values(), x, strict=True)]
    if short == "SpatialConvolution":
        return F.conv2d(x, f["weight"], f.get("bias"), f["dH"], f["padH"])
    if short == "SpatialFullConvolution":
        return F.conv_transpose2d(x, f["weight"], f.get("bias"), f["dH"], f["padH"])
    if short in ("SpatialBatchNormalization", "BatchNormalization"):
        shape = (1, -1) + (1, 1) * (x.ndim == 4)
        mean, var, gamma, beta = (f[k].view(shape) for k in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean) / torch.sqrt(var + f["eps"]) * gamma + beta
    if short == "Linear":
        return x.flatten(1) @ f["weight"].T + f["bias"]
    if short == "LSTM":
        blocks = x.reshape(len(x), steps, -1).numpy()
        return torch.from_numpy(lstm(layer.fields, blocks)).flatten(0, 1)
    other = {
        "Identity": lambda: x,
        "Contiguous": lambda: x,
        "View": lambda: x.reshape(len(x), *layer.fields["sizes"]) if "sizes" in layer.fields else x,
        "MulConstant": lambda: x * f["constant_scalar"],
        "JoinTable": lambda: torch.cat(x, 1),
        "ReLU": lambda: x.clamp(min=0),
        "LeakyReLU": lambda: torch.where(x > 0, x, x * f["negval"]),
        "Tanh": lambda: torch.tanh(x),
        "Sigmoid": lambda: torch.sigmoid(x),
        "Add": lambda: x + f["bias"],
    }
    return other[short]()


@pytest.fixture
def saved(lua, tmp_path):
    def save(networks):
        path = tmp_path / "birds_Stage1.t7"
        path.write_bytes(lua.dump(networks))
        return path

    return save


@pytest.fixture
def x():
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


def test_recurrent(lua, saved, x):
    networks = lua.Networks(0, width=4, channels=16).recurrent()
    model = import_torch7(saved(networks))
    config = model.config
    assert (config.latent, config.width, config.latent_channels, config.steps) == ("recurrent", 4, 16, 8)
    mean, h = run(networks[1], x.double(), 8)
    mean, log_variance = run(networks[3], [mean, h], 8)
    posterior = model.encode(x)
    torch.testing.assert_close(posterior.mean.double(), mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(posterior.log_variance.double(), log_variance.reshape(3, 16, 4, 4), atol=1e-4, rtol=1e-4)

    z = torch.randn(3, 16, 4, 4, generator=torch.Generator().manual_seed(2))
    u = run(networks[4], z.double(), 8).reshape(3, 16, 4, 4)
    torch.testing.assert_close(model.transform(z).double(), u, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.decode(z).double(), run(networks[2], u, 8), atol=1e-4, rtol=1e-4)
    assert model.decode(z).std() > 0.01


def test_dense(lua, saved, x):
    networks = lua.Networks(1, width=4, channels=16).dense()
    model = import_torch7(saved(networks))
    assert (model.config.latent, model.config.latent_channels, model.config.steps) == ("dense", 16, 8)
    mean, log_variance = run(networks[1], x.double(), 1)
    posterior = model.encode(x)
    torch.testing.assert_close(posterior.mean.double(), mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(posterior.log_variance.double(), log_variance, atol=1e-4, rtol=1e-4)
    z = torch.randn(3, 256, generator=torch.Generator().manual_seed(2))
    h = z.double() @ torch.from_numpy(networks[2].fields["modules"][1].fields["weight"]).double().T
    h = h + torch.from_numpy(networks[2].fields["modules"][1].fields["bias"]).double()
    x_hat = h.reshape(3, 32, 4, 4)
    for layer in list(networks[2].fields["modules"].values())[2:]:
        x_hat = run(layer, x_hat, 1)
    torch.testing.assert_close(model.decode(z).double(), x_hat, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("latent", ["dense", "convolutional", "recurrent"])
def test_digits(lua, saved, latent):
    """The 28x28 networks see images in [0, 1] and give probabilities (specification, section 6)."""
    networks = lua.Networks(8, width=2, channels=8, eps=1e-5).digits(latent)
    model = import_torch7(saved(networks))
    assert (model.config.latent, model.config.size, model.config.likelihood) == (latent, 28, "bernoulli")
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    mean, log_variance = run(networks[1], x.double(), 8)
    z = torch.randn(3, *model.latent_shape, generator=torch.Generator().manual_seed(2))
    u = z.double()
    if latent == "recurrent":
        mean, log_variance = run(networks[3], [mean, log_variance], 8)
        log_variance, u = log_variance.reshape(z.shape), run(networks[4], u, 8).reshape(z.shape)
    posterior = model.encode(2 * x - 1)
    torch.testing.assert_close(posterior.mean.double(), mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(posterior.log_variance.double(), log_variance, atol=1e-4, rtol=1e-4)
    if latent == "dense":
        first, _, *rest = networks[2].fields["modules"].values()
        h = run(first, u, 8).reshape(3, 16, 4, 4)
        for layer in rest:
            h = run(layer, h, 8)
    else:
        h = run(networks[2], u, 8)
    torch.testing.assert_close(model.decode(z).double(), 2 * h - 1, atol=1e-4, rtol=1e-4)


def test_full_size_has_the_specification_counts(lua, saved):
    """Section 8: 13,000,483 parameters in encoder and decoder at base width 32."""
    model = import_torch7(saved(lua.Networks(2, width=32).recurrent()))
    assert sum(p.numel() for p in model.parameters()) == 13_000_483
    assert model.latent_shape == (64, 4, 4)


def test_flattened_parameters(lua, saved):
    """getParameters() makes all parameters of a network views of one storage; the gradient buffers are in the file too."""
    networks = lua.Networks(3, width=2, channels=8).recurrent()
    before = import_torch7(saved(networks)).state_dict()
    for network in networks.values():
        layers = [network]
        arrays = []
        while layers:
            layer = layers.pop()
            layers += list(layer.fields.get("modules", {}).values())
            arrays += [(layer, name) for name in ("weight", "bias") if isinstance(layer.fields.get(name), np.ndarray)]
        flat = np.concatenate([layer.fields[name].reshape(-1) for layer, name in arrays] or [np.zeros(1, np.float32)])
        at = 0
        for layer, name in arrays:
            shape = layer.fields[name].shape
            layer.fields[name] = lua.View(flat, shape, at)
            layer.fields["grad" + name.title()] = lua.View(np.zeros(1, np.float32), (1,), 0)
            at += int(np.prod(shape))
    after = import_torch7(saved(networks)).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_mixed_epsilons_compute_the_same(lua, saved, x):
    """The baseline's first norms have an epsilon of their own (specification, section 2)."""
    networks = lua.Networks(4, width=2, channels=8, eps=1e-3).dense()
    norms = [layer for layer in networks[1].fields["modules"].values() if "Normalization" in layer.name]
    for norm in norms[:3]:
        norm.fields["eps"] = 1e-6
    model = import_torch7(saved(networks))
    mean, _ = run(networks[1], x.double(), 1)
    torch.testing.assert_close(model.encode(x).mean.double(), mean, atol=1e-4, rtol=1e-4)


def test_convolutions_without_bias(lua, saved, x):
    networks = lua.Networks(5, width=2, channels=8).recurrent()
    for layer in networks[1].fields["modules"].values():
        if layer.name == "cudnn.SpatialConvolution":
            del layer.fields["bias"]
    model = import_torch7(saved(networks))
    mean, _ = run(networks[1], x.double(), 8)
    torch.testing.assert_close(model.encode(x).mean.double(), mean, atol=1e-4, rtol=1e-4)


def test_command(lua, saved, tmp_path, capsys):
    path = saved(lua.Networks(6, width=2, channels=8).recurrent())
    assert main(["import-torch7", str(path), str(tmp_path / "out")]) == 0
    model = package.load(tmp_path / "out")
    assert torch.equal(model.sample(2, seed=3), import_torch7(path).sample(2, seed=3))
    body = json.loads((tmp_path / "out" / "config.json").read_text())
    assert body["recipe"] == "imported from birds_Stage1.t7"
    assert body["images"] == 0
    capsys.readouterr()
    assert main(["import-torch7", str(path), str(tmp_path / "out")]) == 2
    assert "already exists" in capsys.readouterr().err


def spoil(networks, lua, how):
    encoder = networks[1].fields["modules"]
    first = next(layer for layer in encoder.values() if layer.name == "cudnn.SpatialConvolution")
    if how == "not finite":
        first.fields["weight"][0, 0, 0, 0] = np.nan
    elif how == "stride":
        first.fields["dW"] = 1
    elif how == "slope":
        next(layer for layer in encoder.values() if layer.name == "nn.LeakyReLU").fields["negval"] = 0.2
    elif how == "unknown layer":
        encoder[1] = lua.Lua("nn.SpatialCrossMapLRN", {"size": 5})
    elif how == "missing layer":
        del encoder[len(encoder)]
    elif how == "cycle":
        encoder[1] = networks[1]
    elif how == "recurrence of another kind":
        networks[4].fields["modules"][2].fields["mode"] = "CUDNN_GRU"
    elif how == "padded recurrence":
        layer = networks[4].fields["modules"][2]
        layer.fields["weight"] = np.append(layer.fields["weight"], np.float32(0))
    elif how == "enormous":
        first.fields["nOutputPlane"] = 10**9
    elif how == "fractional":
        first.fields["nOutputPlane"] = 2.5
    elif how == "infinite":
        first.fields["nOutputPlane"] = float("inf")
    elif how == "old norm":
        norm = next(layer for layer in encoder.values() if "Normalization" in layer.name)
        norm.fields["running_std"] = norm.fields.pop("running_var")
    elif how == "no input size":
        networks[3].fields["modules"][2].fields["modules"][3].fields["inputSize"] = 0
    elif how == "a number for a network":
        networks[3] = 5
    elif how == "nothing":
        networks.clear()


SPOILT = {
    "not finite": "not finite",
    "stride": "stride",
    "slope": "slope 0.2",
    "unknown layer": "SpatialCrossMapLRN",
    "missing layer": "layers where",
    "cycle": "never end",
    "recurrence of another kind": "LSTM",
    "padded recurrence": "values where",
    "enormous": "less than or equal",
    "fractional": "whole number",
    "infinite": "whole number",
    "old norm": "running_var",
    "no input size": "steps",
    "a number for a network": "something else",
    "nothing": "no encoder",
}


@pytest.mark.parametrize(("how", "says"), SPOILT.items())
def test_unlike_networks_are_refused(lua, saved, tmp_path, capsys, how, says):
    networks = lua.Networks(7, width=2, channels=8).recurrent()
    spoil(networks, lua, how)
    path = saved(networks)
    with pytest.raises(UserError, match=says):
        import_torch7(path)
    assert main(["import-torch7", str(path), str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "out").exists()
