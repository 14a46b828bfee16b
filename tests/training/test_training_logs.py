"""Curves and pictures in TensorBoard and, offline, at Weights & Biases; a run that is resumed keeps its curves."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import struct
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import crvae
from crvae.cli import main
from crvae.errors import UserError
from crvae.training.logs import TensorBoard, WeightsAndBiases


def test_tensorboard_has_every_report_and_every_snapshot(trained):
    events = EventAccumulator(str(trained), {"images": 0, "scalars": 0}).Reload()
    reports = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    shown = {event.step: event.value for event in events.Scalars("reconstruction")}
    assert shown == {line["images"]: pytest.approx(line["reconstruction"]) for line in reports}
    assert f"kl_per_step/{len(reports[0]['kl_per_step'])}" in events.Tags()["scalars"]
    pictures = events.Images("samples")
    assert [picture.step for picture in pictures] == [96, 160]
    for picture in pictures:
        written = Image.open(trained / "samples" / f"{picture.step:012d}.png").convert("RGB")
        assert np.array_equal(Image.open(io.BytesIO(picture.encoded_image_string)), written)


def test_a_missing_package_is_said_before_anything_is_made(tmp_path, colour, tiny, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else found(name))
    args = ["train", "emoji-crvae-gan-mi", "--data", str(colour), "--out", str(tmp_path / "run"), *tiny]
    assert main([*args, "--train.log", "wandb"]) == 2
    with pytest.raises(UserError, match=r"pip install 'crvae\[wandb\]'"):
        crvae.train("emoji-crvae-gan-mi", colour, tmp_path / "run", train__log="wandb", train__batch=16)
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_start_says_how_to_continue(tmp_path, monkeypatch):
    class Wandb(types.ModuleType):
        Error, Settings = ConnectionError, dict

        def init(self, **_: object) -> None:
            raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "wandb", Wandb("wandb"))
    folder = tmp_path / "a run"
    with pytest.raises(UserError, match=rf"\(no network\).*crvae train --resume '{folder}'$"):
        WeightsAndBiases(folder, {})


def records(file: Path) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    data, at, record = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def history(folder: Path) -> list[dict[str, object]]:
    """What was logged, one dictionary each, over all processes that trained the run."""
    from wandb.proto import wandb_internal_pb2 as messages

    found = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in records(file):
            record = messages.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                items = {(item.key or ".".join(item.nested_key)): item.value_json for item in record.history.item}
                found.append({key: json.loads(value) for key, value in items.items()})
    return found


def test_weights_and_biases_offline(tmp_path, colour, tiny):
    pytest.importorskip("wandb")
    run = tmp_path / "run"
    environment = os.environ | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "crvae",
        "train",
        "emoji-crvae-gan-mi",
        "--data",
        str(colour),
        "--out",
        str(run),
        *tiny,
    ]
    first = subprocess.Popen([*command, "--train.log", "wandb", "--train.images", "100000"], env=environment)
    while not (run / "samples" / "000000000096.png").exists():
        assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 143
    reached = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["images"]
    resumed = [sys.executable, "-m", "crvae", "train", "--resume", str(run), "--train.images", str(reached + 160)]
    subprocess.run(resumed, env=environment, check=True)
    logged = history(run)
    reports = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    curve = {line["images"]: line["reconstruction"] for line in logged if "reconstruction" in line}
    assert curve == {line["images"]: pytest.approx(line["reconstruction"]) for line in reports}
    grids = [line["images"] for line in logged if any(key.startswith("samples") for key in line)]
    assert {f"{images:012d}.png" for images in grids} == {path.name for path in (run / "samples").iterdir()}
    names = {path.name.rsplit("-", 1)[1] for path in run.glob("wandb/offline-run-*")}
    assert len(names) == 1, "the run that is resumed is the same run there"


def test_a_log_that_goes_on_keeps_what_was_said_of_the_images_seen(tmp_path):
    for seen, reports in ((0, (1000, 2000, 3000, 4000)), (3000, (4000,))):
        log = TensorBoard(tmp_path, seen)
        for images in reports:
            log.scalars({"loss": images + seen}, images)
        log.close()
    events = EventAccumulator(str(tmp_path), {"scalars": 0}).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(1000, 1000), (2000, 2000), (3000, 3000), (4000, 7000)]
