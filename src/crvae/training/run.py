"""A run folder: created whole, locked while it is trained, read back for resuming."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any

import torch
import yaml
from pydantic import BaseModel, ValidationError

from crvae.config.base import FORMAT, check_format
from crvae.devices import device_name
from crvae.errors import UserError, brief, reason
from crvae.files import append_line, new_folder, put_back, write_text
from crvae.storage.folders import check_begun
from crvae.workplace import lock

CONFIG_LIMIT = 1 << 18
"""A larger config.yaml or environment.json is refused, in bytes."""

DEPTH_LIMIT = 16

LARGEST = 1 << 53
"""A line of metrics.jsonl with a larger number of images, seconds or images a second is not ours."""


def check_new_run(folder: str | Path) -> None:
    """Raises UserError if there is something under the name of a new run."""
    if os.path.exists(folder):
        begun = os.path.isfile(os.path.join(folder, "config.yaml"))
        advice = (
            f", or continue that run: crvae train --resume {quote(str(folder))}" if begun else ", or remove it first"
        )
        raise UserError(f"--out {folder} already exists. Choose another folder{advice}")


class Run:
    """One run's folder. `create` makes a new one, `open` takes an old one; both hold its lock until `release`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.samples = folder / "samples"
        self.model = folder / "model"
        self.metrics = folder / "metrics.jsonl"
        self._lock: Any = None

    @classmethod
    def create(
        cls, folder: Path, config: BaseModel, environment: dict[str, Any], fill: Callable[[Path], None] | None = None
    ) -> Run:
        """Makes `folder` with config.yaml, environment.json and what `fill` writes into it, all of it at once.

        Raises UserError if it exists or cannot be made.
        """
        check_new_run(folder)
        with new_folder(folder, begun=True) as temporary:
            cls(temporary).configure(config)
            write_text(temporary / "environment.json", json.dumps(environment, indent=2) + "\n")
            for name in ("checkpoints", "samples"):
                (temporary / name).mkdir()
            if fill is not None:
                fill(temporary)
        run = cls(folder)
        run.lock()
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Opens a run to resume it. Raises UserError if it is not a run, or if another process trains it."""
        check_begun(folder)
        run = cls(folder)
        run.lock()
        for left in (*folder.glob(".*.tmp"), *run.samples.glob(".*.tmp")):  # by a process that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        put_back(run.model)
        if not run.samples.exists():
            run.samples.mkdir()
        return run

    def lock(self) -> None:
        """Takes the run for this process until `release`. Raises UserError if another one has it."""
        try:
            self._lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise UserError(f"{self.folder} cannot be written to: {reason(error)}") from None
        busy = f"{self.folder} is being trained by another process. Wait for it, or stop it"
        lock(self._lock.fileno(), self.folder, busy, "do not train it twice at once")

    def release(self) -> None:
        """Gives the lock back: another process, or this one, can train the run again."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def configure(self, config: BaseModel) -> None:
        """Writes config.yaml."""
        write_text(self.folder / "config.yaml", yaml.safe_dump(config.model_dump(), sort_keys=False))

    def config(self, kinds: dict[int, type[BaseModel]]) -> Any:
        """The configuration as the class that `kinds` names for its stage. Raises UserError if it does not validate."""
        path = self.folder / "config.yaml"
        try:
            body = yaml.load(_text(path), _PlainLoader)
        except UserError:
            raise
        except Exception as error:  # PyYAML's constructors raise all sorts for malformed scalars
            raise UserError(f"{path} cannot be read: {brief(error)}") from None
        check_format(body, path)
        stage = body.get("stage")
        if type(stage) is not int or stage not in kinds:
            raise UserError(f"{path}: stage must be one of {sorted(kinds)}, got {stage!r}")
        try:
            return kinds[stage].model_validate(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))  # the file's own names: they may be anything
            raise UserError(f"{path}: {brief(where) + ': ' if where else ''}{first['msg']}") from None

    def environment(self) -> dict[str, Any]:
        """environment.json: what the run is trained under, and in the list `before` what it was earlier, as `settle` keeps it.

        Raises UserError if it cannot be used.
        """
        path = self.folder / "environment.json"
        try:
            about = json.loads(_text(path))
            needed = _circumstances(about)
            for earlier in about.get("before", []):
                needed += [(earlier["images"], int), *_circumstances(earlier)]
        except UserError:
            raise
        except FileNotFoundError:
            raise UserError(
                f"{path} is missing, which says what the run is trained on. Put it back from a copy: without it the run can be"
                f" neither resumed nor exported, but {self.model} can be used as it is"
            ) from None
        except Exception as error:
            raise UserError(f"{path} cannot be read: {brief(error)}") from None
        if any(type(value) is not kind for value, kind in needed):
            raise UserError(f"{path} does not say what the run was created under: put the original back")
        return about

    def check_exact(self, now: dict[str, Any]) -> None:
        """Raises UserError if the data, world and precision `now` are not those of environment.json."""
        about, place = self.environment(), now["data"]["path"]
        changed = [
            f"{place} is not the run's dataset" if name == "data" else f"{name} was {about[name]}, is now {now[name]}"
            for name in circumstances_differ(about, now)
        ]
        if changed:
            raise UserError(
                f"{self.folder} cannot be resumed exactly: {'; '.join(changed)}. Pass --inexact to resume anyway"
            )

    def settle(self, now: dict[str, Any], images: int) -> None:
        """Writes to environment.json the data, world and precision (`now`) under which the run continues after `images` seen.

        Earlier ones stay in its list `before`; the same dataset in another place only gets its new path.
        """
        about = self.environment()
        old = {name: about[name] for name in now}
        if old == now:
            return
        if circumstances_differ(old, now):
            about["before"] = [*about.get("before", []), {"images": images, **old}]
        write_text(self.folder / "environment.json", json.dumps(about | now, indent=2) + "\n")

    def reports(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that are whole and hold numbers where there must be some; others, as a kill or a full
        disk tears them, are passed over."""
        found = []
        if self.metrics.is_file():
            for line in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    report = json.loads(line)
                    numbers = report["images"], report["seconds"], report.get("images_per_second", 0)
                except (ValueError, LookupError, TypeError, RecursionError):
                    continue
                if all(type(number) in (int, float) and 0 <= number <= LARGEST for number in numbers):
                    found.append(report)
        return found

    def forget_after(self, images: int) -> None:
        """Drops the reports and the snapshots of a future that a resumed run will live again."""
        kept = [json.dumps(line) + "\n" for line in self.reports() if line["images"] <= images]
        write_text(self.metrics, "".join(kept))
        for grid in self.samples.glob("*.png"):
            if grid.stem.isdecimal() and int(grid.stem) > images:
                grid.unlink()

    def report(self, line: dict[str, Any]) -> None:
        append_line(self.metrics, json.dumps(line))


class _PlainLoader(yaml.SafeLoader):
    """YAML as we write it: without aliases, which unfold to any size, and shallow, since reading deep nests takes for ever."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds a YAML alias, which no configuration needs")
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise yaml.YAMLError(f"it is nested deeper than {DEPTH_LIMIT} levels, which no configuration is")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def circumstances_differ(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Names of what is not the same: `data` (by its fingerprint, wherever it lies), `world`, `precision`."""
    same = {
        "data": old["data"]["fingerprint"] == new["data"]["fingerprint"],
        "world": old["world"] == new["world"],
        "precision": old["precision"] == new["precision"],
    }
    return [name for name in same if not same[name]]


def _circumstances(about: dict[str, Any]) -> list[tuple[Any, type]]:
    """The values that environment.json must have, each with its type."""
    data = about["data"]
    return [(about["world"], int), (about["precision"], str), (data["path"], str), (data["fingerprint"], str)]


def unsaid(config: BaseModel, before: str = "") -> list[str]:
    """What the file of a configuration does not say, and how it was taken: `objective.kl_early: taken as 0.0003`."""
    found = []
    for name, value in config:
        if name not in config.model_fields_set:
            taken = "its defaults" if isinstance(value, BaseModel) else repr(value)
            found.append(f"{before}{name}: taken as {taken}")
        elif isinstance(value, BaseModel):
            found += unsaid(value, f"{before}{name}.")
    return found


def _text(path: Path) -> str:
    if path.stat().st_size > CONFIG_LIMIT:
        raise UserError(f"{path} is larger than {CONFIG_LIMIT} bytes and cannot be a run's file")
    return path.read_text(encoding="utf-8")


def environment(data: str, fingerprint: str, world: int, precision: str, device: torch.device) -> dict[str, Any]:
    """What a later reader needs to make sense of a run's numbers, and a resume to be exact."""
    return {
        "format": FORMAT,
        "data": {"path": data, "fingerprint": fingerprint},
        "world": world,
        "precision": precision,
        "device": str(device),
        "processor": device_name(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "commit": _commit(),
        "command": " ".join(sys.argv[1:]),
    }


def _commit() -> str | None:
    """The git commit of the source tree that this package runs from, where it runs from one."""
    here = Path(__file__).parent
    try:
        out = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return out.stdout.strip() or None
