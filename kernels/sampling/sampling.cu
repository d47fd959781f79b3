// Importance sampling along rays from a coarse density grid (see sampling.py), one warp a ray, and the drawing of training rays.
//
// MOST: most samples a ray. CONTRACTED: the grid covers all of space. A ray's steps are known in closed form, so that the
// lanes look at 32 of them at a time.

#define WARPS 4
#define ALL 0xffffffffu

struct Spacing { float step, cone, finest, uniform; int samples, side; };

// Distance of the k-th step's start: even steps, then geometric ones where the cone is wider.
DEVICE float start_of(float near, int k, const Spacing& s, float even, int evens, float log_growth) {
    if (k <= evens) return near + k * s.step;
    return even * __expf((k - evens) * log_growth);
}

DEVICE void to_unit(float& x, float& y, float& z) {
#if CONTRACTED
    const float norm = fmaxf(fabsf(x), fmaxf(fabsf(y), fabsf(z)));
    const float factor = norm > 1.0f ? (2.0f - 1.0f / norm) / norm : 1.0f;
    x = (x * factor + 2.0f) * 0.25f, y = (y * factor + 2.0f) * 0.25f, z = (z * factor + 2.0f) * 0.25f;
#else
    x = (x + 1.0f) * 0.5f, y = (y + 1.0f) * 0.5f, z = (z + 1.0f) * 0.5f;
#endif
}

DEVICE float density_at(float x, float y, float z, const float* __restrict__ grid, int side) {
    to_unit(x, y, z);
    if (!(x >= 0 && y >= 0 && z >= 0 && x < 1 && y < 1 && z < 1)) return 0;
    const int i = min((int)(x * side), side - 1), j = min((int)(y * side), side - 1), k = min((int)(z * side), side - 1);
    return __ldg(grid + ((u64)k * side + j) * side + i);
}

DEVICE float scan(float v, int lane) {  // inclusive sum over the warp
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const float other = __shfl_up_sync(ALL, v, d);
        if (lane >= d) v += other;
    }
    return v;
}

struct Walk { float o[3], d[3], near, far; };
struct Step { float start, span, sigma; };

DEVICE Step step_at(const Walk& w, int k, const Spacing& s, float even, int evens, float log_growth, const float* __restrict__ grid) {
    const float start = start_of(w.near, k, s, even, evens, log_growth);
    if (!(start < w.far)) return {start, 0, 0};
    const float span = fmaxf(start * s.cone, s.step), middle = start + 0.5f * span;
    const float sigma = density_at(w.o[0] + middle * w.d[0], w.o[1] + middle * w.d[1], w.o[2] + middle * w.d[2], grid, s.side);
    return {start, sigma > 0 ? span : 0.0f, sigma};
}

// Positions and lengths of a ray's samples into shared memory; all lanes return their number.
DEVICE int sample_ray(const Walk& w, float jitter, const Spacing& s, const float* __restrict__ grid, float* positions, float* bounds, int lane) {
    int evens = 1 << 28;
    float even = 0, log_growth = 0;
    if (s.cone > 0) {
        evens = max((int)ceilf((s.step / s.cone - w.near) / s.step), 0);
        even = w.near + evens * s.step;
        log_growth = log1pf(s.cone);
    }
    float depth = 0, mass = 0, share = 0, length = 0;  // optical depth before; sums of the ray
    int last = 0;
    for (int base = 0; base < 4096; base += 32) {
        const Step step = step_at(w, base + lane, s, even, evens, log_growth, grid);
        if (__all_sync(ALL, !(step.start < w.far))) break;
        last = base + 32;
        const u32 occupied = __ballot_sync(ALL, step.sigma > 0);
        if (!occupied) continue;
        const float tau = step.sigma * step.span, through = scan(tau, lane);
        float m = __expf(-(depth + through - tau)) * (1 - __expf(-tau));
        float h = step.span > 0 ? step.span / (step.span + step.start + 0.5f * step.span) : 0.0f, l = step.span;
#pragma unroll
        for (int d = 16; d; d /= 2) m += __shfl_xor_sync(ALL, m, d), h += __shfl_xor_sync(ALL, h, d), l += __shfl_xor_sync(ALL, l, d);
        mass += m, share += h, length += l;
        depth += __shfl_sync(ALL, through, 31);
    }
    if (!(length > 0)) return 0;
    const int count = min((int)ceilf(length / (s.step * s.finest) - 0.01f), s.samples);
    const float known = (1 - s.uniform) * fminf(mass, 1.0f);
    const float per_mass = known / fmaxf(mass, 1e-12f), per_share = (1 - known) / fmaxf(share, 1e-12f);
    float below = 0, arc = 0;
    depth = 0;
    for (int k = lane; k <= count; k += 32) positions[min(k, MOST - 1)] = bounds[k] = -1;
    __syncwarp();
    for (int base = 0; base < last; base += 32) {
        const Step step = step_at(w, base + lane, s, even, evens, log_growth, grid);
        if (!__ballot_sync(ALL, step.sigma > 0)) continue;
        const float tau = step.sigma * step.span, through = scan(tau, lane), lengths = scan(step.span, lane);
        const float m = __expf(-(depth + through - tau)) * (1 - __expf(-tau));
        const float h = step.span > 0 ? step.span / (step.span + step.start + 0.5f * step.span) : 0.0f;
        const float p = step.span > 0 ? m * per_mass + h * per_share : 0.0f;
        const float to = below + scan(p, lane);
        float from = __shfl_up_sync(ALL, to, 1);
        if (lane == 0) from = below;
        if (p > 0) {
            // samples whose share of probability, (k + jitter) / count, lies in [from, to); bounds k / count likewise
            const float c = (float)count;
            // one earlier than rounding says, lest nobody claims what lies on an edge
            for (int k = max((int)ceilf(from * c - jitter) - 1, 0); k < count; ++k) {
                const float u = (k + jitter) / c;
                if (u >= to) break;
                if (u >= from) positions[k] = step.start + fminf(fmaxf((u - from) / p, 0.0f), 1.0f) * step.span;
            }
            for (int k = max((int)ceilf(from * c) - 1, 0); k <= count; ++k) {
                const float u = k / c;
                if (u >= to) break;
                if (u >= from) bounds[k] = arc + lengths - step.span + fminf(fmaxf((u - from) / p, 0.0f), 1.0f) * step.span;
            }
            if (step.span > 0) bounds[MOST + 1] = step.start + step.span;  // any occupied end serves for what rounding leaves over
        }
        below = __shfl_sync(ALL, to, 31);
        arc += __shfl_sync(ALL, lengths, 31);
        depth += __shfl_sync(ALL, through, 31);
    }
    __syncwarp();
    if (lane == 0) bounds[0] = 0, bounds[count] = length;
    __syncwarp();
    bool unclaimed = false;
    for (int k = lane; k < count; k += 32) unclaimed |= positions[k] < 0 || bounds[k] < 0;
    if (__any_sync(ALL, unclaimed) && lane == 0) {
        // Rounding may let the sums end a little early: a sample nobody claimed lies where the one before does.
        for (int k = 0; k < count; ++k) {
            if (positions[k] < 0) positions[k] = k ? positions[k - 1] : bounds[MOST + 1];
            if (bounds[k] < 0) bounds[k] = bounds[k - 1];
        }
    }
    __syncwarp();
    return count;
}

// Given rays: positions and lengths [rays, samples], counts [rays].
KERNEL void __launch_bounds__(32 * WARPS) sample_rays(
    const float* __restrict__ origins, const float* __restrict__ directions, const float* __restrict__ near, const float* __restrict__ far,
    const float* __restrict__ jitter, const float* __restrict__ grid, float step, float cone, float finest, float uniform, int samples, int side,
    int rays, long long* __restrict__ counts, float* __restrict__ positions, float* __restrict__ lengths) {
    __shared__ float pos[WARPS][MOST], bounds[WARPS][MOST + 2];
    const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, ray = blockIdx.x * WARPS + warp;
    if (ray >= rays) return;
    Walk w;
#pragma unroll
    for (int a = 0; a < 3; ++a) w.o[a] = origins[3 * ray + a], w.d[a] = directions[3 * ray + a];
    w.near = near[ray], w.far = far[ray];
    const Spacing s = {step, cone, finest, uniform, samples, side};
    const int count = sample_ray(w, jitter[ray], s, grid, pos[warp], bounds[warp], lane);
    if (lane == 0) counts[ray] = count;
    for (int k = lane; k < count; k += 32) {
        positions[(u64)ray * samples + k] = pos[warp][k];
        lengths[(u64)ray * samples + k] = bounds[warp][k + 1] - bounds[warp][k];
    }
}

DEVICE u32 mix(u32 v) {  // PCG (Jarzynski & Olano 2020)
    v = v * 747796405u + 2891336453u;
    const u32 w = ((v >> ((v >> 28) + 4)) ^ v) * 277803737u;
    return (w >> 22) ^ w;
}
DEVICE float uniform_of(u32 v) { return (v >> 8) * (1.0f / 16777216.0f); }

// The training step's beginning: draw pixels, walk their rays, pack the samples.
// control (int): 0 step, 1 rays wanted, 2 samples asked for, 3 samples that fit.
KERNEL void __launch_bounds__(32 * WARPS) draw(
    const unsigned char* __restrict__ rgb, const unsigned char* __restrict__ inside, const float* __restrict__ depths,
    const long long* __restrict__ candidates, long long candidate_count, const long long* __restrict__ offsets, int views,
    const int* __restrict__ widths, const float* __restrict__ matrices, const float* __restrict__ centers, const float* __restrict__ near_far,
    const float* __restrict__ grid, float step, float cone, float finest, float uniform, int samples, int side, u32 seed, int capacity,
    int* __restrict__ control, int2* __restrict__ ranges, float* __restrict__ truth, float* __restrict__ behind, int* __restrict__ view_of,
    float* __restrict__ wanted, u32* __restrict__ harmonics, float* __restrict__ positions, float* __restrict__ lengths,
    int* __restrict__ ray_of, float* __restrict__ points) {
    __shared__ float pos[WARPS][MOST], bounds[WARPS][MOST + 2];
    const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, ray = blockIdx.x * WARPS + warp;
    if (ray >= control[1]) return;
    const u32 noise = mix(ray ^ mix((u32)control[0] ^ mix(seed)));
    const u64 pick = (((u64)noise << 32) | mix(noise)) % (u64)candidate_count;
    const long long pixel = candidates[pick];
    int lo = 0, hi = views;  // offsets[lo] <= pixel < offsets[hi]
    while (hi - lo > 1) {
        const int middle = (lo + hi) / 2;
        if (offsets[middle] <= pixel) lo = middle; else hi = middle;
    }
    const int view = lo, within = (int)(pixel - offsets[view]), width = widths[view];
    const float px = within % width + 0.5f, py = within / width + 0.5f;
    const float* m = matrices + 9 * view;  // camera to world, of a homogeneous pixel
    Walk w;
    float norm = 0;
#pragma unroll
    for (int a = 0; a < 3; ++a) w.d[a] = m[3 * a] * px + m[3 * a + 1] * py + m[3 * a + 2], norm += w.d[a] * w.d[a], w.o[a] = centers[3 * view + a];
    norm = rsqrtf(norm);
#pragma unroll
    for (int a = 0; a < 3; ++a) w.d[a] *= norm;
    w.near = near_far[2 * view], w.far = near_far[2 * view + 1];  // normalised units
#if CONTRACTED
    w.far = fminf(w.far, sqrtf(w.o[0] * w.o[0] + w.o[1] * w.o[1] + w.o[2] * w.o[2]) + 60.0f);
#else
    float enter = 0, leave = 1e30f;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
        const float inverse = 1.0f / (fabsf(w.d[a]) < 1e-9f ? 1e-9f : w.d[a]), p = (-1 - w.o[a]) * inverse, q = (1 - w.o[a]) * inverse;
        enter = fmaxf(enter, fminf(p, q)), leave = fminf(leave, fmaxf(p, q));
    }
    w.near = fmaxf(w.near, enter), w.far = fminf(w.far, leave);
#endif
    const Spacing s = {step, cone, finest, uniform, samples, side};
    int count = sample_ray(w, uniform_of(mix(noise ^ 0x9e3779b9u)), s, grid, pos[warp], bounds[warp], lane);
    int start = 0;
    if (lane == 0 && count) start = atomicAdd(control + 2, count);
    start = __shfl_sync(ALL, start, 0);
    if (start + count > capacity) {
        for (int k = start + lane; k < capacity; k += 32) ray_of[k] = -1;
        if (lane == 0) ranges[ray] = make_int2(0, -1);
        return;
    }
    if (lane == 0) {
        ranges[ray] = make_int2(start, count);
        view_of[ray] = view;
        wanted[ray] = depths ? depths[pixel] : 0.0f;
        const float x = w.d[0], y = w.d[1], z = w.d[2], xx = x * x, yy = y * y, zz = z * z;
        u32* h = harmonics + 8 * ray;
        h[0] = pack(0.28209479f, -0.48860251f * y);
        h[1] = pack(0.48860251f * z, -0.48860251f * x);
        h[2] = pack(1.0925484f * x * y, -1.0925484f * y * z);
        h[3] = pack(0.31539157f * (3 * zz - 1), -1.0925484f * x * z);
        h[4] = pack(0.54627422f * (xx - yy), -0.59004359f * y * (3 * xx - yy));
        h[5] = pack(2.8906114f * x * y * z, -0.45704580f * y * (5 * zz - 1));
        h[6] = pack(0.37317633f * z * (5 * zz - 3), -0.45704580f * x * (5 * zz - 1));
        h[7] = pack(1.4453057f * z * (xx - yy), -0.59004359f * x * (xx - 3 * yy));
    }
    if (lane < 3) {
        // A background that changes with every ray cannot be imitated by fog.
        const float random = uniform_of(mix(noise ^ (0x51ed27u * (lane + 1))));
        behind[3 * ray + lane] = random;
        truth[3 * ray + lane] = inside[pixel] || !TRANSPARENT ? rgb[3 * pixel + lane] * (1.0f / 255.0f) : random;
    }
    for (int k = lane; k < count; k += 32) {
        const float t = pos[warp][k];
        float x = w.o[0] + t * w.d[0], y = w.o[1] + t * w.d[1], z = w.o[2] + t * w.d[2];
        to_unit(x, y, z);
        const int at = start + k;
        positions[at] = t, lengths[at] = bounds[warp][k + 1] - bounds[warp][k], ray_of[at] = ray;
        points[3 * at] = x, points[3 * at + 1] = y, points[3 * at + 2] = z;
    }
}

// After all rays: how many samples there are to work on.
KERNEL void fit(int* __restrict__ control, int capacity) { control[3] = min(control[2], capacity); }
