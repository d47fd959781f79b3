"""A training step on a CPU: the same as `HashGridTrainer._loss` and its gradient, with the formulas written out.

Samples go through encoding and networks tile by tile, the loss and its gradient are one pass over the rays, and nothing is
kept, cast or copied that the next stage does not read.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.compositing import cpu as compositing
from kernels.cores import each_on_a_core
from kernels.hashgrid import cpu as hashgrid
from kernels.hashgrid.encoding import level_arrays, threads
from kernels.hashgrid.schedule import Schedule
from kernels.machine import Machine
from kernels.networks.cpu import TILE, FieldTile
from kernels.sampling import PackedSamples
from kernels.sampling.cpu import unit_points
from recon.hashgrid.field import HashGridField, spherical_harmonics
from recon.hashgrid.options import TrainOptions


def supports(field: HashGridField) -> bool:
    """Whether the tiled step can train this field."""
    return field.table.device.type == "cpu" and field.usual and field.grad_buffer is not None


@dataclass(frozen=True)
class TiledStep:
    """What a step found."""

    loss: float
    error: float
    """Mean squared error of the colours."""
    points: Tensor
    """The samples in the unit cube, ``[3, n]``."""
    density: Tensor


def tiled_step(
    field: HashGridField, samples: PackedSamples, origins: Tensor, directions: Tensor, views: Tensor, truth: Tensor, behind: Tensor | None,
    wanted: Tensor, options: TrainOptions, distortion: bool,
) -> TiledStep:  # fmt: skip
    """Loss of the mean ray; gradients go to the parameters' ``grad`` and the field's ``grad_buffer``.

    Args:
        samples: along rays of ``origins`` and unit ``directions``, normalised units.
        views: photo of every ray.
        truth: colour of every ray; with a transparent field, composited on ``behind``.
        behind: what lies behind; None where the field knows.
        wanted: normalised distance to the surface that stereo saw, 0 where it did not.
        distortion: whether the distortion loss has begun.
    """
    n, count, index, offsets = len(samples.positions), len(origins), samples.ray_indices, samples.ray_offsets
    points, harmonics, parameters = torch.empty(3, n), spherical_harmonics(directions), field.network_parameters
    unit_points(origins.numpy(), directions.numpy(), samples.positions.numpy(), index.numpy(), field.contracted, points.numpy())
    back = field.background(harmonics) if behind is None else behind
    gains = field.gains(views) if field.options.appearance else torch.ones(count, 3)
    tile = FieldTile(field.table, field.layout, field.options.density_bias, parameters)
    half, truth, wanted = harmonics.to(torch.bfloat16), truth.contiguous(), wanted.contiguous()
    fixed_back, fixed_gains = back.detach().contiguous(), gains.detach().contiguous()
    density, d_encoded = torch.empty(n), torch.empty(n, field.layout.output_features)
    d_back, d_gains, losses, errors = torch.empty(count, 3), torch.empty(count, 3), torch.empty(count), torch.empty(count)
    weights = (options.distortion_weight if distortion else 0.0, options.depth_weight, options.opacity_weight if field.transparent else 0.0)

    def work(rays: slice) -> list[Tensor]:
        """Some rays from their samples to the gradients, while all of it is in one core's cache."""
        mine = slice(int(offsets[rays.start]), int(offsets[rays.stop]))
        density[mine], color, kept = tile.forward(points, mine, half, index[mine])
        d_logit, d_raw = torch.empty(len(color)), torch.empty(len(color), 3)
        given = (density[mine], color, samples.positions[mine], samples.lengths[mine], offsets[rays.start : rays.stop + 1])
        known = (truth[rays], fixed_back[rays], fixed_gains[rays], wanted[rays])
        found = (d_logit, d_raw, d_back[rays], d_gains[rays], losses[rays], errors[rays])
        compositing.loss_and_gradient(
            *(a.numpy() for a in given), mine.start, 1 / count, *(a.numpy() for a in known), behind is None, *weights, *(a.numpy() for a in found)
        )
        return tile.backward(kept, d_logit, d_raw, d_encoded[mine])

    gradients = each_on_a_core(_even(offsets), work)
    for parameter, gradient in zip(parameters, tile.unpadded([sum(g[1:], g[0]) for g in zip(*gradients, strict=True)]), strict=True):
        parameter.grad = gradient
    assert field.grad_buffer is not None
    layout = field.layout
    pieces = Schedule.auto(layout, Machine.here()).pieces
    hashgrid.backward_table(points.numpy(), d_encoded.numpy(), *level_arrays(layout), pieces, threads(), field.grad_buffer.view(-1).numpy())
    loss = float(losses.mean())
    if behind is None:
        back.backward(d_back)
    if field.options.appearance:
        regular = 1e-2 * field.log_gains.square().mean()
        torch.autograd.backward([gains, regular], [d_gains, torch.ones(())])
        loss += float(regular.detach())
    return TiledStep(loss, float(errors.mean()), points, density)


def _even(offsets: Tensor) -> list[slice]:
    """Consecutive rays with about `TILE` samples together."""
    parts = max(round(int(offsets[-1]) / TILE), 1)
    bounds = torch.searchsorted(offsets, torch.arange(parts + 1) * (int(offsets[-1]) / parts)).tolist()
    bounds[0], bounds[-1] = 0, len(offsets) - 1
    return [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True) if b > a]
