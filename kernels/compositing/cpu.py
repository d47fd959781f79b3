"""Compositing along packed rays on a CPU, compiled by numba: one thread a ray, no temporaries."""

import math

import numba as nb

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
LEAST_SLOPE = 1e-3
"""Of the sigmoid that colours end with, where the gradient leads away from the nearer end: a colour that has run into 0 or 1 would never
come out again (white objects did). Towards the end the slope stays the true one, or raw colours would run away without bound."""


@nb.njit(inline="always", **_OPTIONS)
def sigmoid_slope(color, gradient):
    slope = color * (1.0 - color)
    return max(slope, LEAST_SLOPE) if (color > 0.5) == (gradient > 0.0) else slope


@nb.njit(parallel=True, **_OPTIONS)
def weights_forward(tau, offsets, weights):
    for ray in nb.prange(offsets.shape[0] - 1):
        transmittance = 1.0
        for i in range(offsets[ray], offsets[ray + 1]):
            kept = math.exp(-tau[i])
            weights[i] = transmittance * (1.0 - kept)
            transmittance *= kept


@nb.njit(parallel=True, **_OPTIONS)
def weights_backward(tau, weights, offsets, grad, out):
    """``d/dtau_k = grad_k * trans_{k+1} - sum_{i > k} grad_i * weight_i``."""
    for ray in nb.prange(offsets.shape[0] - 1):
        behind = 0.0
        for i in range(offsets[ray], offsets[ray + 1]):
            behind += grad[i] * weights[i]
        transmittance = 1.0
        for i in range(offsets[ray], offsets[ray + 1]):
            transmittance *= math.exp(-tau[i])
            behind -= grad[i] * weights[i]
            out[i] = grad[i] * transmittance - behind


@nb.njit(parallel=True, **_OPTIONS)
def distortion(weights, positions, lengths, offsets, loss, gradient):
    """The loss of every ray and its gradient to the weights, ``2 sum_j w_j |s_i - s_j| + 2/3 w_i d_i``."""
    for ray in nb.prange(offsets.shape[0] - 1):
        total_w, total_ws = 0.0, 0.0
        for i in range(offsets[ray], offsets[ray + 1]):
            total_w += weights[i]
            total_ws += weights[i] * positions[i]
        left_w, left_ws, value = 0.0, 0.0, 0.0
        for i in range(offsets[ray], offsets[ray + 1]):
            w, s = weights[i], positions[i]
            left = s * left_w - left_ws
            right = (total_ws - left_ws - w * s) - s * (total_w - left_w - w)
            value += 2.0 * w * left + w * w * lengths[i] / 3.0
            gradient[i] = 2.0 * (left + right) + 2.0 / 3.0 * w * lengths[i]
            left_w += w
            left_ws += w * s
        loss[ray] = value


@nb.njit(parallel=True, **_OPTIONS)
def median_positions(weights, positions, lengths, offsets, opacity, depth):
    """Where a ray's weights reach half of their sum, inside the sample's stretch; 0 where the opacity stays below one half."""
    for ray in nb.prange(offsets.shape[0] - 1):
        depth[ray] = 0.0
        if opacity[ray] <= 0.5:
            continue
        target, total = 0.5 * opacity[ray], 0.0
        for i in range(offsets[ray], offsets[ray + 1]):
            before = total
            total += weights[i]
            if total >= target:
                fraction = min(max((target - before) / max(total - before, 1e-8), 0.0), 1.0)
                depth[ray] = positions[i] + (fraction - 0.5) * lengths[i]
                break


@nb.njit(fastmath=True, **_OPTIONS)
def loss_and_gradient(
    density, color, positions, lengths, offsets, base, share, truth, behind, gains, wanted, gain_behind, distortion_weight, depth_weight, opacity_weight,
    d_logit, d_raw, d_behind, d_gains, losses, errors,
):  # fmt: skip
    """The loss of every ray and its gradient, as `loss_and_gradient` of compositing.cu: of log density, raw colour, background, gains.

    Everything is for the mean over rays. ``wanted``: distance to a surface, 0 where unknown; ``gain_behind``: whether the
    photo's gain holds for what lies behind; ``losses`` and ``errors`` (squared, mean of the channels) are per ray. The
    caller's samples begin at ``base``; ``share`` is one over the number of all rays. Runs on the calling thread alone.
    """
    for ray in range(offsets.shape[0] - 1):
        first, end = offsets[ray] - base, offsets[ray + 1] - base
        depth = wanted[ray]
        known = 1.0 if depth > 0 else 0.0
        transmittance, r, g, b, opacity, off = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
        spread, sum_w, sum_ws = 0.0, 0.0, 0.0
        for i in range(first, end):
            kept = math.exp(-density[i] * lengths[i])
            w = transmittance * (1.0 - kept)
            transmittance *= kept
            r += w * color[i, 0]
            g += w * color[i, 1]
            b += w * color[i, 2]
            opacity += w
            off += w * min(abs(positions[i] - depth) / max(depth, 1e-6), 0.5)
            if distortion_weight > 0:
                near = 1.0 / (1.0 + positions[i])
                s = 1.0 - near
                spread += 2.0 * w * (s * sum_w - sum_ws) + w * w * lengths[i] * near * near / 3.0
                sum_w += w
                sum_ws += w * s
        to_opacity, value, error = 0.0, 0.0, 0.0
        g0, g1, g2 = 0.0, 0.0, 0.0
        for a in range(3):
            gain = gains[ray, a]
            total = r if a == 0 else g if a == 1 else b
            back_gain = gain if gain_behind else 1.0
            back = behind[ray, a] * back_gain
            d = total * gain + (1.0 - opacity) * back - truth[ray, a]
            size = abs(d)
            error += d * d / 3.0
            value += (5.0 * d * d if size < 0.1 else size - 0.05) / 3.0
            slope = (10.0 * d if size < 0.1 else (1.0 if d > 0 else -1.0)) / 3.0
            to_opacity -= slope * back
            d_behind[ray, a] = slope * (1.0 - opacity) * back_gain * share
            d_gains[ray, a] = slope * (total + ((1.0 - opacity) * behind[ray, a] if gain_behind else 0.0)) * share
            if a == 0:
                g0 = slope * gain
            elif a == 1:
                g1 = slope * gain
            else:
                g2 = slope * gain
        if opacity_weight > 0:
            c = min(max(opacity, 1e-4), 1.0 - 1e-4)
            value -= opacity_weight * (c * math.log(c) + (1.0 - c) * math.log(1.0 - c))
            if 1e-4 < opacity < 1.0 - 1e-4:
                to_opacity += opacity_weight * (math.log(1.0 - c) - math.log(c))
        value += depth_weight * known * (off + 0.5 * (1.0 - opacity)) + distortion_weight * spread
        to_opacity -= depth_weight * known * 0.5
        losses[ray], errors[ray] = value, error
        # the loss is linear in the weights, but for the distortion, which is quadratic: so much all samples pass on
        left = g0 * r + g1 * g + g2 * b + to_opacity * opacity + depth_weight * known * off + 2.0 * distortion_weight * spread
        transmittance = 1.0
        left_w, left_ws = 0.0, 0.0
        for i in range(first, end):
            tau = density[i] * lengths[i]
            kept = math.exp(-tau)
            w = transmittance * (1.0 - kept)
            transmittance *= kept
            dw = g0 * color[i, 0] + g1 * color[i, 1] + g2 * color[i, 2] + to_opacity
            dw += depth_weight * known * min(abs(positions[i] - depth) / max(depth, 1e-6), 0.5)
            if distortion_weight > 0:
                near = 1.0 / (1.0 + positions[i])
                s = 1.0 - near
                behind_it = (sum_ws - left_ws - w * s) - s * (sum_w - left_w - w)
                dw += distortion_weight * (2.0 * (s * left_w - left_ws + behind_it) + 2.0 / 3.0 * w * lengths[i] * near * near)
                left_w += w
                left_ws += w * s
            left -= dw * w
            # behind an optical depth of 25 nothing shows, and rounding would be all that is left of the difference
            d_logit[i] = (dw * transmittance - left) * lengths[i] * min(density[i], 1e5) * share if tau < 25.0 else 0.0
            d_raw[i, 0] = w * g0 * sigmoid_slope(color[i, 0], g0) * share
            d_raw[i, 1] = w * g1 * sigmoid_slope(color[i, 1], g1) * share
            d_raw[i, 2] = w * g2 * sigmoid_slope(color[i, 2], g2) * share
