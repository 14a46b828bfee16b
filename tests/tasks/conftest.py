"""Small models that decode to something: batch norm has seen images, weights are as drawn."""

from __future__ import annotations

from jaxtyping import install_import_hook

install_import_hook(["crvae.tasks"], "beartype.beartype")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from crvae.config.stage1 import DiscriminatorConfig, ModelConfig  # noqa: E402
from crvae.models import Autoencoder, PaperDiscriminator  # noqa: E402
from crvae.storage.models import save  # noqa: E402


def build(latent: str = "recurrent", **options) -> Autoencoder:
    torch.manual_seed(0)
    settings = {"size": 32, "width": 2, "latent_channels": 8, "steps": 4, "residual": True} | options
    model = Autoencoder(ModelConfig(latent=latent, **settings))
    with torch.no_grad():
        list(model.decoder.modules())[-1].weight.mul_(10)  # images with some contrast
    for _ in range(8):
        x = torch.rand(32, *model.image_shape) * 2 - 1
        z = model.encode(x).sample()
        model.decode(torch.cat([z, torch.randn_like(z)]))
    return model.eval().requires_grad_(False)


def judge(model: Autoencoder, **options) -> PaperDiscriminator:
    torch.manual_seed(1)
    config = DiscriminatorConfig(**{"kernels": 5, "kernel_size": 3, "group": 4} | options)
    return PaperDiscriminator(config, model.config, None).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def model() -> Autoencoder:
    return build()


@pytest.fixture(scope="session")
def discriminator(model) -> PaperDiscriminator:
    return judge(model)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, model, discriminator):
    """The two as a folder that the commands take."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    save(folder, model, recipe="test", images=0, discriminator=discriminator)
    return folder


@pytest.fixture
def pictures(tmp_path, model):
    """A folder of three samples of the model."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, image in enumerate(model.sample(3, seed=8)):
        array = ((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(np.ascontiguousarray(array)).save(folder / f"picture{index}.png")
    return folder


@pytest.fixture(scope="session")
def make():
    """build(latent, **options) and judge(model, **options) for tests that need others."""
    return build, judge
