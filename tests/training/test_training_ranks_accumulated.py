"""An accumulated batch averages its gradients over ranks once, not once a part."""

import json
import subprocess
import sys
from typing import Any

import torch
import torch.distributed as dist

from crvae.config.stage1 import Stage1Config
from crvae.recipes import RECIPES
from crvae.training.fabric import Fabric
from crvae.training.stage1 import Stage1
from crvae.training.step import TrainingStep


def sent(fabric: Fabric, accumulate: int) -> int:
    """Values that one step's gradients send, of both sides."""
    body = RECIPES["emoji-crvae-gan-mi"].config.model_dump()
    body["model"] |= {"width": 1, "size": 32, "latent_channels": 8}
    body["discriminator"] |= {"kernels": 4, "group": 4}
    body["objective"] |= {"adversarial_after_images": 0}
    body["train"] |= {"batch": 16, "accumulate": accumulate, "precision": "fp32"}
    step = TrainingStep(Stage1(Stage1Config.model_validate(body)), fabric)
    values = 0

    def counted(_: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        nonlocal values
        values += bucket.buffer().numel()
        return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda done: done.value()[0])

    for side in step.sides:
        side.forward._forward_module.register_comm_hook(None, counted)
    step((torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8),), images=0)
    return values


def test_parts_of_a_batch_send_as_much_as_the_whole():
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, parts = json.loads(done.stdout)
    assert 0 < whole == parts


if __name__ == "__main__":
    fabric = Fabric(accelerator="cpu", devices=1, strategy="ddp", precision="32-true")
    fabric.launch()
    print(json.dumps([sent(fabric, 1), sent(fabric, 4)]))
