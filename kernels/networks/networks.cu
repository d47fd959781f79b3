// The two small networks of a radiance field in one kernel each way, on tensor cores, half precision in and single in the sums.
//
// density: IN -> W -> 16 (0: log density, 1 to 15: geometry); colour: 16 (direction) + 16 (geometry; place 0 is zero) -> W -> W -> 3.
// COLORED: colour has an encoding of its own, 16 numbers, which take the place of the geometry.
// Forward keeps activations in registers: the accumulators of one product are the operand of the next. Backward computes
// them anew, leaves them in shared memory with the gradients of every layer, and then multiplies the two for the weights.

#define ALL 0xffffffffu
#define PAD 8
constexpr int K1 = IN / 16, KW = W / 16, NW = W / 8;
constexpr int S1 = IN + PAD, SW = W + PAD, S3 = 32 + PAD, S16 = 16 + PAD;
// offsets of the weights in the flat parameters, in numbers
constexpr int P1 = 0, P2 = P1 + W * IN, P3 = P2 + 16 * W, P4 = P3 + W * 32, P5 = P4 + W * W, B1 = P5 + 16 * W, B2 = B1 + W, B3 = B2 + 16,
              B4 = B3 + W, B5 = B4 + W;
// and of the padded copies in shared memory
constexpr int Q1 = 0, Q2 = Q1 + W * S1, Q3 = Q2 + 16 * SW, Q4 = Q3 + W * S3, Q5 = Q4 + W * SW, WEIGHTS = Q5 + 16 * SW;

DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

DEVICE void multiply(float c[4], const u32 a[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE void load4(u32 r[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}
DEVICE void load4_transposed(u32 r[4], u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}
DEVICE void load2_transposed(u32& a, u32& b, u32 address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(a), "=r"(b) : "r"(address));
}

template <int ROWS, int COLUMNS> DEVICE void copy_weights(const u16* __restrict__ from, u16* to) {
    for (int k = threadIdx.x; k < ROWS * COLUMNS / 8; k += blockDim.x) {
        const int row = k / (COLUMNS / 8), column = k % (COLUMNS / 8) * 8;
        *(uint4*)(to + row * (COLUMNS + PAD) + column) = *(const uint4*)(from + row * COLUMNS + column);
    }
}
DEVICE void load_weights(const u16* __restrict__ parameters, u16* weights) {
    copy_weights<W, IN>(parameters + P1, weights + Q1);
    copy_weights<16, W>(parameters + P2, weights + Q2);
    copy_weights<W, 32>(parameters + P3, weights + Q3);
    copy_weights<W, W>(parameters + P4, weights + Q4);
    copy_weights<16, W>(parameters + P5, weights + Q5);
}

// c[n] (16 x 8) += a (16 x 16 K) times the transpose of w (8 N rows of 16 K); begins with the bias.
template <int K, int N> DEVICE void layer(float c[N][4], const u32 a[K][4], const u16* w, const float* __restrict__ bias, int lane) {
    constexpr int S = 16 * K + PAD;
#pragma unroll
    for (int n = 0; n < N; ++n) {
        const float2 v = bias ? *(const float2*)(bias + 8 * n + 2 * (lane & 3)) : make_float2(0, 0);
        c[n][0] = c[n][2] = v.x, c[n][1] = c[n][3] = v.y;
    }
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            u32 b[4];  // tiles: (n, k low), (n, k high), (n + 1, k low), (n + 1, k high)
            const int row = 8 * (n + (lane >> 4)) + (lane & 7), column = 16 * k + ((lane >> 3) & 1) * 8;
            load4(b, shared_address(w + min(row, 8 * N - 1) * S + column));
            multiply(c[n], a[k], b[0], b[1]);
            if (n + 1 < N) multiply(c[n + 1], a[k], b[2], b[3]);
        }
}

// c[n] (16 x 8) = a (16 x 16 K) times w[first + n] (16 K rows, columns 8 (first + n)...): the way back through a layer.
template <int K, int N, int S> DEVICE void layer_back(float c[N][4], const u32 a[K][4], const u16* w, int first, int lane) {
#pragma unroll
    for (int n = 0; n < N; ++n) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0;
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            u32 b[4];
            const int row = 16 * k + ((lane >> 3) & 1) * 8 + (lane & 7), column = 8 * (first + n + (lane >> 4));
            load4_transposed(b, shared_address(w + row * S + column));
            multiply(c[n], a[k], b[0], b[1]);
            multiply(c[n + 1], a[k], b[2], b[3]);
        }
}

// Half precision ends at 65504; what is beyond must not become infinite.
#define LARGEST 6e4f
DEVICE float bounded(float v, float least) { return fminf(fmaxf(v, least), LARGEST); }

template <int N, bool RELU> DEVICE void to_operand(u32 a[N / 2][4], const float c[N][4]) {
#pragma unroll
    for (int n = 0; n < N; n += 2)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const float* v = c[n + h];
            const float least = RELU ? 0.0f : -LARGEST;
            a[n / 2][2 * h] = pack(bounded(v[0], least), bounded(v[1], least));
            a[n / 2][2 * h + 1] = pack(bounded(v[2], least), bounded(v[3], least));
        }
}

// Which activations are positive: a bit for each of a lane's numbers.
template <int N> DEVICE u32 positive(const float c[N][4]) {
    u32 bits = 0;
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int r = 0; r < 4; ++r) bits |= (c[n][r] > 0 ? 1u : 0u) << (4 * n + r);
    return bits;
}

// The gradient where the activation was positive, as the next operand.
template <int N> DEVICE void masked(u32 a[N / 2][4], float c[N][4], u32 bits) {
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
        for (int r = 0; r < 4; ++r) c[n][r] = bits >> (4 * n + r) & 1u ? c[n][r] : 0.0f;
    to_operand<N, false>(a, c);
}

template <int K> DEVICE void keep(u16* to, int stride, const u32 a[K][4], int row, int lane) {
#pragma unroll
    for (int k = 0; k < K; ++k)
#pragma unroll
        for (int r = 0; r < 4; ++r) *(u32*)(to + (row + (lane >> 2) + (r & 1) * 8) * stride + 16 * k + (r >> 1) * 8 + 2 * (lane & 3)) = a[k][r];
}

// Operand of 16 samples: encoded rows; zero where there are none.
DEVICE void load_encoded(u32 a[K1][4], const u16* __restrict__ encoded, int row0, int row1, int lane) {
#pragma unroll
    for (int k = 0; k < K1; ++k)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int column = 16 * k + 8 * h + 2 * (lane & 3);
            a[k][2 * h] = row0 >= 0 ? __ldg((const u32*)(encoded + (u64)row0 * IN + column)) : 0u;
            a[k][2 * h + 1] = row1 >= 0 ? __ldg((const u32*)(encoded + (u64)row1 * IN + column)) : 0u;
        }
}
DEVICE void load_directions(u32 a[4], const u32* __restrict__ harmonics, int ray0, int ray1, int lane) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        a[2 * h] = ray0 >= 0 ? __ldg(harmonics + 8 * ray0 + 4 * h + (lane & 3)) : 0u;
        a[2 * h + 1] = ray1 >= 0 ? __ldg(harmonics + 8 * ray1 + 4 * h + (lane & 3)) : 0u;
    }
}

// The second half of the colour network's input, where it is an encoding of its own.
DEVICE void load_colored(u32 a[4], const u16* __restrict__ colored, int row0, int row1, int lane) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int column = 8 * h + 2 * (lane & 3);
        a[2 * h] = row0 >= 0 ? __ldg((const u32*)(colored + (u64)row0 * 16 + column)) : 0u;
        a[2 * h + 1] = row1 >= 0 ? __ldg((const u32*)(colored + (u64)row1 * 16 + column)) : 0u;
    }
}

// Samples -> (r, g, b, sigma). Without ray_of: sigma alone is written, [n] floats.
KERNEL void __launch_bounds__(128) networks_forward(
    const u16* __restrict__ encoded, const u16* __restrict__ colored, const u32* __restrict__ harmonics, const int* __restrict__ ray_of,
    const u16* __restrict__ parameters, const float* __restrict__ biases, float density_bias, const int* __restrict__ count, int n,
    float* __restrict__ out) {
    extern __shared__ __align__(16) u16 weights[];
    load_weights(parameters, weights);
    __syncthreads();
    const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, end = count ? min(*count, n) : n;
    for (int tile = blockIdx.x * 4 + warp; tile * 16 < end; tile += gridDim.x * 4) {
        const int i0 = tile * 16 + (lane >> 2), i1 = i0 + 8;
        const int row0 = i0 < end ? i0 : -1, row1 = i1 < end ? i1 : -1;
        u32 x[K1][4], h[KW][4];
        float c[NW][4], geometry[2][4];
        load_encoded(x, encoded, row0, row1, lane);
        layer<K1, NW>(c, x, weights + Q1, biases, lane);
        to_operand<NW, true>(h, c);
        layer<KW, 2>(geometry, h, weights + Q2, biases + B2 - B1, lane);
        const float s0 = __expf(fminf(geometry[0][0] + density_bias, 15.0f)), s1 = __expf(fminf(geometry[0][2] + density_bias, 15.0f));
        if (!ray_of) {
            if ((lane & 3) == 0) {
                if (row0 >= 0) out[i0] = s0;
                if (row1 >= 0) out[i1] = s1;
            }
            continue;
        }
        if ((lane & 3) == 0) geometry[0][0] = geometry[0][2] = 0;
        u32 y[2][4];
        load_directions(y[0], harmonics, row0 >= 0 ? ray_of[row0] : -1, row1 >= 0 ? ray_of[row1] : -1, lane);
#if COLORED
        load_colored(y[1], colored, row0, row1, lane);
#else
        to_operand<2, false>(y + 1, geometry);
#endif
        layer<2, NW>(c, y, weights + Q3, biases + B3 - B1, lane);
        to_operand<NW, true>(h, c);
        layer<KW, NW>(c, h, weights + Q4, biases + B4 - B1, lane);
        to_operand<NW, true>(h, c);
        float raw[2][4];
        layer<KW, 2>(raw, h, weights + Q5, biases + B5 - B1, lane);
        const float b0 = __shfl_down_sync(ALL, raw[0][0], 1), b1 = __shfl_down_sync(ALL, raw[0][2], 1);
        if ((lane & 3) == 0) {
#define SIGMOID(v) (1.0f / (1.0f + __expf(-(v))))
            if (row0 >= 0) ((float4*)out)[i0] = make_float4(SIGMOID(raw[0][0]), SIGMOID(raw[0][1]), SIGMOID(b0), s0);
            if (row1 >= 0) ((float4*)out)[i1] = make_float4(SIGMOID(raw[0][2]), SIGMOID(raw[0][3]), SIGMOID(b1), s1);
        }
    }
}

constexpr int ROWS = BLOCK_ROWS, WARPS = ROWS / 16;
// Activations and gradients of a tile of samples, in shared memory behind the weights. The colour network's come first; once its
// weights have their share, the density network's take the same place.
constexpr int X3 = WEIGHTS, H3 = X3 + ROWS * S3, H4 = H3 + ROWS * SW, D3 = H4 + ROWS * SW, D4 = D3 + ROWS * SW, D5 = D4 + ROWS * SW;
constexpr int X1 = WEIGHTS, H1 = X1 + ROWS * S1, D1 = H1 + ROWS * SW, D2 = D1 + ROWS * SW;

// A product of 16 outputs by 8 inputs for the weights' gradient; the last of every layer stands for its bias.
struct Product { int d, d_stride, x, x_stride, out, out_stride, column; };
constexpr int T1 = KW * (IN / 8 + 1), T2 = NW + 1, T3 = KW * 5, T4 = KW * (NW + 1), T5 = NW + 1;
constexpr int COLOR = T3 + T4 + T5, DENSITY = T1 + T2, MINE = (COLOR + WARPS - 1) / WARPS, MINE_TOO = (DENSITY + WARPS - 1) / WARPS;

DEVICE Product product_of(int p, int columns, int d, int ds, int x, int xs, int out, int width, int bias) {
    const int m = p / (columns + 1), n = p % (columns + 1);
    if (n == columns) return {d + 16 * m, ds, -1, 0, bias + 16 * m, 1, 0};
    return {d + 16 * m, ds, x + 8 * n, xs, out + 16 * m * width + 8 * n, width, 1};
}
DEVICE Product color_product(int p) {
    if (p < T3) return product_of(p, 4, D3, SW, X3, S3, P3, 32, B3);
    if ((p -= T3) < T4) return product_of(p, NW, D4, SW, H3, SW, P4, W, B4);
    return product_of(p - T4, NW, D5, S16, H4, SW, P5, W, B5);
}
DEVICE Product density_product(int p) {
    if (p < T1) return product_of(p, IN / 8, D1, SW, X1, S1, P1, IN, B1);
    return product_of(p - T1, NW, D2, S16, H1, SW, P2, W, B2);
}

DEVICE void add_product(float sum[4], const Product& q, const u16* memory, int lane) {
    const u32 from = shared_address(memory + q.d + ((lane >> 4) * 8 + (lane & 7)) * q.d_stride + ((lane >> 3) & 1) * 8);
    const u32 with = q.x < 0 ? 0u : shared_address(memory + q.x + (lane & 15) * q.x_stride);
#pragma unroll 4
    for (int k = 0; k < ROWS / 16; ++k) {
        u32 a[4], b0 = 0x3c003c00u, b1 = 0x3c003c00u;  // ones
        load4_transposed(a, from + k * 32 * q.d_stride);
        if (q.x >= 0) load2_transposed(b0, b1, with + k * 32 * q.x_stride);
        multiply(sum, a, b0, b1);
    }
}

DEVICE void write_product(float* __restrict__ d_parameters, const float sum[4], const Product& q, int lane) {
    const int row = lane >> 2, column = 2 * (lane & 3);
    float* to = d_parameters + q.out;
    if (q.column) {
        reduce_float2(to + row * q.out_stride + column, sum[0], sum[1]);
        reduce_float2(to + (row + 8) * q.out_stride + column, sum[2], sum[3]);
    } else if (column == 0) {
        reduce_float(to + row, sum[0]), reduce_float(to + row + 8, sum[2]);
    }
}

// d_raw: gradients of raw colour and log density, four halves a sample. Writes d_encoded [n, IN]; adds to d_parameters.
KERNEL void __launch_bounds__(32 * WARPS, 1) networks_backward(
    const u16* __restrict__ encoded, const u16* __restrict__ colored, const u32* __restrict__ harmonics, const int* __restrict__ ray_of,
    const u16* __restrict__ parameters, const float* __restrict__ biases, const uint2* __restrict__ d_raw, const int* __restrict__ count, int n,
    u16* __restrict__ d_encoded, u16* __restrict__ d_colored, float* __restrict__ d_parameters) {
    extern __shared__ __align__(16) u16 memory[];
    load_weights(parameters, memory);
    __syncthreads();
    const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, end = min(*count, n), local = warp * 16;
    float sums[MINE][4], sums_too[MINE_TOO][4];
#pragma unroll
    for (int k = 0; k < MINE; ++k) sums[k][0] = sums[k][1] = sums[k][2] = sums[k][3] = 0;
#pragma unroll
    for (int k = 0; k < MINE_TOO; ++k) sums_too[k][0] = sums_too[k][1] = sums_too[k][2] = sums_too[k][3] = 0;
    for (int tile = blockIdx.x; tile * ROWS < end; tile += gridDim.x) {
        const int i0 = tile * ROWS + local + (lane >> 2), i1 = i0 + 8;
        const int ray0 = i0 < end ? ray_of[i0] : -1, ray1 = i1 < end ? ray_of[i1] : -1;
        const int row0 = ray0 >= 0 ? i0 : -1, row1 = ray1 >= 0 ? i1 : -1;
        const uint2 zero = make_uint2(0, 0), g0 = row0 >= 0 ? d_raw[i0] : zero, g1 = row1 >= 0 ? d_raw[i1] : zero;
        u32 h1[KW][4], d[KW][4], d2[1][4];
        u32 positive1, positive3, positive4;
        float c[NW][4];
        {
            u32 x[K1][4];
            load_encoded(x, encoded, row0, row1, lane);
            layer<K1, NW>(c, x, memory + Q1, biases, lane);
            positive1 = positive<NW>(c);
            to_operand<NW, true>(h1, c);
        }
        {
            float geometry[2][4];
            u32 y[2][4];
            layer<KW, 2>(geometry, h1, memory + Q2, biases + B2 - B1, lane);
            if ((lane & 3) == 0) geometry[0][0] = geometry[0][2] = 0;
            load_directions(y[0], harmonics, ray0, ray1, lane);
#if COLORED
            load_colored(y[1], colored, row0, row1, lane);
#else
            to_operand<2, false>(y + 1, geometry);
#endif
            keep<2>(memory + X3, S3, y, local, lane);
            layer<2, NW>(c, y, memory + Q3, biases + B3 - B1, lane);
        }
        positive3 = positive<NW>(c);
        to_operand<NW, true>(d, c);
        keep<KW>(memory + H3, SW, d, local, lane);
        layer<KW, NW>(c, d, memory + Q4, biases + B4 - B1, lane);
        positive4 = positive<NW>(c);
        to_operand<NW, true>(d, c);
        keep<KW>(memory + H4, SW, d, local, lane);
        {
            const int t = lane & 3;
            u32 d5[1][4] = {{t == 0 ? g0.x : t == 1 ? g0.y & 0xffffu : 0u, t == 0 ? g1.x : t == 1 ? g1.y & 0xffffu : 0u, 0u, 0u}};
            keep<1>(memory + D5, S16, d5, local, lane);
            layer_back<1, NW, SW>(c, d5, memory + Q5, 0, lane);
        }
        masked<NW>(d, c, positive4);
        keep<KW>(memory + D4, SW, d, local, lane);
        layer_back<KW, NW, SW>(c, d, memory + Q4, 0, lane);
        masked<NW>(d, c, positive3);
        keep<KW>(memory + D3, SW, d, local, lane);
        {
            float geometry[2][4];
            layer_back<KW, 2, S3>(geometry, d, memory + Q3, 2, lane);
#if COLORED
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const int column = 8 * h + 2 * (lane & 3);
                if (i0 < end) *(u32*)(d_colored + (u64)i0 * 16 + column) = pack(bounded(geometry[h][0], -LARGEST), bounded(geometry[h][1], -LARGEST));
                if (i1 < end) *(u32*)(d_colored + (u64)i1 * 16 + column) = pack(bounded(geometry[h][2], -LARGEST), bounded(geometry[h][3], -LARGEST));
                geometry[h][0] = geometry[h][1] = geometry[h][2] = geometry[h][3] = 0;
            }
#endif
            if ((lane & 3) == 0) geometry[0][0] = high(g0.y), geometry[0][2] = high(g1.y);
            to_operand<2, false>(d2, geometry);
        }
        __syncthreads();
#pragma unroll
        for (int m = 0; m < MINE; ++m)
            if (warp + m * WARPS < COLOR) add_product(sums[m], color_product(warp + m * WARPS), memory, lane);
        __syncthreads();
        keep<KW>(memory + H1, SW, h1, local, lane);
        keep<1>(memory + D2, S16, d2, local, lane);
        layer_back<1, NW, SW>(c, d2, memory + Q2, 0, lane);
        masked<NW>(d, c, positive1);
        keep<KW>(memory + D1, SW, d, local, lane);
        {
            u32 x[K1][4];
            load_encoded(x, encoded, row0, row1, lane);
            keep<K1>(memory + X1, S1, x, local, lane);
            float back[2 * K1][4];
            layer_back<KW, 2 * K1, S1>(back, d, memory + Q1, 0, lane);
#pragma unroll
            for (int k = 0; k < 2 * K1; ++k) {
                const int column = 8 * k + 2 * (lane & 3);
                if (i0 < end) *(u32*)(d_encoded + (u64)i0 * IN + column) = pack(bounded(back[k][0], -LARGEST), bounded(back[k][1], -LARGEST));
                if (i1 < end) *(u32*)(d_encoded + (u64)i1 * IN + column) = pack(bounded(back[k][2], -LARGEST), bounded(back[k][3], -LARGEST));
            }
        }
        __syncthreads();
#pragma unroll
        for (int m = 0; m < MINE_TOO; ++m)
            if (warp + m * WARPS < DENSITY) add_product(sums_too[m], density_product(warp + m * WARPS), memory, lane);
        __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < MINE; ++m)
        if (warp + m * WARPS < COLOR) write_product(d_parameters, sums[m], color_product(warp + m * WARPS), lane);
#pragma unroll
    for (int m = 0; m < MINE_TOO; ++m)
        if (warp + m * WARPS < DENSITY) write_product(d_parameters, sums_too[m], density_product(warp + m * WARPS), lane);
}

// What lies behind everything, from the direction alone: 16 -> 32 -> 3, one thread a ray.
// parameters: weights [32, 16], biases [32], weights [3, 32], biases [3].
constexpr int BG1 = 512, BG2 = BG1 + 32, BG3 = BG2 + 96, BACKGROUND = BG3 + 3;

DEVICE void load_direction(const u32* __restrict__ harmonics, int ray, float x[16]) {
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        const u32 v = harmonics[8 * ray + k];
        x[2 * k] = low(v), x[2 * k + 1] = high(v);
    }
}

KERNEL void __launch_bounds__(128) background_forward(
    const u32* __restrict__ harmonics, const float* __restrict__ parameters, const int* __restrict__ control, float* __restrict__ behind) {
    __shared__ float p[BACKGROUND];
    for (int k = threadIdx.x; k < BACKGROUND; k += 128) p[k] = parameters[k];
    __syncthreads();
    const int ray = blockIdx.x * 128 + threadIdx.x;
    if (ray >= control[1]) return;
    float x[16], out[3] = {p[BG3], p[BG3 + 1], p[BG3 + 2]};
    load_direction(harmonics, ray, x);
    for (int j = 0; j < 32; ++j) {
        float h = p[BG1 + j];
#pragma unroll
        for (int k = 0; k < 16; ++k) h += p[16 * j + k] * x[k];
        h = fmaxf(h, 0.0f);
#pragma unroll
        for (int a = 0; a < 3; ++a) out[a] += p[BG2 + 32 * a + j] * h;
    }
#pragma unroll
    for (int a = 0; a < 3; ++a) behind[3 * ray + a] = 1.0f / (1.0f + __expf(-out[a]));
}

KERNEL void __launch_bounds__(128) background_backward(
    const u32* __restrict__ harmonics, const float* __restrict__ parameters, const int* __restrict__ control, const float* __restrict__ behind,
    const float* __restrict__ d_behind, float* __restrict__ d_parameters) {
    __shared__ float p[BACKGROUND], xs[16][129], hs[32][129], ds[32][129], os[3][129];
    if (blockIdx.x * 128 >= control[1]) return;
    for (int k = threadIdx.x; k < BACKGROUND; k += 128) p[k] = parameters[k];
    __syncthreads();
    const int t = threadIdx.x, ray = blockIdx.x * 128 + t;
    const bool live = ray < control[1];
    float x[16], out[3];
    load_direction(harmonics, live ? ray : 0, x);
#pragma unroll
    for (int a = 0; a < 3; ++a) {
        const float d = live ? d_behind[3 * ray + a] : 0.0f;
        os[a][t] = out[a] = live ? d * sigmoid_slope(behind[3 * ray + a], d) : 0.0f;
    }
#pragma unroll
    for (int k = 0; k < 16; ++k) xs[k][t] = x[k];
    for (int j = 0; j < 32; ++j) {
        float h = p[BG1 + j], d = 0;
#pragma unroll
        for (int k = 0; k < 16; ++k) h += p[16 * j + k] * x[k];
#pragma unroll
        for (int a = 0; a < 3; ++a) d += p[BG2 + 32 * a + j] * out[a];
        hs[j][t] = fmaxf(h, 0.0f), ds[j][t] = h > 0 ? d : 0.0f;
    }
    __syncthreads();
    for (int k = t; k < BACKGROUND; k += 128) {
        const float* a = k < BG1 ? ds[k / 16] : k < BG2 ? ds[k - BG1] : k < BG3 ? os[(k - BG2) / 32] : os[k - BG3];
        const float* b = k < BG1 ? xs[k % 16] : k >= BG2 && k < BG3 ? hs[(k - BG2) % 32] : nullptr;
        float sum = 0;
        for (int i = 0; i < 128; ++i) sum += a[i] * (b ? b[i] : 1.0f);
        atomicAdd(d_parameters + k, sum);
    }
}

// Adam on the flat parameters; clears the gradient, writes the half-precision copy. rates: as in hashgrid.cu.
KERNEL void __launch_bounds__(256) adam(
    float* __restrict__ master, u16* __restrict__ copy, float* __restrict__ grad, float* __restrict__ moment1, float* __restrict__ moment2,
    const float* __restrict__ rates, int n) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    const float g = grad[i], m = moment1[i] = rates[1] * moment1[i] + (1 - rates[1]) * g, s = moment2[i] = rates[2] * moment2[i] + (1 - rates[2]) * g * g;
    grad[i] = 0;
    const float p = master[i] -= rates[0] * m / (sqrtf(s) + rates[3]);
    copy[i] = float_to_half(p);
}

// Between two steps: learning rates, the number of rays that gives the samples wanted, counters.
// control as in sampling.cu; rates: 4 of the table, 4 of the networks. smoothed: samples a ray.
KERNEL void advance(
    int* __restrict__ control, float* __restrict__ rates, float* __restrict__ smoothed, int steps, float table_rate, float network_rate, float beta1,
    float beta2, float epsilon, int samples, int least, int most) {
    const int step = ++control[0];
    if (control[1]) *smoothed = 0.9f * *smoothed + 0.1f * (float)control[2] / control[1];
    control[1] = min(max((int)(samples / fmaxf(*smoothed, 1.0f)), least), most);
    control[2] = control[3] = control[4] = 0;
    const float scale = fminf((step + 1) / 20.0f, 1.0f) * powf(1.0f / 30, (float)step / steps);
    const float corrected = sqrtf(1 - powf(beta2, step + 1.0f)) / (1 - powf(beta1, step + 1.0f));
    rates[0] = table_rate * scale * corrected, rates[4] = network_rate * scale * corrected;
    rates[1] = rates[5] = beta1, rates[2] = rates[6] = beta2, rates[3] = rates[7] = epsilon;
}
