// Multi-resolution hash encoding (Mueller et al. 2022): forward, gradients of the table and of the points.
//
// L levels of F features; HALF: the table holds half precision; HALF_GRAD: so does its gradient; HASH: see rows(); PAIRS: two
// corners that lie side by side in the table are read, or added to, at once; G: levels a thread of encode() walks;
// MERGE: lanes of a warp whose points share a cell add up their gradients before one of them writes.

#if HALF
typedef u16 Entry;
#else
typedef float Entry;
#endif
#if HALF_GRAD
typedef u16 Gradient;
#else
typedef float Gradient;
#endif

struct Level { int resolution, dense; u32 offset, mask; };

DEVICE u32 spread(u32 v) {  // ten bits, two zeros between them
    v &= 0x3ffu;
    v = (v | (v << 16)) & 0x030000ffu;
    v = (v | (v << 8)) & 0x0300f00fu;
    v = (v | (v << 4)) & 0x030c30c3u;
    return (v | (v << 2)) & 0x09249249u;
}

// A hashed row is the exclusive or of a number for each axis.
template <int AXIS> DEVICE u32 axis_hash(u32 v) {
    const u32 prime = AXIS == 0 ? 1u : AXIS == 1 ? 2654435761u : 805459861u;
#if HASH == 0
    return v * prime;  // coherent_prime (Instant-NGP)
#elif HASH == 1
    return spread(v) << AXIS;  // morton (Instant-NeRF)
#else
    return (((v >> 3) * prime) << 9) ^ (((v & 1u) | ((v & 2u) << 2) | ((v & 4u) << 4)) << AXIS);  // block_morton
#endif
}

struct Cell {
    u32 x, y, z;
    float fx, fy, fz;
};

DEVICE Cell cell_of(const float* __restrict__ points, int i, int resolution) {
    const float scale = (float)resolution, top = scale - 1.0f;
    const float px = fminf(fmaxf(points[3 * i], 0.0f), 1.0f) * scale;
    const float py = fminf(fmaxf(points[3 * i + 1], 0.0f), 1.0f) * scale;
    const float pz = fminf(fmaxf(points[3 * i + 2], 0.0f), 1.0f) * scale;
    const float x = fminf(floorf(px), top), y = fminf(floorf(py), top), z = fminf(floorf(pz), top);
    return {(u32)x, (u32)y, (u32)z, px - x, py - y, pz - z};
}

// Rows of the eight corners: bit 0 of a corner is x, 1 is y, 2 is z.
DEVICE void rows_of(const Cell& c, const Level& level, u32 rows[8]) {
    if (level.dense) {
        const u32 side = level.resolution + 1, face = side * side;
        const u32 first = level.offset + c.x + side * c.y + face * c.z;
#pragma unroll
        for (int k = 0; k < 8; ++k) rows[k] = first + (k & 1) + ((k >> 1) & 1) * side + (k >> 2) * face;
    } else {
        const u32 x[2] = {axis_hash<0>(c.x), axis_hash<0>(c.x + 1)};
        const u32 y[2] = {axis_hash<1>(c.y), axis_hash<1>(c.y + 1)};
        const u32 z[2] = {axis_hash<2>(c.z), axis_hash<2>(c.z + 1)};
#pragma unroll
        for (int k = 0; k < 8; ++k) rows[k] = level.offset + ((x[k & 1] ^ y[(k >> 1) & 1] ^ z[k >> 2]) & level.mask);
    }
}

DEVICE void weights_of(const Cell& c, float w[8]) {
    const float gx = 1 - c.fx, gy = 1 - c.fy, gz = 1 - c.fz;
    const float a = gy * gz, b = c.fy * gz, d = gy * c.fz, e = c.fy * c.fz;
    w[0] = gx * a, w[1] = c.fx * a, w[2] = gx * b, w[3] = c.fx * b;
    w[4] = gx * d, w[5] = c.fx * d, w[6] = gx * e, w[7] = c.fx * e;
}

DEVICE Level level_at(const int4* __restrict__ levels, int l) {
    const int4 v = __ldg(levels + l);
    return {v.x, v.y, (u32)v.z, (u32)v.w};
}

constexpr int ENTRY_BYTES = F * (int)sizeof(Entry);
constexpr int ENTRY_WORDS = ENTRY_BYTES >= 4 ? ENTRY_BYTES / 4 : 1;

DEVICE void unpack(const u32* words, float out[F]) {
#if HALF && F == 1
    out[0] = low(words[0]);
#elif HALF
#pragma unroll
    for (int f = 0; f < F; f += 2) out[f] = low(words[f / 2]), out[f + 1] = high(words[f / 2]);
#else
#pragma unroll
    for (int f = 0; f < F; ++f) out[f] = __uint_as_float(words[f]);
#endif
}

DEVICE void read(const Entry* __restrict__ table, u32 row, float out[F]) {
    const char* at = (const char*)table + (u64)row * ENTRY_BYTES;
    u32 words[ENTRY_WORDS];
    if constexpr (ENTRY_BYTES == 2) words[0] = __ldg((const u16*)at);
    else if constexpr (ENTRY_BYTES == 4) words[0] = __ldg((const u32*)at);
    else if constexpr (ENTRY_BYTES == 8) *(uint2*)words = __ldg((const uint2*)at);
    else {
#pragma unroll
        for (int k = 0; k < ENTRY_WORDS; k += 4) *(uint4*)(words + k) = __ldg((const uint4*)(at + 4 * k));
    }
    unpack(words, out);
}

// Two corners; at one go where they share an aligned pair of entries.
DEVICE void read_pair(const Entry* __restrict__ table, u32 row0, u32 row1, float a[F], float b[F]) {
#if PAIRS
    if constexpr (ENTRY_BYTES == 4 || ENTRY_BYTES == 8) {
        u32 words[2 * ENTRY_WORDS];
        const char* at = (const char*)table + (u64)(row0 & ~1u) * ENTRY_BYTES;
        if constexpr (ENTRY_BYTES == 4) *(uint2*)words = __ldg((const uint2*)at);
        else *(uint4*)words = __ldg((const uint4*)at);
        const bool odd = row0 & 1u;
        u32 first[ENTRY_WORDS], second[ENTRY_WORDS];
#pragma unroll
        for (int k = 0; k < ENTRY_WORDS; ++k) {
            first[k] = odd ? words[ENTRY_WORDS + k] : words[k];
            second[k] = odd ? words[k] : words[ENTRY_WORDS + k];
        }
        unpack(first, a);
        unpack(second, b);
        if ((row0 ^ row1) != 1u) read(table, row1, b);
        return;
    }
#endif
    read(table, row0, a);
    read(table, row1, b);
}

// A program's threads are points; blockIdx.y is a group of G levels, so that the groups follow one another.
// order: which point each thread takes; null: as they come.
KERNEL void __launch_bounds__(BLOCK) encode(
    const float* __restrict__ points, const Entry* __restrict__ table, const int4* __restrict__ levels, Entry* __restrict__ out, int n,
    const int* __restrict__ count, const int* __restrict__ order) {
    const int place = blockIdx.x * BLOCK + threadIdx.x;
    if (place >= n || (count && place >= *count)) return;
    const int i = order ? order[place] : place;
    float acc[G * F];
#pragma unroll
    for (int g = 0; g < G; ++g) {
        const Level level = level_at(levels, blockIdx.y * G + g);
        const Cell cell = cell_of(points, i, level.resolution);
        u32 rows[8];
        float w[8];
        rows_of(cell, level, rows);
        weights_of(cell, w);
#pragma unroll
        for (int f = 0; f < F; ++f) acc[g * F + f] = 0;
#pragma unroll
        for (int k = 0; k < 8; k += 2) {
            float a[F], b[F];
            read_pair(table, rows[k], rows[k + 1], a, b);
#pragma unroll
            for (int f = 0; f < F; ++f) acc[g * F + f] += w[k] * a[f] + w[k + 1] * b[f];
        }
    }
    Entry* to = out + (u64)i * (L * F) + blockIdx.y * (G * F);
    constexpr int BYTES = G * ENTRY_BYTES;
    u32 words[(BYTES + 3) / 4];
#if HALF
#pragma unroll
    for (int f = 0; f + 1 < G * F; f += 2) words[f / 2] = pack(acc[f], acc[f + 1]);
    if constexpr (G * F % 2) words[G * F / 2] = float_to_half(acc[G * F - 1]);
#else
#pragma unroll
    for (int f = 0; f < G * F; ++f) words[f] = __float_as_uint(acc[f]);
#endif
    if constexpr (BYTES == 2) *to = (Entry)words[0];
    else if constexpr (BYTES % 16 == 0 && (L * ENTRY_BYTES) % 16 == 0) {
#pragma unroll
        for (int k = 0; k < BYTES / 16; ++k) ((uint4*)to)[k] = *(uint4*)(words + 4 * k);
    } else if constexpr (BYTES % 8 == 0 && (L * ENTRY_BYTES) % 8 == 0) {
#pragma unroll
        for (int k = 0; k < BYTES / 8; ++k) ((uint2*)to)[k] = *(uint2*)(words + 2 * k);
    } else if constexpr (BYTES % 4 == 0 && (L * ENTRY_BYTES) % 4 == 0) {
#pragma unroll
        for (int k = 0; k < BYTES / 4; ++k) ((u32*)to)[k] = words[k];
    } else {
#pragma unroll
        for (int f = 0; f < G * F; ++f) {
#if HALF
            to[f] = (u16)(words[f / 2] >> (16 * (f & 1)));
#else
            to[f] = acc[f];
#endif
        }
    }
}

DEVICE void load_gradient(const Entry* __restrict__ grad, u64 at, float g[F]) {
#if HALF
    if constexpr (F % 2 == 0) {
#pragma unroll
        for (int f = 0; f < F; f += 2) {
            const u32 v = __ldg((const u32*)(grad + at + f));
            g[f] = low(v), g[f + 1] = high(v);
        }
    } else {
        g[0] = half_to_float(grad[at]);
    }
#else
#pragma unroll
    for (int f = 0; f < F; ++f) g[f] = grad[at + f];
#endif
}

DEVICE void add(Gradient* __restrict__ table, u32 row, const float v[F]) {
    Gradient* at = table + (u64)row * F;
#if HALF_GRAD
    if constexpr (F == 1) reduce_half(at, v[0]);
    else if constexpr (F == 2) reduce_half2(at, pack(v[0], v[1]));
    else if constexpr (F == 4) reduce_half4(at, pack(v[0], v[1]), pack(v[2], v[3]));
    else reduce_half8(at, pack(v[0], v[1]), pack(v[2], v[3]), pack(v[4], v[5]), pack(v[6], v[7]));
#else
    if constexpr (F == 1) reduce_float(at, v[0]);
    else if constexpr (F == 2) reduce_float2(at, v[0], v[1]);
    else {
#pragma unroll
        for (int f = 0; f < F; f += 4) reduce_float4(at + f, v[f], v[f + 1], v[f + 2], v[f + 3]);
    }
#endif
}

// Two corners; at one go where they share an aligned pair of eight-byte entries.
DEVICE void add_pair(Gradient* __restrict__ table, u32 row0, u32 row1, const float a[F], const float b[F]) {
#if PAIRS
    if constexpr (F * sizeof(Gradient) == 8) {
        if ((row0 ^ row1) == 1u) {
            const bool odd = row0 & 1u;
            float lo[F], hi[F];
#pragma unroll
            for (int f = 0; f < F; ++f) lo[f] = odd ? b[f] : a[f], hi[f] = odd ? a[f] : b[f];
            Gradient* at = table + (u64)(row0 & ~1u) * F;
#if HALF_GRAD
            reduce_half8(at, pack(lo[0], lo[1]), pack(lo[2], lo[3]), pack(hi[0], hi[1]), pack(hi[2], hi[3]));
#else
            reduce_float4((float*)at, lo[0], lo[1], hi[0], hi[1]);
#endif
            return;
        }
    }
#endif
    add(table, row0, a);
    add(table, row1, b);
}

// The four corners of a cell's face; those that share an aligned quad of four-byte entries go at one go, as a vector of 16 bytes.
DEVICE void add_face(Gradient* __restrict__ table, const u32 rows[4], const float v[4][F]) {
#if PAIRS
    if constexpr (F * sizeof(Gradient) == 4) {
        u32 words[4], left = 15u;
#pragma unroll
        for (int k = 0; k < 4; ++k)
#if HALF_GRAD
            words[k] = pack(v[k][0], v[k][1]);
#else
            words[k] = __float_as_uint(v[k][0]);
#endif
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (!(left >> k & 1u)) continue;
            u32 quad[4], used = 1u << (rows[k] & 3u);
#pragma unroll
            for (u32 s = 0; s < 4; ++s) quad[s] = (rows[k] & 3u) == s ? words[k] : 0u;
#pragma unroll
            for (int j = k + 1; j < 4; ++j) {
                const u32 slot = rows[j] & 3u;
                // two corners that collide in one entry go one after the other
                if (!(left >> j & 1u) || (rows[j] ^ rows[k]) > 3u || (used >> slot & 1u)) continue;
                used |= 1u << slot, left &= ~(1u << j);
#pragma unroll
                for (u32 s = 0; s < 4; ++s) quad[s] = slot == s ? words[j] : quad[s];
            }
            u32* at = (u32*)table + (rows[k] & ~3u);
#if HALF_GRAD
            if (used == 3u) reduce_half4(at, quad[0], quad[1]);
            else if (used == 12u) reduce_half4(at + 2, quad[2], quad[3]);
            else if (used & (used - 1)) reduce_half8(at, quad[0], quad[1], quad[2], quad[3]);
            else reduce_half2((u32*)table + rows[k], words[k]);
#else
            if (used & (used - 1)) reduce_float4((float*)at, __uint_as_float(quad[0]), __uint_as_float(quad[1]), __uint_as_float(quad[2]), __uint_as_float(quad[3]));
            else reduce_float((float*)table + rows[k], v[k][0]);
#endif
        }
        return;
    }
#endif
    add_pair(table, rows[0], rows[1], v[0], v[1]);
    add_pair(table, rows[2], rows[3], v[2], v[3]);
}

// Whom the lane's sum belongs to: the number of lanes from this one on that lie in its cell, and whether it is the first.
struct Run { int length; bool first; };

DEVICE Run run_of(const Cell& c, int lane) {
    const u32 all = 0xffffffffu, k0 = c.x | (c.y << 16), k1 = c.z;
    const u32 p0 = __shfl_up_sync(all, k0, 1), p1 = __shfl_up_sync(all, k1, 1);
    const bool first = lane == 0 || p0 != k0 || p1 != k1;
    const u32 firsts = __ballot_sync(all, first);
    const u32 later = lane == 31 ? 0u : firsts >> (lane + 1);
    return {later ? __ffs(later) : 32 - lane, first};
}

// LEVELS_FIRST 0: all points of a level, then the next level. 1: neighbouring blocks take different levels.
// order: which point each lane takes; null: as they come.
KERNEL void __launch_bounds__(BLOCK) encode_backward(
    const float* __restrict__ points, const Entry* __restrict__ grad, const int4* __restrict__ levels, Gradient* __restrict__ dtable, int n,
    int first_level, const int* __restrict__ count, const int* __restrict__ order) {
    const int l = first_level + (LEVELS_FIRST ? blockIdx.x : blockIdx.y);
    const int chunk = LEVELS_FIRST ? blockIdx.y : blockIdx.x;
    const int place = chunk * BLOCK + threadIdx.x, lane = threadIdx.x & 31;
    const int end = count ? min(n, *count) : n;
    if (chunk * BLOCK >= end) return;
    const int i = order ? order[min(place, end - 1)] : min(place, end - 1);
    const Level level = level_at(levels, l);
    float g[F];
#pragma unroll
    for (int f = 0; f < F; ++f) g[f] = 0;
    const Cell cell = cell_of(points, i, level.resolution);
    if (place < end) load_gradient(grad, (u64)i * (L * F) + l * F, g);
    bool live = false;
#pragma unroll
    for (int f = 0; f < F; ++f) live |= g[f] != 0;
    float w[8];
    weights_of(cell, w);
#if MERGE
    if (!__any_sync(0xffffffffu, live)) return;
    const Run run = run_of(cell, lane);
    const int longest = __reduce_max_sync(0xffffffffu, run.length);
    float v[8][F];
#pragma unroll
    for (int k = 0; k < 8; ++k)
#pragma unroll
        for (int f = 0; f < F; ++f) v[k][f] = w[k] * g[f];
    for (int step = 1; step < longest; step *= 2) {
        const bool take = step < run.length;
#pragma unroll
        for (int k = 0; k < 8; ++k)
#pragma unroll
            for (int f = 0; f < F; ++f) {
                const float other = __shfl_down_sync(0xffffffffu, v[k][f], step);
                v[k][f] += take ? other : 0.0f;
            }
    }
    if (!run.first) return;
    live = false;
#pragma unroll
    for (int k = 0; k < 8; ++k)
#pragma unroll
        for (int f = 0; f < F; ++f) live |= v[k][f] != 0;
    if (!live) return;
    u32 rows[8];
    rows_of(cell, level, rows);
    add_face(dtable, rows, v);
    add_face(dtable, rows + 4, v + 4);
#else
    if (!live) return;
    u32 rows[8];
    rows_of(cell, level, rows);
    float v[8][F];
#pragma unroll
    for (int k = 0; k < 8; ++k)
#pragma unroll
        for (int f = 0; f < F; ++f) v[k][f] = w[k] * g[f];
    add_face(dtable, rows, v);
    add_face(dtable, rows + 4, v + 4);
#endif
}

// Levels small enough for shared memory: a block keeps a copy of one level's gradient, and adds it to the table at its end.
KERNEL void __launch_bounds__(1024) encode_backward_private(
    const float* __restrict__ points, const Entry* __restrict__ grad, const int4* __restrict__ levels, Gradient* __restrict__ dtable, int n,
    int first_level, const int* __restrict__ count) {
    extern __shared__ float copy[];
    const int l = first_level + blockIdx.y, lane = threadIdx.x & 31;
    const Level level = level_at(levels, l);
    const int side = level.resolution + 1, entries = side * side * side;
    for (int k = threadIdx.x; k < entries * F; k += 1024) copy[k] = 0;
    __syncthreads();
    const int end = count ? min(n, *count) : n;
    for (int start = blockIdx.x * 1024; start < end; start += gridDim.x * 1024) {
        const int i = start + threadIdx.x;
        float g[F];
#pragma unroll
        for (int f = 0; f < F; ++f) g[f] = 0;
        const Cell cell = cell_of(points, min(i, end - 1), level.resolution);
        if (i < end) load_gradient(grad, (u64)i * (L * F) + l * F, g);
        float w[8];
        weights_of(cell, w);
        const Run run = run_of(cell, lane);
        const int longest = __reduce_max_sync(0xffffffffu, run.length);
        u32 rows[8];
        rows_of(cell, level, rows);
#pragma unroll
        for (int k = 0; k < 8; ++k) {
#pragma unroll
            for (int f = 0; f < F; ++f) {
                float v = w[k] * g[f];
                for (int step = 1; step < longest; step *= 2) {
                    const float other = __shfl_down_sync(0xffffffffu, v, step);
                    v += step < run.length ? other : 0.0f;
                }
                if (run.first && v != 0) atomicAdd(copy + (rows[k] - level.offset) * F + f, v);
            }
        }
    }
    __syncthreads();
    for (int k = threadIdx.x; k < entries; k += 1024) {
        float v[F];
        bool live = false;
#pragma unroll
        for (int f = 0; f < F; ++f) v[f] = copy[k * F + f], live |= v[f] != 0;
        if (live) add(dtable, level.offset + k, v);
    }
}

// Gradient of the points; zero along an axis on which a point was clamped.
KERNEL void __launch_bounds__(BLOCK) encode_backward_points(
    const float* __restrict__ points, const Entry* __restrict__ table, const Entry* __restrict__ grad, const int4* __restrict__ levels,
    float* __restrict__ out, int n, const int* __restrict__ order) {
    const int place = blockIdx.x * BLOCK + threadIdx.x;
    if (place >= n) return;
    const int i = order ? order[place] : place;
    float dx = 0, dy = 0, dz = 0;
    for (int l = 0; l < L; ++l) {
        const Level level = level_at(levels, l);
        const Cell c = cell_of(points, i, level.resolution);
        u32 rows[8];
        rows_of(c, level, rows);
        float g[F], dots[8];
        load_gradient(grad, (u64)i * (L * F) + l * F, g);
#pragma unroll
        for (int k = 0; k < 8; k += 2) {
            float a[F], b[F];
            read_pair(table, rows[k], rows[k + 1], a, b);
            dots[k] = dots[k + 1] = 0;
#pragma unroll
            for (int f = 0; f < F; ++f) dots[k] += a[f] * g[f], dots[k + 1] += b[f] * g[f];
        }
        const float s = (float)level.resolution, gx = 1 - c.fx, gy = 1 - c.fy, gz = 1 - c.fz;
        dx += s * (gy * gz * (dots[1] - dots[0]) + c.fy * gz * (dots[3] - dots[2]) + gy * c.fz * (dots[5] - dots[4]) + c.fy * c.fz * (dots[7] - dots[6]));
        dy += s * (gx * gz * (dots[2] - dots[0]) + c.fx * gz * (dots[3] - dots[1]) + gx * c.fz * (dots[6] - dots[4]) + c.fx * c.fz * (dots[7] - dots[5]));
        dz += s * (gx * gy * (dots[4] - dots[0]) + c.fx * gy * (dots[5] - dots[1]) + gx * c.fy * (dots[6] - dots[2]) + c.fx * c.fy * (dots[7] - dots[3]));
    }
    const float px = points[3 * i], py = points[3 * i + 1], pz = points[3 * i + 2];
    out[3 * i] = px < 0 || px > 1 ? 0 : dx;
    out[3 * i + 1] = py < 0 || py > 1 ? 0 : dy;
    out[3 * i + 2] = pz < 0 || pz > 1 ? 0 : dz;
}

// Adam on entries whose gradient is not zero (Mueller et al. 2022, section 4); the gradient is cleared. Four values a thread.
// rates: learning rate with the bias corrected, beta1, beta2, epsilon; on the device, so that a recorded step can follow its schedule.
KERNEL void __launch_bounds__(256) adam_touched(
    float* __restrict__ master, Entry* __restrict__ copy, Gradient* __restrict__ grad, float* __restrict__ moment1, float* __restrict__ moment2,
    const float* __restrict__ rates, int quads) {
    const int q = blockIdx.x * 256 + threadIdx.x;
    if (q >= quads) return;
    float g[4];
#if HALF_GRAD
    const uint2 packed = ((uint2*)grad)[q];
    if (!((packed.x | packed.y) & 0x7fff7fffu)) return;
    g[0] = low(packed.x), g[1] = high(packed.x), g[2] = low(packed.y), g[3] = high(packed.y);
    // a sum beyond half precision counts as its largest number; one whose parts were infinite on either side says nothing (NaN)
#pragma unroll
    for (int k = 0; k < 4; ++k) g[k] = g[k] == g[k] ? fminf(fmaxf(g[k], -65504.0f), 65504.0f) : 0.0f;
    ((uint2*)grad)[q] = make_uint2(0, 0);
#else
    const float4 v = ((float4*)grad)[q];
    if (v.x == 0 && v.y == 0 && v.z == 0 && v.w == 0) return;
    g[0] = v.x, g[1] = v.y, g[2] = v.z, g[3] = v.w;
    ((float4*)grad)[q] = make_float4(0, 0, 0, 0);
#endif
    float4 p4 = ((float4*)master)[q], m4 = ((float4*)moment1)[q], s4 = ((float4*)moment2)[q];
    float *p = (float*)&p4, *m = (float*)&m4, *s = (float*)&s4;
    const float rate = rates[0], b1 = rates[1], b2 = rates[2], epsilon = rates[3];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        if (g[k] != 0) {
            m[k] = b1 * m[k] + (1 - b1) * g[k];
            s[k] = b2 * s[k] + (1 - b2) * g[k] * g[k];
            p[k] -= rate * m[k] / (sqrtf(s[k]) + epsilon);
        }
    }
    ((float4*)master)[q] = p4, ((float4*)moment1)[q] = m4, ((float4*)moment2)[q] = s4;
#if HALF
    ((uint2*)copy)[q] = make_uint2(pack(p[0], p[1]), pack(p[2], p[3]));
#endif
}
