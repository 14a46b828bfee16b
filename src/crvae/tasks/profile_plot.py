"""The plot of a profile: what each time step carries, on one page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crvae.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONT, LINE, CHARACTER = 8, 10, 5.2
"""Of the numbers beside points, in points: size, height of a line, width of a character."""


def plot(profile: dict[str, Any], title: str) -> Figure:
    """What `crvae.tasks.profile` returned, as a plot. Raises UserError if matplotlib is missing."""
    require("the plot", "matplotlib")
    from matplotlib.figure import Figure

    steps = range(1, profile["steps"] + 1)
    resampled, first, bands = profile["resampled"], profile["first_blocks"], profile["bands"]
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    figure.suptitle(f"{title}: {profile['images']} images")
    axes = figure.subplots(2, 3).ravel()

    axes[0].bar(steps, profile["kl"], color="tab:grey")
    axes[0].set(title="KL divergence of block t", ylabel="nats an image")

    _bars(axes[1], steps, resampled["change"])
    axes[1].set(title="change when block t is redrawn (95% interval)", ylabel="mean squared, images in [-1, 1]")

    shares = [[part["mean"] / max(total["mean"], 1e-12) for part in parts]
              for parts, total in zip(resampled["bands"], resampled["change"], strict=True)]  # fmt: skip
    bottom = [0.0] * len(shares)
    colours = _shades(len(bands))
    for index, band in enumerate(bands):
        values = [share[index] for share in shares]
        axes[2].bar(steps, values, bottom=bottom, color=colours[index], label=band)
        bottom = [b + v for b, v in zip(bottom, values, strict=True)]
    axes[2].set(title="that change by spatial frequency", ylabel="share")
    axes[2].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))

    if "perceptual" in resampled:
        _bars(axes[3], steps, resampled["perceptual"], "tab:blue")
        axes[3].set_ylabel("LPIPS-style distance", color="tab:blue")
    if "label" in resampled:
        other = axes[3].twinx()
        _bars(other, [t + 0.2 for t in steps], resampled["label"], "tab:red")
        other.set_ylabel("share of labels that change", color="tab:red")
    axes[3].set_title("perceived change, likewise")

    axes[4].plot(first["rate"], first["error"], marker="o", color="tab:green")
    axes[4].margins(0.12)  # room for the first and the last label
    axes[4].set(
        title="first t blocks alone; beside each point: t", xlabel="rate, nats an image", ylabel="reconstruction error"
    )

    for index, band in enumerate(bands):
        values = [math.nan if (value := part[index]) is None else value for part in first["unexplained"]]
        axes[5].plot(range(len(values)), values, marker=".", color=colours[index], label=band)
    axes[5].set(
        title="first t blocks alone, by frequency", xlabel="t", ylabel="error relative to the mean image's", ylim=(0, 2)
    )
    for axis in axes[:4]:
        axis.set_xlabel("time step t")
        axis.set_xticks(list(steps))
        axis.title.set_fontsize(10)
    for axis in axes[4:]:
        axis.title.set_fontsize(10)
    figure.draw_without_rendering()  # puts the axes in their places
    _number(axes[4], first["rate"], first["error"])
    return figure


def _number(axis: Any, x: list[float], y: list[float]) -> None:
    """Writes the numbers of points, from 0, beside them. Points that lie too close for that share a label: `6-8`."""
    points = axis.transData.transform(list(zip(x, y, strict=True))) * 72 / axis.figure.dpi
    groups: list[list[int]] = []
    for t, (across, up) in enumerate(points):
        if groups:
            left, height = points[groups[-1][0]]
            width = CHARACTER * (len(_range(groups[-1])) + 0.5)
            if -width < across - left < width and abs(up - height) < LINE:
                groups[-1].append(t)
                continue
        groups.append([t])
    for group in groups:
        place = (x[group[0]], y[group[0]])
        axis.annotate(_range(group), place, fontsize=FONT, xytext=(3, 4), textcoords="offset points")


def _range(group: list[int]) -> str:
    return str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}"


def _bars(axis: Any, places: Any, values: list[dict[str, float]], colour: str = "tab:blue") -> None:
    means = [value["mean"] for value in values]
    errors = [[v["mean"] - v["low"] for v in values], [v["high"] - v["mean"] for v in values]]
    axis.errorbar(list(places), means, yerr=errors, fmt="o", capsize=3, color=colour)
    axis.set_ylim(bottom=0)


def _shades(count: int) -> list[tuple[float, ...]]:
    """Dark for the lowest frequency, light for the highest."""
    from matplotlib import colormaps

    return [colormaps["viridis"](index / max(1, count - 1)) for index in range(count)]
