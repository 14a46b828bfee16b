"""Every command that writes, and those that work long and write nothing, as they are typed.

RUN, PICTURES … stand for what `tests/commands/conftest.py` makes, OUT for a folder that is empty at first.
"""

from __future__ import annotations

PRIOR = "--prior.kind flow --prior.flow.width 8 --prior.batch 16 --prior.images 64 --prior.checkpoint-images 32"

WRITING = {
    "sample": "sample RUN --count 3 --out OUT/new",
    "sample, a picture": "sample RUN --count 64 --out OUT/grid.png",
    "reconstruct": "reconstruct RUN --data PICTURES --out OUT/pairs.webp",
    "complete": "complete RUN --images PICTURES --mask upper --restarts 1 --steps 1 --count 8 --out OUT/new",
    "traverse": "traverse RUN progressive --count 2 --out OUT/walk.gif",
    "traverse profile": "traverse RUN profile --images PICTURES --count 8 --out OUT/profile.png",
    "traverse rate": "traverse RUN rate --data PICTURES --count 8 --out OUT/new",
    "upscale": "upscale RUN2 --images PICTURES --count 4 --out OUT/new",
    "encode": "encode RUN --images PICTURES OUT/z.safetensors",
    "encode crz": "encode RUN --images PICTURES OUT/new --format crz --count 8",
    "decode": "decode LATENTS --out OUT/new",
    "decode crz": "decode CRZ --run RUN --out OUT/new",
    "export": "export RUN OUT/new",
    "prepare": "prepare PICTURES OUT/new --size 32 --workers 1",
    "inspect": "prepare --inspect DATA --sheet OUT/sheet.png",
    "classifier": "classifier CLASSES --backbone small --epochs 1 --out OUT/new",
    "compare": "compare PICTURES --data DATA --split train --images 24 --scores kid --out OUT/new",
    "import-torch7": "import-torch7 TORCH7 OUT/new",
    "study create": "study create --runs RUN PICTURES --task sample --pairs 2 --out OUT/new",
    "study report": "study report STUDY --out OUT/new",
    "train": f"train emoji-crvae-gan-mi --data DATA --out OUT/new TINY {PRIOR}",
    "train Stage2": "train emoji-stage2-128-plain --stage1 RUN --data PAIR --out OUT/new TINY2",
    "prior": f"prior OUT/run {PRIOR}",
}
"""Commands that write, each with everything that it needs; `prior` changes a run that lies in OUT."""

READING = {
    "evaluate": "evaluate RUN --data DATA --split train --images 24 --scores kl,reconstruction",
    "cost": "cost emoji-vae --quick --limit 5",
    "recipes": "recipes --all",
}
"""Commands that write nothing but what they print."""

RESUMED = ("train", "train Stage2", "prior")
"""They leave a run under its final name, whole, with which `crvae train --resume` goes on."""

CONTINUED = ("prepare", "complete")
"""They keep what is done under a hidden name, and the same command goes on there."""

NEW = [kind for kind in WRITING if kind != "prior"]
"""They make something new in OUT."""
