"""Scaling on paper: `python -m benchmarks.scaling [--images-per-second R]` prints where data parallelism stops paying.

Every step, each side's fp32 gradients are averaged by a ring all-reduce: of G bytes, each of n devices sends 2 (n - 1) / n G.
Without overlap a step of b images a device takes b / R + 2 (n - 1) / n G / B seconds at R images/s and B bytes/s; efficiency is the
first term's share. DDP overlaps most of the transfer with the backward pass, so these are lower bounds.
"""

from __future__ import annotations

import argparse

from benchmarks.steps import RECURRENT, stage1
from crvae.evaluation.cost import parameters

LINKS = {"10 Gbit/s Ethernet": 1.25e9, "100 Gbit/s": 12.5e9, "PCIe 4 x16": 25e9, "NVLink": 300e9}
"""Bytes/s in one direction, as their makers state them."""
WORTHWHILE = 0.8


def sent(devices: int, gradient_bytes: int) -> float:
    """Bytes that each device sends for one all-reduce of all gradients."""
    return 2 * (devices - 1) / devices * gradient_bytes


def efficiency(batch: float, rate: float, devices: int, gradient_bytes: int, bandwidth: float) -> float:
    """Share of a step that is computing."""
    computing = batch / rate
    return computing / (computing + sent(devices, gradient_bytes) / bandwidth)


def smallest_batch(rate: float, devices: int, gradient_bytes: int, bandwidth: float) -> float:
    """Images a device from which on efficiency is at least WORTHWHILE."""
    return WORTHWHILE / (1 - WORTHWHILE) * rate * sent(devices, gradient_bytes) / bandwidth


def main() -> None:
    parser = argparse.ArgumentParser(description="where data parallelism stops paying, calculated")
    parser.add_argument("--images-per-second", type=float, nargs="+", default=[22, 1_000, 5_000], help="of one device")
    options = parser.parse_args()
    counts = parameters(stage1(RECURRENT))
    gradients = 4 * (counts["autoencoder"] + counts["discriminator"] + counts["latent_head"])
    print(f"{RECURRENT}: {gradients / 1e6:.1f} MB of gradients a step")
    print(
        "| images/s a device | devices | link | efficiency, 128 a device | 16 a device | least images a device for 80% |"
    )
    print("|---|---|---|---|---|---|")
    for rate in options.images_per_second:
        for devices in (8, 64):
            for link, bandwidth in LINKS.items():
                shares = [efficiency(batch, rate, devices, gradients, bandwidth) for batch in (128, 16)]
                least = smallest_batch(rate, devices, gradients, bandwidth)
                print(
                    f"| {rate:,.0f} | {devices} | {link} | {shares[0]:.0%} | {shares[1]:.0%} | {max(1, round(least)):,} |"
                )


if __name__ == "__main__":
    main()
