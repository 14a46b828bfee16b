"""The channel recurrence of section 3.2 written out gate by gate, time step by time step."""

from __future__ import annotations

import torch
from torch import Tensor


def cell(x: Tensor, h: Tensor, c: Tensor, weights: dict[str, Tensor], layer: int) -> tuple[Tensor, Tensor]:
    """One LSTM cell: gates in the order input, forget, candidate, output."""
    gates = (
        x @ weights[f"weight_ih_l{layer}"].T
        + weights[f"bias_ih_l{layer}"]
        + h @ weights[f"weight_hh_l{layer}"].T
        + weights[f"bias_hh_l{layer}"]
    )
    n = h.shape[1]
    i, f, g, o = gates[:, :n], gates[:, n : 2 * n], gates[:, 2 * n : 3 * n], gates[:, 3 * n :]
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def recurrence(
    x: Tensor, steps: int, lstm: dict[str, Tensor], layers: int, weight: Tensor, bias: Tensor, norm: dict | None = None
) -> Tensor:
    """`b c h w -> b c' h w`. `norm` holds batch norm's weight, bias, running_mean, running_var and eps (evaluation)."""
    b, channels, height, width = x.shape
    hidden = lstm["weight_hh_l0"].shape[1]
    h = [torch.zeros(b, hidden, dtype=x.dtype) for _ in range(layers)]
    c = [torch.zeros(b, hidden, dtype=x.dtype) for _ in range(layers)]
    out = []
    share = channels // steps
    for t in range(steps):
        value = torch.stack([x[i, t * share : (t + 1) * share].flatten() for i in range(b)])
        for layer in range(layers):
            h[layer], c[layer] = cell(value, h[layer], c[layer], lstm, layer)
            value = h[layer]
        if norm is not None:
            scale = norm["weight"] / torch.sqrt(norm["running_var"] + norm["eps"])
            value = (value - norm["running_mean"]) * scale + norm["bias"]
        value = value @ weight.T + bias
        out.append(value.view(b, -1, height, width))
    return torch.cat(out, 1)
