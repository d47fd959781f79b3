"""Compositing along packed rays on a CPU, compiled by numba: one thread a ray, no temporaries."""

import math

import numba as nb

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


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
