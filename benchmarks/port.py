"""The authors' iteration as someone would port it line by line (specification, sections 3.8, 3.9 and 4): seven optimisers, fp32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import port_networks as networks

ALPHA = torch.tensor([3e-4] * 3 + [2e-4] * 5).repeat_interleave(8).view(1, 64, 1, 1)
BETA, KAPPA, RATE, CLIP, MARGIN = 0.0125, 0.02, 3e-4, 5.0, 0.1
BLOCKS = torch.tensor([0.1, 1.5, 1.5, 1.25, 0.1, 0.1, 1, 1]).repeat_interleave(8).view(1, 64, 1, 1)


class Port:
    """`port(x)` is one iteration on a batch `b 3 64 64`."""

    def __init__(self, width: int, device: torch.device):
        self.nets: dict[str, nn.Module] = {
            "encoder": networks.Encoder(width),
            "variance": networks.Recurrence(8 * width, 16 * width, norm=True),
            "generation": networks.Recurrence(64, 16 * width, norm=False),
            "decoder": networks.decoder(width),
            "features": networks.features(width),
            "realism": networks.adversarial_head(width),
            "latent": networks.latent_head(width),
        }
        for net in self.nets.values():
            net.to(device)
        self.alpha, self.blocks = ALPHA.to(device), BLOCKS.to(device)
        rates = dict.fromkeys(self.nets, RATE) | dict.fromkeys(("variance", "generation"), RATE / 8)
        rates["features"] = RATE / 2
        self.optimisers = {name: torch.optim.Adam(net.parameters(), lr=rates[name]) for name, net in self.nets.items()}

    def __call__(self, x: Tensor) -> None:
        nets = self.nets
        # A. reconstruction
        mean, h = nets["encoder"](x)
        log_variance = nets["variance"](h)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        u = nets["generation"](z)
        reconstruction = nets["decoder"](u)
        gradient = self._judged(reconstruction, u, self.blocks)
        self._clear("encoder", "variance", "generation", "decoder")
        kl = -0.5 * (self.alpha * (1 + log_variance - mean**2 - log_variance.exp())).sum() / len(x)
        torch.autograd.backward([F.mse_loss(reconstruction, x) + kl, reconstruction], [None, gradient])
        self._step("decoder", "generation", "variance", "encoder")
        # B. generation
        u = nets["generation"](torch.randn_like(mean))
        sample = nets["decoder"](u)
        gradient = self._judged(sample, u, torch.ones((), device=x.device))
        self._clear("generation", "decoder")
        sample.backward(gradient)
        self._step("decoder", "generation")
        # C. discriminator
        place = (torch.arange(len(x), device=x.device) % 4).view(-1, 1, 1, 1)
        mixed = torch.where(place == 3, reconstruction.detach(), torch.where(place == 2, sample.detach(), x))
        labels = (place < 2).float().view(-1, 1)
        self._clear("features", "realism")
        realism = nets["realism"](nets["features"](mixed))
        wrong = (realism.round() != labels).float().mean().item()
        if wrong >= MARGIN:
            F.binary_cross_entropy(realism, labels).backward()
            self._step("features", "realism")

    def _judged(self, images: Tensor, u: Tensor, blocks: Tensor) -> Tensor:
        """Steps of latent head and features; the gradient at the images of the MI and the adversarial terms."""
        leaf = images.detach().requires_grad_()
        self._clear("features", "latent")
        features = self.nets["features"](leaf)
        self.nets["realism"](features)  # the release runs it here too, and again below
        (blocks * (self.nets["latent"](features) - u.detach()) ** 2).mean().backward()
        self._step("latent", "features")
        recovered, leaf.grad = leaf.grad, None
        realism = self.nets["realism"](self.nets["features"](leaf))
        F.binary_cross_entropy(realism, torch.ones_like(realism)).backward(inputs=[leaf])
        assert recovered is not None
        assert leaf.grad is not None
        return KAPPA * recovered + BETA * leaf.grad

    def _clear(self, *names: str) -> None:
        for name in names:
            self.optimisers[name].zero_grad()

    def _step(self, *names: str) -> None:
        for name in names:
            if name in ("variance", "generation"):
                nn.utils.clip_grad_value_(self.nets[name].parameters(), CLIP)
            self.optimisers[name].step()
