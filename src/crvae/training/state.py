"""What a run is at one moment, besides its configuration: weights, their averages, optimisers, and images seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from crvae.errors import UserError, brief
from crvae.training.checkpoint import State
from crvae.training.experiment import Experiment
from crvae.training.optimising import Optimising


def capture(images: int, experiment: Experiment, sides: list[Optimising]) -> State:
    """Everything that a resumed run needs, on the device it is on.

    Of the averages the parameters alone: their batch statistics are made anew at every export.
    """
    return {
        "images": images,
        "networks": {name: network.state_dict() for name, network in experiment.networks.items()},
        "averaged": {name: parameter.detach() for name, parameter in experiment.averaged.named_parameters()},
        "optimisers": {side.side.name: side.optimiser.state_dict() for side in sides},
    }


def restore(state: State, experiment: Experiment, sides: list[Optimising]) -> int:
    """Takes over a captured state and returns its images seen.

    Raises UserError where a name, shape or dtype is not this configuration's, or a value is not finite.
    """
    try:
        images = state["images"]
        if type(images) is not int or images < 0:
            raise ValueError("images is no count")
        statistics = {name for name, _ in experiment.averaged.named_buffers()}
        averaged = {name: tensor for name, tensor in state["averaged"].items() if name not in statistics}
        pairs = [("averaged", averaged, dict(experiment.averaged.named_parameters()))]
        pairs += [(name, state["networks"][name], net.state_dict()) for name, net in experiment.networks.items()]
        for name, saved, own in pairs:
            _compare(name, saved, own)
        for side in sides:
            _compare_optimiser(side, state["optimisers"][side.side.name]["state"])

        with torch.no_grad():
            for _, saved, own in pairs:
                for name, tensor in own.items():
                    tensor.copy_(saved[name])
        for side in sides:  # the moments only: rates and the like are the configuration's
            moments = state["optimisers"][side.side.name]["state"]
            side.optimiser.load_state_dict(side.optimiser.state_dict() | {"state": moments})
    except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise UserError(f"the checkpoint does not fit the run's configuration: {brief(error)}") from None
    return images


def _compare(where: str, saved: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
    for name in sorted(set(saved) ^ set(own)):
        raise ValueError(f"{where}: {name} is {'missing' if name in own else 'not of this model'}")
    for name, tensor in own.items():
        found = saved[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise ValueError(
                f"{where}: {name} is {found.dtype} {tuple(found.shape)}, not {tensor.dtype} {tuple(tensor.shape)}"
            )
        if found.is_floating_point() and not torch.isfinite(found).all():
            raise ValueError(f"{where}: {name} holds values that are not finite")


def _compare_optimiser(side: Optimising, saved: dict[int, dict[str, Tensor]]) -> None:
    for index, moments in saved.items():
        parameter = side.parameters[index]
        own = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
        _compare(f"{side.side.name}'s optimiser, parameter {index}", moments, own)
