"""Adversarial training of the general model (Madry et al. 2018): every batch is attacked before the model learns from it.

The inner attack raises the whole training loss (colour, depth, signed distance, the volumes' classes), so that geometry is defended
as well as colour. Photos are changed at their own size, before the engine's enlargement, as an attacker would.
"""

from dataclasses import replace

import torch
from torch import Tensor

from attacks.defences.options import RobustOptions
from data.errors import InputError
from data.worlds.bank import Bank
from recon.general.batches import Batch, enlarged
from recon.general.training import Objective, Trainer


class RobustTrainer(Trainer):
    """`Trainer` with an attacker in the loop."""

    options: RobustOptions

    def hardened(self, batch: Batch, bank: Bank, factor: int) -> Batch:
        """The batch with photos changed so that the model does worst."""
        o = self.options
        if not (0 <= o.eps <= 1 and o.attack_steps >= 1):
            raise InputError("Adversarial training needs eps between 0 and 1 and attack_steps of at least 1. Correct the configuration.")
        clean = batch.images
        count = len(clean)

        def rand(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=self.generator, device=self.device)

        eps = (o.eps * (0.5 + 0.5 * rand(count)) * (rand(count) < o.attack_share))[:, None, None, None, None]
        images = (clean + eps * (2 * rand(*clean.shape) - 1)).clamp(0, 1)
        # Of the worlds that are not attacked, some get mere noise: what withstands an attack need not withstand that.
        noisy = o.eps * (rand(count) < o.noise_share)[:, None, None, None, None] * (eps == 0)
        clean = (clean + noisy * (2 * (rand(*clean.shape) < 0.5) - 1)).clamp(0, 1)
        images = torch.where(eps == 0, clean, images)
        few = _some_rays(batch, o.attack_rays * factor)
        module = self.objective.module if hasattr(self.objective, "module") else self.objective
        assert isinstance(module, Objective)
        learning = [p for p in self.network.parameters() if p.requires_grad]
        for p in learning:
            p.requires_grad_(False)
        for index in range(o.attack_steps):
            leaf = images.detach().requires_grad_()
            total, _ = module(enlarged(replace(few, images=leaf), factor), bank, follow=float(index % 2))  # both kinds of attackers, in turns
            gradient = torch.autograd.grad(total, leaf)[0]
            images = (clean + (images + o.attack_step * eps * gradient.sign() - clean).clamp(-eps, eps)).clamp(0, 1).detach()
        for p in learning:
            p.requires_grad_(True)
        return replace(batch, images=images)


def _some_rays(batch: Batch, count: int) -> Batch:
    """The first rays of each target, which are random ones."""
    rays = ("origins", "directions", "near", "far", "rgb", "depth")
    return replace(batch, **{name: getattr(batch, name)[:, :count] for name in rays})
