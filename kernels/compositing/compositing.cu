// Compositing along packed rays, one warp a ray: alone (weights), and as a training loss with its gradient to every sample.

#define ALL 0xffffffffu

DEVICE float scan(float v, int lane) {
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const float other = __shfl_up_sync(ALL, v, d);
        if (lane >= d) v += other;
    }
    return v;
}

DEVICE float total(float v) {
#pragma unroll
    for (int d = 16; d; d /= 2) v += __shfl_xor_sync(ALL, v, d);
    return v;
}

// weight_i = exp(-sum_{j<i} tau_j) (1 - exp(-tau_i))
KERNEL void __launch_bounds__(128) weights_forward(const float* __restrict__ tau, const long long* __restrict__ offsets, float* __restrict__ weights, int rays) {
    const int ray = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x & 31;
    if (ray >= rays) return;
    float before = 0;
    for (long long base = offsets[ray], end = offsets[ray + 1]; base < end; base += 32) {
        const long long i = base + lane;
        const float t = i < end ? tau[i] : 0.0f, through = scan(t, lane);
        if (i < end) weights[i] = __expf(-(before + through - t)) * -expm1f(-t);
        before += __shfl_sync(ALL, through, 31);
    }
}

// d/dtau_k = grad_k trans_{k+1} - sum_{i>k} grad_i weight_i
KERNEL void __launch_bounds__(128) weights_backward(
    const float* __restrict__ tau, const float* __restrict__ weights, const long long* __restrict__ offsets, const float* __restrict__ grad,
    float* __restrict__ out, int rays) {
    const int ray = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x & 31;
    if (ray >= rays) return;
    const long long first = offsets[ray], end = offsets[ray + 1];
    float sum = 0;
    for (long long i = first + lane; i < end; i += 32) sum += grad[i] * weights[i];
    float behind = total(sum), before = 0;
    for (long long base = first; base < end; base += 32) {
        const long long i = base + lane;
        const float t = i < end ? tau[i] : 0.0f, g = i < end ? grad[i] : 0.0f, through = scan(t, lane);
        const float passed = scan(i < end ? g * weights[i] : 0.0f, lane);
        if (i < end) out[i] = g * __expf(-(before + through)) - (behind - passed);
        before += __shfl_sync(ALL, through, 31), behind -= __shfl_sync(ALL, passed, 31);
    }
}

struct Loss { float distortion, depth, opacity, scale; };

// The loss of a training step and its gradient. Samples are (r, g, b, sigma); gradients are those of the networks' raw outputs,
// before sigmoid and exponential, times `scale`, in half precision.
// statistics [64, 4]: loss, squared error, rays, samples (sums over steps; whoever reads them clears them).
KERNEL void __launch_bounds__(128) loss_and_gradient(
    const float4* __restrict__ samples, const float* __restrict__ positions, const float* __restrict__ lengths, const float* __restrict__ points,
    const int2* __restrict__ ranges, const float* __restrict__ truth, const float* __restrict__ behind, const int* __restrict__ view_of,
    const float* __restrict__ wanted, const float* __restrict__ gains, const int* __restrict__ control, Loss loss, int transparent,
    uint2* __restrict__ gradients, float* __restrict__ d_behind, float* __restrict__ d_gains, float* __restrict__ statistics,
    float* __restrict__ grid, const float* __restrict__ limits, int side, float rate) {
    const int ray = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x & 31;
    if (ray >= control[1]) return;
    const int2 range = ranges[ray];
    if (range.y < 0) {  // did not fit
        if (d_behind && lane < 3) d_behind[3 * ray + lane] = 0;
        return;
    }
    const int first = range.x, end = first + range.y;
    const float depth = wanted[ray], known = depth > 0 ? 1.0f : 0.0f;
    float before = 0, r = 0, g = 0, b = 0, opacity = 0, off = 0, spread = 0, sum_w = 0, sum_ws = 0;
    for (int base = first; base < end; base += 32) {
        const int i = base + lane;
        const bool live = i < end;
        const float4 c = live ? samples[i] : make_float4(0, 0, 0, 0);
        const float length = live ? lengths[i] : 0.0f, t = live ? positions[i] : 1.0f, tau = c.w * length, through = scan(tau, lane);
        const float w = __expf(-(before + through - tau)) * (1 - __expf(-tau));
        before += __shfl_sync(ALL, through, 31);
        r += w * c.x, g += w * c.y, b += w * c.z, opacity += w;
        off += w * fminf(fabsf(t - depth) / fmaxf(depth, 1e-6f), 0.5f);
        if (loss.distortion > 0) {
            const float near = 1 / (1 + t), s = 1 - near;
            const float ws = scan(w, lane), wss = scan(w * s, lane);
            spread += 2 * w * (s * (sum_w + ws - w) - (sum_ws + wss - w * s)) + w * w * length * near * near / 3;
            sum_w += __shfl_sync(ALL, ws, 31), sum_ws += __shfl_sync(ALL, wss, 31);
        }
        if (live && grid) {  // a running mean; of samples that meet in a cell at the same moment some are lost, which only slows it
            const int x = min(max((int)(points[3 * i] * side), 0), side - 1), y = min(max((int)(points[3 * i + 1] * side), 0), side - 1);
            const int z = min(max((int)(points[3 * i + 2] * side), 0), side - 1), cell = (z * side + y) * side + x;
            const float old = grid[cell];
            grid[cell] = old + rate * (fminf(c.w, limits[cell]) - old);
        }
    }
    r = total(r), g = total(g), b = total(b), opacity = total(opacity), off = total(off);
    const int view = view_of[ray];
    float color[3] = {r, g, b}, gradient[3], error = 0, value = 0, to_opacity = 0;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
        const float gain = gains ? gains[3 * view + a] : 1.0f, back = behind[3 * ray + a] * (gains && !transparent ? gain : 1.0f);
        const float seen = color[a] * gain + (1 - opacity) * back, d = seen - truth[3 * ray + a], size = fabsf(d);
        error += d * d;
        value += size < 0.1f ? 5 * d * d : size - 0.05f;  // Huber with delta 0.1, over delta
        const float slope = (size < 0.1f ? 10 * d : copysignf(1.0f, d)) / 3;
        to_opacity -= slope * back;
        if (lane == 0) {
            if (d_behind) d_behind[3 * ray + a] = slope * (1 - opacity) * (gains && !transparent ? gain : 1.0f) * loss.scale;
            if (d_gains) atomicAdd(d_gains + 3 * view + a, slope * (color[a] + (transparent ? 0.0f : (1 - opacity) * behind[3 * ray + a])));
        }
        gradient[a] = slope * gain;
    }
    value /= 3, error /= 3;
    float clamped = fminf(fmaxf(opacity, 1e-4f), 1 - 1e-4f);
    if (transparent && loss.opacity > 0) {
        value += loss.opacity * -(clamped * __logf(clamped) + (1 - clamped) * __logf(1 - clamped));
        if (opacity > 1e-4f && opacity < 1 - 1e-4f) to_opacity += loss.opacity * (__logf(1 - clamped) - __logf(clamped));
    }
    value += loss.depth * known * (off + 0.5f * (1 - opacity));
    to_opacity -= loss.depth * known * 0.5f;
    if (loss.distortion > 0) {
        spread = total(spread);
        value += loss.distortion * spread;
    }
    if (lane == 0) {
        // 64 places, so that few rays meet in one
        float* sums = statistics + 4 * (ray & 63);
        reduce_float4(sums, value, error, 1.0f, (float)range.y);
    }
    // Once more along the ray, for the gradient of every optical depth. What all samples pass on is known already: the loss is
    // linear in the weights, but for the distortion, which is quadratic.
    float left = gradient[0] * r + gradient[1] * g + gradient[2] * b + to_opacity * opacity + loss.depth * known * off + 2 * loss.distortion * spread;
    float left_w = 0, left_ws = 0;
    before = 0;
    for (int base = first; base < end; base += 32) {
        const int i = base + lane;
        const bool live = i < end;
        const float4 c = live ? samples[i] : make_float4(0, 0, 0, 0);
        const float length = live ? lengths[i] : 0.0f, t = live ? positions[i] : 1.0f, tau = c.w * length, through = scan(tau, lane);
        const float w = __expf(-(before + through - tau)) * (1 - __expf(-tau));
        float dw = gradient[0] * c.x + gradient[1] * c.y + gradient[2] * c.z + to_opacity;
        dw += loss.depth * known * fminf(fabsf(t - depth) / fmaxf(depth, 1e-6f), 0.5f);
        if (loss.distortion > 0) {
            const float near = 1 / (1 + t), s = 1 - near, ws = scan(w, lane), wss = scan(w * s, lane);
            const float l_w = left_w + ws - w, l_ws = left_ws + wss - w * s;
            const float left_part = s * l_w - l_ws, right_part = (sum_ws - l_ws - w * s) - s * (sum_w - l_w - w);
            dw += loss.distortion * (2 * (left_part + right_part) + 2.0f / 3.0f * w * length * near * near);
            left_w += __shfl_sync(ALL, ws, 31), left_ws += __shfl_sync(ALL, wss, 31);
        }
        const float passed = scan(live ? dw * w : 0.0f, lane), d_tau = dw * __expf(-(before + through)) - (left - passed);
        left -= __shfl_sync(ALL, passed, 31), before += __shfl_sync(ALL, through, 31);
        if (live) {
            // Behind an optical depth of 25 nothing shows, and rounding would be all that is left of the difference.
            const float d_logit = tau < 25.0f ? d_tau * length * fminf(c.w, 1e5f) * loss.scale : 0.0f, k = w * loss.scale;
            gradients[i] = make_uint2(pack(k * gradient[0] * sigmoid_slope(c.x, gradient[0]), k * gradient[1] * sigmoid_slope(c.y, gradient[1])),
                                      pack(k * gradient[2] * sigmoid_slope(c.z, gradient[2]), fminf(fmaxf(d_logit, -6e4f), 6e4f)));
        }
    }
}
