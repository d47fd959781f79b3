"""Training of small networks by the clock: half precision on a GPU, a running mean of the weights, a rate that rises and then falls."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Halves:
    """Networks that work in half precision (bfloat16) on a GPU; what is optimised is a copy in single precision, and what is kept its running mean."""

    def __init__(self, models: Sequence[nn.Module], learning_rate: float, weight_decay: float, average: float, warm_up: int) -> None:
        self.models, self.learning_rate, self.average, self.warm_up, self.steps = models, learning_rate, average, warm_up, 0
        self.parameters = [p for model in models for p in model.parameters()]
        self.masters = [p.detach().clone() for p in self.parameters]
        self.kept = [p.clone() for p in self.masters]
        on_gpu = self.masters[0].is_cuda
        if on_gpu:
            for model in models:
                model.to(torch.bfloat16)
        self.optimizer = torch.optim.AdamW(self.masters, learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay, fused=on_gpu)

    def step(self, loss: Tensor, share: float) -> None:
        """One step down a loss.

        Args:
            share: of the whole training that is over, 0 to 1.
        """
        warm = min(1.0, (self.steps + 1) / self.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = warm * self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        loss.backward()
        for master, p in zip(self.masters, self.parameters, strict=True):
            master.grad, p.grad = None if p.grad is None else p.grad.float(), None
        nn.utils.clip_grad_norm_(self.masters, 1.0)
        self.optimizer.step()
        torch._foreach_copy_([p.data for p in self.parameters], self.masters)
        torch._foreach_lerp_(self.kept, self.masters, 1 - min(self.average, (1 + self.steps) / (10 + self.steps)))
        self.steps += 1

    def finish(self) -> None:
        """Give the networks the mean of their weights, in single precision."""
        for model in self.models:
            model.float()
        torch._foreach_copy_([p.data for model in self.models for p in model.parameters()], self.kept)
