"""Features of images: extracted once for all scores, in fp32, in batches of one size; those of real images are kept."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn

from crvae.cache import cache
from crvae.counting import counted
from crvae.data import Split
from crvae.errors import UserError
from crvae.evaluation.distance import PerceptualDistance
from crvae.evaluation.generated import checked_size
from crvae.evaluation.registry import CLASSIFIER, FEATURES, PERCEPTUAL, Evidence, Kind, Request
from crvae.files import write_bytes
from crvae.frozen.backbones import Backbone, backbone, digest
from crvae.pictures import from_8_bit
from crvae.progress import Progress, silent
from crvae.training.classifier import OneAttribute, load_classifier

BATCH = 32
"""Images that an extractor always sees at once; a last, smaller batch is filled up, so that no number depends on the count."""


OF_CLASSIFIER = "classifier"
"""What `--features` takes for those that `--classifier` computes before its heads."""


@dataclass(frozen=True)
class Extractor:
    """A frozen network with what identifies it."""

    network: nn.Module
    name: str
    sha256: str
    resizer: str

    @torch.no_grad()
    def __call__(self, images: UInt8[Tensor, "n c h w"], progress: Progress = silent) -> Float[Tensor, "n k"]:
        """What the network says of stored images, on the CPU: the same image gets the same numbers, whatever its company."""
        device = next(self.network.parameters()).device
        parts = []
        with torch.autocast(device.type, enabled=False), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for first in range(0, len(images), BATCH):
                batch = images[first : first + BATCH]
                filled = torch.cat([batch, batch[:1].expand(BATCH - len(batch), -1, -1, -1)])
                parts.append(self.network(from_8_bit(filled).to(device))[: len(batch)].float().cpu())
                progress(f"features ({self.name})", min(first + BATCH, len(images)), len(images))
        return torch.cat(parts)

    def of_real(self, split: Split, size: int, count: int, progress: Progress = silent) -> Float[Tensor, "n k"]:
        """What the network says of `count` evenly spaced images of `split`, kept by the hashes of data and network."""
        key = [split.data.fingerprint, split.name, size, count, self.sha256, self.resizer, BATCH, torch.__version__]
        path = cache() / "features" / (hashlib.sha256(repr(key).encode()).hexdigest() + ".safetensors")
        with contextlib.suppress(OSError, SafetensorError), safe_open(path, "pt") as file:
            return file.get_tensor("features")
        features = self(split.images(spaced(len(split), count), size=size), progress)
        with contextlib.suppress(OSError):  # a read-only cache costs time, not the scores
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, serialised({"features": features.contiguous()}))
        return features


def spaced(total: int, count: int) -> Tensor:
    """`count` evenly spaced rows of `total`: all in order where there are as many."""
    return torch.arange(count) * total // count


def feature_extractor(name: str, device: torch.device) -> Extractor:
    """The backbone called `name` (`crvae.frozen.backbones`) as an extractor. Raises UserError if its package or its weights are missing."""
    network: Backbone = backbone(name).eval().requires_grad_(False).to(device)
    return Extractor(network, name, digest(network), network.resizer)


def logit_extractor(classifier: OneAttribute, name: str, device: torch.device) -> Extractor:
    """A trained classifier as an extractor of one attribute's logits."""
    identity = hashlib.sha256(f"{digest(classifier)} {classifier.attribute}".encode()).hexdigest()
    return Extractor(classifier.to(device), name, identity, classifier.classifier.backbone.resizer)


@dataclass(frozen=True)
class Compared:
    """What one network says of as many real as generated images."""

    real: Float[Tensor, "n k"]
    fake: Float[Tensor, "n k"]
    about: dict[str, str]
    """The network's part of a score's provenance."""


def generated(evidence: Evidence) -> UInt8[Tensor, "n c h w"]:
    """The subject's images, as they would be saved."""
    return evidence.subject.images(evidence.count, evidence.request.seed)


def compared(evidence: Evidence) -> Compared:
    """Real and generated images in the features that `--features` names. Raises UserError if their network is missing."""
    return _compared(evidence, _of_features(evidence.request, evidence.device))


def classified(evidence: Evidence) -> Compared:
    """What `--classifier` says of real and generated images, as logits. Raises UserError if there is none."""
    return _compared(evidence, _of_classifier(evidence.request, evidence.device))


def check_networks(kinds: Iterable[Kind], request: Request, device: torch.device) -> None:
    """Raises UserError if a network that these scores look through is missing: before anything long."""
    needs = {need for kind in kinds for need in kind.needs}
    if FEATURES in needs:
        _of_features(request, device)
    if CLASSIFIER in needs:
        _of_classifier(request, device)
    if PERCEPTUAL in needs:
        PerceptualDistance(device)


def _of_features(request: Request, device: torch.device) -> Extractor:
    """Raises UserError if the features are the classifier's and no classifier is given, or their network is missing."""
    if request.features != OF_CLASSIFIER:
        return feature_extractor(request.features, device)
    if not request.classifier:
        raise UserError(
            "--features classifier needs --classifier: make one with `crvae classifier DATA --out CLASSIFIER`"
        )
    classifier = load_classifier(request.classifier)
    config, network = classifier.config, classifier.backbone.to(device)
    name = f"{config.backbone}, {config.method} on {counted(len(config.attributes), 'attribute')} of data {config.data[:8]}"
    return Extractor(network, name, digest(network), network.resizer)


def _of_classifier(request: Request, device: torch.device) -> Extractor:
    classifier = load_classifier(request.classifier).only(request.attribute)
    config = classifier.classifier.config
    name = f"{config.backbone}, {config.method} on {classifier.attribute} of data {config.data[:8]}"
    return logit_extractor(classifier, name, device)


def _compared(evidence: Evidence, extractor: Extractor) -> Compared:
    images = evidence.once(generated)
    size = checked_size(evidence.split, images.shape[1], images.shape[2:])
    real = extractor.of_real(evidence.split, size, evidence.count, evidence.progress)
    about = {"features": extractor.name, "features_sha256": extractor.sha256, "resizer": extractor.resizer}
    return Compared(real, extractor(images, evidence.progress), about)
