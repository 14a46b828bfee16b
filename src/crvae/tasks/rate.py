"""Rate and distortion after each block: what the first t blocks of a .crz file cost, and how near they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from crvae.extras import require
from crvae.models.model import Model, steps_of
from crvae.pictures import from_8_bit, to_8_bit
from crvae.progress import Progress, silent
from crvae.tasks.attributes import Classify, classified
from crvae.tasks.codec import Codec
from crvae.tasks.crz_file import unpack
from crvae.tasks.profiling import Distance, check_several, interval, posterior_of
from crvae.tasks.traversal import decode_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]
NAMES = {
    "nats": "nats",
    "bytes": "bytes",
    "psnr": "PSNR, dB",
    "distance": "LPIPS-style distance",
    "attributes": "attributes as in the image",
}


@torch.no_grad()
def rate(
    model: Model,
    x: Float[Tensor, "b c h w"],
    distance: Distance | None = None,
    values: Classify | None = None,
    progress: Progress = silent,
) -> list[Row]:
    """For t = 0..T a row: `blocks`, and as {"mean", "low", "high"} over images with a 95% interval

    `nats` (KL divergence of the first t blocks from the prior), `bytes` (.crz files of the finest quality, cut after block t),
    `psnr` (decibels, of 8-bit pixels: decoded from those bytes, the other blocks at the prior's mean), `distance`, and `attributes`
    (the share of attributes of which `values` sees what it sees in the image). Raises UserError for fewer than two images.
    """
    check_several(x)
    steps, codec = steps_of(model), Codec(model)
    posterior = posterior_of(model, x)
    kl = model.prior.kl(posterior, per_image=True, generator=torch.Generator(model.device).manual_seed(0)).cpu()
    files = codec.compress(posterior)
    sizes = [unpack(data, "the file").sizes() for data in files]
    z = torch.cat([codec.latents(data, "the file")[0] for data in files]).to(model.device)
    there = torch.tensor([len(size) - 1 for size in sizes], device=model.device)
    original, rows = to_8_bit(x), []
    truth = {} if values is None else classified(values, x)
    for t in range(steps + 1):
        progress("decoding", t, steps + 1)
        shown = to_8_bit(decode_all(model, model.prior.mean_fill(z, there.clamp_max(t))))
        size = torch.tensor([size[min(t, len(size) - 1)] for size in sizes])
        row: Row = {
            "blocks": t,
            "nats": interval(kl[:, :t].sum(1)),
            "bytes": interval(size.float()),
            "psnr": interval(psnr(shown, original)),
        }
        if distance is not None:
            row["distance"] = interval(distance(shown, original))
        if values is not None:
            seen = classified(values, from_8_bit(shown))
            same = torch.stack([seen[name] == value for name, value in truth.items()])
            row["attributes"] = interval(same.float().mean(0))
        rows.append(row)
    progress("decoding", steps + 1, steps + 1)
    return rows


def psnr(one: Tensor, other: Tensor) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio of 8-bit images `b c h w`, in decibels; 100 for equal ones."""
    error = (one.float() - other.float()).square().flatten(1).mean(1)
    return (10 * torch.log10(255**2 / error)).clamp_max(100)


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table of means."""
    shown = [name for name in NAMES if name in rows[0]]
    digits = {"nats": 1, "bytes": 1, "psnr": 2, "distance": 4, "attributes": 3}
    lines = ["| blocks | " + " | ".join(NAMES[name] for name in shown) + " |", "|---:" * (len(shown) + 1) + "|"]
    for row in rows:
        values = (f"{row[name]['mean']:.{digits[name]}f}" for name in shown)
        lines.append(f"| {row['blocks']} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def plot(rows: list[Row], title: str) -> Figure:
    """Each distortion over bytes; every point is a block, with its number. Raises UserError if matplotlib is missing."""
    require("the plot", "matplotlib")
    from matplotlib.figure import Figure

    shown = [name for name in NAMES if name in rows[0] and name not in ("nats", "bytes")]
    figure = Figure(figsize=(5 * len(shown), 4), layout="constrained")
    figure.suptitle(title)
    size = [row["bytes"]["mean"] for row in rows]
    for axis, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        values = [row[name] for row in rows]
        means = [v["mean"] for v in values]
        bounds = [[v["mean"] - v["low"] for v in values], [v["high"] - v["mean"] for v in values]]
        axis.errorbar(size, means, yerr=bounds, marker="o", capsize=3)
        beside = (5, 5) if name == "distance" else (5, -11)  # off the line, which falls or rises
        for row, x, y in zip(rows, size, means, strict=True):
            axis.annotate(str(row["blocks"]), (x, y), fontsize=8, xytext=beside, textcoords="offset points")
        axis.set(xlabel="bytes an image, after so many blocks", ylabel=f"{NAMES[name]} (95% interval)")
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=None if name == "psnr" else 0)
    return figure
