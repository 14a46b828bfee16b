"""SHA-256 of tensors, pictures and numbers: of what they say, not of the files that hold them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from PIL import Image


def of_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def of_pictures(folder: Path) -> str:
    """SHA-256 of the names and pixels of all PNG files below a folder, or of one file."""
    digest = hashlib.sha256()
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.png"))
    assert files, f"{folder} has no pictures"
    for file in files:
        with Image.open(file) as picture:
            digest.update(f"{file.relative_to(folder)} {picture.mode} {picture.size}\n".encode() + picture.tobytes())
    return digest.hexdigest()


def of_numbers(numbers: object) -> str:
    """SHA-256 of numbers in lists and dictionaries, to the last bit."""
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()
