"""How fast `crvae prepare` is, how much memory it takes, and whether a killed one ends with the same bytes.

    python benchmarks/preparation.py --images 100000 --workers 1

draws that many JPEG files of 178x218 pixels (the size of CelebA's aligned images) and 100 unusable ones in 10 class
folders, prepares them at 64 pixels in one go, once more with a SIGKILL half-way, and compares the two outputs byte by
byte. Prints one JSON document; on a machine that others use, `images_per_cpu_second` is the figure to read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image


def draw(folder: Path, images: int) -> None:
    """Blurred colour noise under a sharper patch of it: JPEG files of about 9 kB, no two alike."""
    if (folder / "complete").exists():
        return
    random = np.random.default_rng(0)
    for i in range(images):
        path = folder / f"class {i % 10}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (7, 6, 3), dtype=np.uint8)).resize((178, 218), 3)
        fine = Image.fromarray(random.integers(0, 256, (30, 24, 3), dtype=np.uint8)).resize((90, 110), 3)
        coarse.paste(fine, (44, 54))
        coarse.save(path, quality=90)
    good = (folder / "class 0" / "000000.jpg").read_bytes()
    for i in range(100):
        broken = (b"", good[: 50 + 7 * i], b"\x00" * 100, good[:600] + random.bytes(300))[i % 4]
        (folder / f"class {i % 10}" / f"broken {i}.jpg").write_bytes(broken)
    (folder / "complete").touch()


def memory(pid: int) -> int:
    """Resident bytes of a process and all below it, shared pages counted once (PSS)."""
    total, todo = 0, [pid]
    while todo:
        process = todo.pop()
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += 1024 * int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
            todo += map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
        except (OSError, TypeError):
            continue
    return total


def prepare(folder: Path, out: Path, workers: int, kill_at: int | None = None) -> dict[str, float]:
    """One run of the real command; killed with all its processes once `kill_at` runs have their receipt."""
    command = [
        sys.executable,
        "-m",
        "crvae",
        "prepare",
        str(folder),
        str(out),
        "--size",
        "64",
        "--workers",
        str(workers),
    ]
    started, samples = time.perf_counter(), []
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            samples.append(memory(process.pid))
            if kill_at and len(list((out.parent / f".{out.name}.preparing").glob("chunk-*.json"))) >= kill_at:
                os.killpg(process.pid, signal.SIGKILL)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    done.set()
    watcher.join()
    quarter = max(1, len(samples) // 4)
    return {
        "exit": process.returncode,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(max(samples, default=0) / 2**20),
        "peak_mib_first_quarter": round(max(samples[:quarter], default=0) / 2**20),
        "peak_mib_last_quarter": round(max(samples[-quarter:], default=0) / 2**20),
    }


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to draw the images, and to find them drawn the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch, "source")
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder, options.images)
        whole = prepare(folder, Path(scratch, "whole"), options.workers)
        half = options.images // 2048 // 2
        killed = prepare(folder, Path(scratch, "again"), options.workers, kill_at=half)
        left = len(list(Path(scratch, ".again.preparing").glob("chunk-*.json")))
        finished = prepare(folder, Path(scratch, "again"), options.workers)
        card = json.loads(Path(scratch, "whole", "card.json").read_text())
        result = {
            "images": options.images,
            "workers": options.workers,
            "images_per_second": round(options.images / whole["seconds"]),
            "images_per_cpu_second": round(options.images / whole["cpu_seconds"]),
            "skipped": len(card["skipped"]),
            "whole": whole,
            "killed": killed | {"runs_done": left},
            "finished": finished,
            "identical": digest(Path(scratch, "whole")) == digest(Path(scratch, "again")),
            "load_average": os.getloadavg()[0],
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
