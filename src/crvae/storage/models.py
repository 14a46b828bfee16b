"""From what a user types as RUN to a model that is ready to use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from crvae.config.prior import NormalPriorConfig
from crvae.config.stage1 import DiscriminatorConfig, ModelConfig
from crvae.config.stage2 import UpsamplerConfig
from crvae.devices import best_device
from crvae.errors import UserError
from crvae.models.autoencoder import Autoencoder
from crvae.models.discriminator import Discriminator
from crvae.models.discriminators import build_discriminator
from crvae.models.model import Model, stage1_of
from crvae.models.origin import Origin
from crvae.models.prior import NormalPrior, Prior
from crvae.models.priors import PRIORS, build_prior
from crvae.models.upsampler import Upsampler
from crvae.storage.folders import PREFIX, WhichPrior, check_name, check_prior, local_folder
from crvae.storage.hub import fetched
from crvae.storage.weights import load_weights, parse_part, read_config, save_config, save_weights, skeleton


def model_folder(name: str | Path) -> Path:
    """The folder that holds config.json: of a run, an exported folder, a built-in model or, as hub:owner/name, a hub model.

    Raises UserError if `name` is none of these, or a run that has not written a model yet.
    """
    check_name(name)
    return fetched(str(name)) if str(name).startswith(PREFIX) else local_folder(name)


def load(name: str | Path, device: str | torch.device = "cpu", prior: WhichPrior = "own") -> Model:
    """The model of a run, an exported folder, a built-in name or hub:owner/name, with averaged weights, in evaluation mode.

    Stage1's is an Autoencoder; Stage2's an Upsampler, with its Stage1 inside and the same methods, for large images.
    `prior` "normal" puts N(0, I) in the place of a learned prior. The weights take no gradient: to fine-tune a model, call
    `model.requires_grad_().train()`.

    Raises UserError if it cannot be found, if its files are not exactly what its configuration needs, or if this machine
    lacks the device.
    """
    check_prior(prior)
    device = present(device)
    folder = model_folder(name)
    body = read_config(folder)
    model: Model
    if body.get("stage") == 2:
        upsampler, small = (
            parse_part(folder, body, *part) for part in (("model", UpsamplerConfig), ("stage1", ModelConfig))
        )
        model = skeleton(folder, lambda: Upsampler(upsampler, Autoencoder(small)))
    else:
        config = parse_part(folder, body, "model", ModelConfig)
        model = skeleton(folder, lambda: Autoencoder(config))
    load_weights(folder / "model.safetensors", model)
    stage1 = stage1_of(model)
    if prior == "own":
        stage1.prior = load_prior(folder, body, stage1)
    else:
        stage1.prior = stand_in = normal_prior(stage1)
        stand_in.stands_in = True
    model.origin = _origin(str(name), body)
    return model.to(device, torch.float32).eval().requires_grad_(False)


def present(device: str | torch.device) -> torch.device:
    """`device` as torch has it. Raises UserError if there is none of that name, or this machine lacks it."""
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError):
        here = " or ".join(dict.fromkeys((best_device().type, "cpu")))
        raise UserError(f"device must be one that this machine has, {here}, got {str(device)!r}") from None
    return found


def _origin(name: str, body: dict[str, Any]) -> Origin | None:
    """What config.json says of a model's training, if it does."""
    recipe, images = body.get("recipe"), body.get("images")
    return Origin(name, recipe, images) if isinstance(recipe, str) and type(images) is int else None


def normal_prior(model: Autoencoder) -> NormalPrior:
    """N(0, I) over the latents of `model`, on the processor."""
    return NormalPrior(NormalPriorConfig(), model.latent_shape, model.config.steps)


def load_prior(folder: Path, body: dict[str, Any], model: Autoencoder) -> Prior:
    """The prior beside `model` in `folder`; `body` is its config.json. Models written before priors have N(0, I).

    Raises UserError if its kind is unknown, or its files are not exactly what its configuration needs.
    """
    if "prior" not in body:
        return normal_prior(model)
    kind = body["prior"].get("kind") if isinstance(body["prior"], dict) else None
    if not isinstance(kind, str) or kind not in PRIORS:
        raise UserError(f"{folder / 'config.json'}: prior.kind must be one of {', '.join(PRIORS)}: upgrade crvae")
    config = parse_part(folder, body, "prior", PRIORS[kind].configuration)
    prior = skeleton(folder, lambda: build_prior(config, model.latent_shape, model.config.steps))
    if prior.state_dict():
        load_weights(folder / "prior.safetensors", prior)
        return prior
    return build_prior(config, model.latent_shape, model.config.steps)


def save_prior(folder: Path, prior: Prior, half: bool = False) -> dict[str, Any]:
    """Writes the weights of `prior` to `folder`, where it has any; returns its part of config.json."""
    path = folder / "prior.safetensors"
    if prior.state_dict():
        save_weights(path, prior, half=half)
    else:
        path.unlink(missing_ok=True)
    return {"prior": prior.config}


def has_discriminator(name: str | Path) -> bool:
    """Whether `load_discriminator` finds one. Raises UserError if `name` is not a model."""
    return (model_folder(name) / "discriminator.safetensors").is_file()


def load_discriminator(name: str | Path, device: str | torch.device = "cpu") -> Discriminator:
    """The discriminator of a run or of a folder that was exported with it, in evaluation mode.

    Raises UserError if there is none, or if this machine lacks the device.
    """
    device = present(device)
    folder = model_folder(name)
    body = read_config(folder)
    if not has_discriminator(folder):
        raise UserError(
            f"{folder} has no discriminator: it was trained without one, or exported without --discriminator"
        )
    config = parse_part(folder, body, "discriminator", DiscriminatorConfig)
    model = parse_part(folder, body, "model", ModelConfig)
    latent = skeleton(folder, lambda: Autoencoder(model)).latent
    head = body.get("latent_head")
    if head not in (None, list(latent.shape), list(latent.transformed_shape)):
        raise UserError(f"{folder / 'config.json'}: latent_head must be null or the shape of the model's latent")
    shape = None if head is None else tuple(head)
    seen = body.get("discriminator_images")  # models written before this was recorded have none
    if seen is not None and (type(seen) is not int or seen < 0):
        raise UserError(f"{folder / 'config.json'}: discriminator_images must be the images that it was trained on")
    discriminator = skeleton(folder, lambda: build_discriminator(config, model, shape))
    load_weights(folder / "discriminator.safetensors", discriminator)
    discriminator.seen = seen
    return discriminator.to(device, torch.float32).eval().requires_grad_(False)


def save(
    folder: Path,
    model: Autoencoder,
    *,
    recipe: str,
    images: int,
    discriminator: Discriminator | None = None,
    half: bool = False,
) -> None:
    """Writes `model` (and its discriminator) to `folder` for `load`; `recipe` and `images` seen are its provenance.

    With `half` floats take 16 bits in the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict = {"recipe": recipe, "images": images, "model": model.config}
    if discriminator is not None:
        parts |= {"discriminator": discriminator.config, "latent_head": discriminator.latent_shape}
        parts |= {} if discriminator.seen is None else {"discriminator_images": discriminator.seen}
        save_weights(folder / "discriminator.safetensors", discriminator, half=half)
    parts |= save_prior(folder, model.prior, half)
    save_weights(folder / "model.safetensors", model, without="prior", half=half)
    save_config(folder, 1, **parts)


def save_upsampler(folder: Path, model: Upsampler, *, recipe: str, images: int, half: bool = False) -> None:
    """Writes `model`, its Stage1 included, to `folder` for `load`; `recipe` and `images` seen are its provenance."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(folder / "model.safetensors", model, without="stage1.prior", half=half)
    parts = {"model": model.config, "stage1": model.stage1.config, **save_prior(folder, model.prior, half)}
    save_config(folder, 2, recipe=recipe, images=images, **parts)
