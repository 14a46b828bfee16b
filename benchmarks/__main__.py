"""`python -m benchmarks` (`make bench`): all measurements in one run, as one JSON document and one table.

    python -m benchmarks [--data data/emoji64] [--sections steps,latency] [--out runs/performance.json]

Sections: latency, memory, loader, growth, parallel, steps, and compile (not by default: it takes minutes).
Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import compiling, goals, growth, loader, parallel, steps
from crvae.devices import device_name
from crvae.files import write_text
from crvae.training.launch import devices


def main() -> None:
    parser = argparse.ArgumentParser(description="all speed measurements in one run")
    parser.add_argument("--data", default="data/emoji64", help="prepared 64-pixel dataset for the loader")
    parser.add_argument("--sections", default="latency,memory,loader,growth,parallel,steps")
    parser.add_argument("--out", default="runs/performance.json")
    parser.add_argument("--rounds", type=int, default=2, help="calls of each contestant, the fastest of which counts")
    parser.add_argument("--batch", type=int, default=128, help="of the training steps compared")
    options = parser.parse_args()
    rounds = options.rounds
    sections = {
        "latency": lambda: growth.latency(rounds),
        "memory": growth.memory,
        "loader": lambda: _loader(options.data),
        "growth": lambda: growth.growth(rounds),
        "parallel": lambda: parallel.measure(steps.RECURRENT, rounds),
        "steps": lambda: steps.measure(options.batch, rounds),
        "compile": lambda: compiling.measure(growth.SMALL, 5 * rounds),
    }
    chosen = options.sections.split(",")
    if unknown := [name for name in chosen if name not in sections]:
        parser.error(f"--sections must be among {', '.join(sections)}, got {', '.join(unknown)}")
    fabric, precision = devices("auto", deterministic=False)
    result: dict[str, Any] = {
        "device": device_name(fabric.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": precision,
    }
    for name in chosen:
        started = time.perf_counter()
        result[name] = sections[name]()
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    result["goals"] = goals.judged(result)
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, json.dumps(result, indent=1) + "\n")
    _print(result)


def _loader(data: str) -> dict[str, Any]:
    if not Path(data).exists():
        return {"skipped": f"{data} is not there: crvae prepare emoji {data}"}
    return {"data": data, **loader.rate(data, resident=False, images=5_000)}


def _print(result: dict[str, Any]) -> None:
    console = Console(width=140)
    console.print(f"{result['device']}, {result['threads']} threads, torch {result['torch']}", highlight=False)
    for section, content in result.items():
        if isinstance(content, dict):
            table = Table(section, "", box=box.SIMPLE_HEAD, title_justify="left")
            for name, value in _flat(content):
                table.add_row(name, value)
            console.print(table)
    table = Table("goal", "limit", "figure", "met", box=box.SIMPLE_HEAD)
    for row in result["goals"]:
        figure = "not measured" if row["figure"] is None else f"{row['figure']:.2f}"
        table.add_row(row["goal"], row["limit"], figure, "yes" if row["met"] else "no")
    console.print(table)


def _flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in content.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}: ")
        else:
            rows.append(
                (f"{prefix}{name}", f"{value:,.3g}" if isinstance(value, float) and value < 1000 else str(value))
            )
    return rows


if __name__ == "__main__":
    main()
