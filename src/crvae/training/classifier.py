"""A classifier of images by their attributes: one backbone, one linear head an attribute (section 4.1 needs one of them)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field, model_validator
from torch import Tensor, nn

from crvae.config.base import FORMAT, Frozen
from crvae.errors import UserError, near
from crvae.files import new_folder, write_text
from crvae.frozen.backbones import Backbone, backbone
from crvae.storage.weights import load_weights, parse_part, read_config, save_weights


class ClassifierConfig(Frozen):
    """What a classifier is, and how it came about."""

    backbone: str = "efficientnet-lite0"
    method: Literal["fine-tune", "linear-probe", "from-scratch"] = "fine-tune"
    attributes: dict[str, list[str]] = Field(default_factory=dict)
    """Attribute -> its values, in the order of the logits."""
    data: str = ""
    """Fingerprint of the dataset."""
    epochs: int = 1
    rate: float = 1e-4
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _of_one_column(cls, content: Any) -> Any:
        """Files written before attributes name one column and its classes."""
        if isinstance(content, dict) and {"column", "classes"} <= set(content):
            rest = {key: value for key, value in content.items() if key not in ("column", "classes")}
            return rest | {"attributes": {content["column"]: content["classes"]}}
        return content


class Classifier(nn.Module):
    """Images `b c h w` in [-1, 1] -> logits `b n`: those of all attributes, one after the other."""

    def __init__(self, config: ClassifierConfig, pretrained: bool = True):
        super().__init__()
        self.config = config
        self.backbone: Backbone = backbone(config.backbone, pretrained)
        self.head = nn.Linear(self.backbone.width, sum(map(len, config.attributes.values())))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n"]:
        return self.head(self.backbone(images))

    def split(self, logits: Float[Tensor, "b n"]) -> dict[str, Float[Tensor, "b _"]]:
        """The logits of each attribute."""
        sizes = [len(values) for values in self.config.attributes.values()]
        return dict(zip(self.config.attributes, logits.split(sizes, 1), strict=True))

    @torch.no_grad()
    def values(self, images: Float[Tensor, "b c h w"]) -> dict[str, Int64[Tensor, " b"]]:
        """The likeliest value of each attribute, as a position in `config.attributes`. The images may be on any device."""
        logits = self(images.to(self.head.weight.device))
        return {name: part.argmax(1) for name, part in self.split(logits).items()}

    def only(self, attribute: str = "") -> OneAttribute:
        """The same for one attribute, which must be named where there are several. Raises UserError."""
        known = list(self.config.attributes)
        if attribute not in known and (attribute or len(known) > 1):
            named = (
                f"--attribute {attribute} is unknown{near(attribute, known)}" if attribute else "--attribute is missing"
            )
            raise UserError(f"{named}: the classifier knows {', '.join(known)}")
        return OneAttribute(self, attribute or known[0])


class OneAttribute(nn.Module):
    """A classifier of one attribute: images `b c h w` in [-1, 1] -> logits `b k` of its k values."""

    def __init__(self, classifier: Classifier, attribute: str):
        super().__init__()
        self.classifier, self.attribute = classifier, attribute
        self.classes = classifier.config.attributes[attribute]

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        return self.classifier.split(self.classifier(images))[self.attribute]

    def values(self, images: Float[Tensor, "b c h w"]) -> Int64[Tensor, " b"]:
        """The likeliest value. The images may be on any device."""
        return self.classifier.values(images)[self.attribute]


def save(folder: Path, model: Classifier, report: dict, half: bool = False) -> None:
    """Writes a classifier and its report for `load_classifier`, whole or not at all; `half`: weights of 16 bits."""
    with new_folder(folder) as temporary:
        save_weights(temporary / "model.safetensors", model, half=half)
        write_text(temporary / "report.json", json.dumps(report, indent=2) + "\n")
        body = {"format": FORMAT, "classifier": model.config.model_dump()}
        write_text(temporary / "config.json", json.dumps(body, indent=2) + "\n")


def load_classifier(folder: str | Path) -> Classifier:
    """A classifier in evaluation mode. Raises UserError if `folder` does not hold exactly one."""
    path = Path(folder)
    body = read_config(path)
    if "classifier" not in body:
        raise UserError(f"{folder} is not a classifier. Train one: crvae classifier DATA --out CLASSIFIER")
    model = Classifier(parse_part(path, body, "classifier", ClassifierConfig), pretrained=False)
    load_weights(path / "model.safetensors", model)
    return model.eval().requires_grad_(False)
