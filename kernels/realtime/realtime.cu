// `rasterizing` and `blending` on a GPU. One warp takes a triangle, one thread a pixel.

struct Frame {
    float projection[12];  // world to pixels times depth
    float eye[3];
    float pad;
    float importance[8];
    int chosen[8];
};

__device__ inline void corner(const Frame* frame, const float* vertices, int v, double* out) {
    for (int r = 0; r < 3; r++) {
        const float* m = frame->projection + 4 * r;
        out[r] = (double)m[0] * vertices[3 * v] + (double)m[1] * vertices[3 * v + 1] + (double)m[2] * vertices[3 * v + 2] + m[3];
    }
}

__device__ inline void cross(const double* a, const double* b, double* out) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

extern "C" __global__ void rasterize(
    const Frame* frame, const float* vertices, const int* faces, const unsigned char* layer, int count, int width, int height,
    unsigned long long* keys) {
    int f = (blockIdx.x * blockDim.x + threadIdx.x) >> 5, lane = threadIdx.x & 31;
    if (f >= count) return;
    double p[3][3], plane[3][3];
    for (int k = 0; k < 3; k++) corner(frame, vertices, faces[3 * f + k], p[k]);
    cross(p[1], p[2], plane[0]);
    double twice = plane[0][0] * p[0][0] + plane[0][1] * p[0][1] + plane[0][2] * p[0][2];
    if (twice >= 0) return;  // seen from behind, or from its edge
    cross(p[2], p[0], plane[1]);
    cross(p[0], p[1], plane[2]);
    float left = 1e30f, right = -1e30f, top = 1e30f, bottom = -1e30f;
    int behind = 0;
    for (int k = 0; k < 3; k++) {
        if (p[k][2] <= 0) { behind++; continue; }
        float x = (float)(p[k][0] / p[k][2]), y = (float)(p[k][1] / p[k][2]);
        left = fminf(left, x); right = fmaxf(right, x); top = fminf(top, y); bottom = fmaxf(bottom, y);
    }
    if (behind == 3) return;
    if (behind > 0) { left = 0; right = width; top = 0; bottom = height; }
    int x0 = (int)fmaxf(ceilf(fminf(left - 0.5f, (float)width) - 1e-3f), 0), x1 = (int)fminf(floorf(fmaxf(right - 0.5f, -1.f) + 1e-3f), width - 1.f);
    int y0 = (int)fmaxf(ceilf(fminf(top - 0.5f, (float)height) - 1e-3f), 0), y1 = (int)fminf(floorf(fmaxf(bottom - 0.5f, -1.f) + 1e-3f), height - 1.f);
    int across = x1 - x0 + 1, down = y1 - y0 + 1;
    if (across <= 0 || down <= 0) return;
    double inverse = 1 / twice;
    for (int k = 0; k < 3; k++)
        for (int c = 0; c < 3; c++) plane[k][c] *= inverse;
    for (int i = lane; i < across * down; i += 32) {
        int column = x0 + i % across, row = y0 + i / across;
        double x = column + 0.5, y = row + 0.5;
        double wa = plane[0][0] * x + plane[0][1] * y + plane[0][2], wb = plane[1][0] * x + plane[1][1] * y + plane[1][2];
        double wc = plane[2][0] * x + plane[2][1] * y + plane[2][2];
        double total = wa + wb + wc;
        if (wa >= 0 && wb >= 0 && wc >= 0 && total > 0) {
            unsigned long long depth = __float_as_uint((float)(1 / total));
            atomicMin(keys + (size_t)row * width + column, (unsigned long long)layer[f] << 62 | depth << 31 | (unsigned)f);
        }
    }
}

__device__ inline void bilinear(const unsigned char* picture, int width, int height, float x, float y, float* out) {
    x = fminf(fmaxf(x - 0.5f, 0.f), width - 1.f);
    y = fminf(fmaxf(y - 0.5f, 0.f), height - 1.f);
    int j = min((int)x, width - 2), i = min((int)y, height - 2);
    float a = x - j, b = y - i;
    const uchar4* at = (const uchar4*)picture + (size_t)i * width + j;
    uchar4 p = at[0], q = at[1], r = at[width], s = at[width + 1];
    float w00 = (1 - a) * (1 - b), w01 = a * (1 - b), w10 = (1 - a) * b, w11 = a * b;
    out[0] = w00 * p.x + w01 * q.x + w10 * r.x + w11 * s.x;
    out[1] = w00 * p.y + w01 * q.y + w10 * r.y + w11 * s.y;
    out[2] = w00 * p.z + w01 * q.z + w10 * r.z + w11 * s.z;
}

extern "C" __global__ void blend(
    const Frame* frame, const float* vertices, const float* normals, const int* faces, int mesh, const unsigned char* colors,
    const unsigned char* photos, int wide, int tall, const float* depths, const float* projections, const float* centers,
    const unsigned char* trust, int kept, const unsigned long long* keys, int width, int height, int count, float sharpness, float least,
    float tolerance, float border, float least_cosine, unsigned background, unsigned char* picture) {
    int column = blockIdx.x * 16 + threadIdx.x % 16, row = blockIdx.y * 16 + threadIdx.x / 16;
    if (column >= width || row >= height) return;
    size_t pixel = (size_t)row * width + column;
    unsigned char* out = picture + 3 * pixel;
    unsigned long long key = keys[pixel];
    if (key == ~0ull) {
        for (int c = 0; c < 3; c++) out[c] = background >> (8 * c) & 255;
        return;
    }
    int f = (int)(key & 0x7fffffff);
    int v[3];
    double p[3][3], plane[3];
    float w[3];
    for (int k = 0; k < 3; k++) {
        v[k] = faces[3 * f + k];
        corner(frame, vertices, v[k], p[k]);
    }
    double total_weight = 0, raw[3];
    for (int k = 0; k < 3; k++) {
        cross(p[(k + 1) % 3], p[(k + 2) % 3], plane);
        raw[k] = plane[0] * (column + 0.5) + plane[1] * (row + 0.5) + plane[2];
        total_weight += raw[k];
    }
    for (int k = 0; k < 3; k++) w[k] = (float)(raw[k] / total_weight);
    float point[3], n[3], ray[3];
    for (int c = 0; c < 3; c++) {
        point[c] = w[0] * vertices[3 * v[0] + c] + w[1] * vertices[3 * v[1] + c] + w[2] * vertices[3 * v[2] + c];
        n[c] = w[0] * normals[3 * v[0] + c] + w[1] * normals[3 * v[1] + c] + w[2] * normals[3 * v[2] + c];
        ray[c] = point[c] - frame->eye[c];
    }
    float n1 = rsqrtf(fmaxf(n[0] * n[0] + n[1] * n[1] + n[2] * n[2], 1e-24f)), r1 = rsqrtf(fmaxf(ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2], 1e-24f));
    bool lining = f >= mesh;
    float fade = 1 / (border * max(wide, tall)), sample[3], total = least, color[3];
    for (int c = 0; c < 3; c++) color[c] = total * (w[0] * colors[3 * v[0] + c] + w[1] * colors[3 * v[1] + c] + w[2] * colors[3 * v[2] + c]);
    for (int q = 0; q < count; q++) {
        int k = frame->chosen[q];
        float trusted = (w[0] * trust[(size_t)v[0] * kept + k] + w[1] * trust[(size_t)v[1] * kept + k] + w[2] * trust[(size_t)v[2] * kept + k]) * (1 / 255.f);
        if (trusted <= 0 && !lining) continue;
        const float* m = projections + 12 * k;
        float z = m[8] * point[0] + m[9] * point[1] + m[10] * point[2] + m[11];
        if (z <= 0) continue;
        float sx = (m[0] * point[0] + m[1] * point[1] + m[2] * point[2] + m[3]) / z;
        float sy = (m[4] * point[0] + m[5] * point[1] + m[6] * point[2] + m[7]) / z;
        bool inside = sx > 0 && sx < wide && sy > 0 && sy < tall;
        if (!inside && !lining) continue;
        sx = fminf(fmaxf(sx, 0.f), wide - 0.5f);
        sy = fminf(fmaxf(sy, 0.f), tall - 0.5f);
        float behind = z / depths[((size_t)k * tall + (int)sy) * wide + (int)sx] - 1;
        float visible = fminf(fmaxf((tolerance + tolerance - behind) / tolerance, 0.f), 1.f);
        float weight = inside ? trusted * visible * fminf(fminf(fminf(sx, wide - sx), fminf(sy, tall - sy)) * fade, 1.f) : 0.f;
        if (lining) weight = fmaxf(weight, least);
        if (weight <= 0) continue;
        float t[3] = {centers[3 * k] - point[0], centers[3 * k + 1] - point[1], centers[3 * k + 2] - point[2]};
        float t1 = rsqrtf(fmaxf(t[0] * t[0] + t[1] * t[1] + t[2] * t[2], 1e-24f));
        float cosine = fminf(fmaxf((n[0] * t[0] + n[1] * t[1] + n[2] * t[2]) * n1 * t1, least_cosine), 1.f);
        float apart = 1 + (t[0] * ray[0] + t[1] * ray[1] + t[2] * ray[2]) * t1 * r1;
        weight *= frame->importance[q] * cosine * expf(-sharpness * apart);
        bilinear(photos + (size_t)k * tall * wide * 4, wide, tall, sx, sy, sample);
        for (int c = 0; c < 3; c++) color[c] += weight * sample[c];
        total += weight;
    }
    for (int c = 0; c < 3; c++) out[c] = (unsigned char)fminf(fmaxf(color[c] / total + 0.5f, 0.f), 255.f);
}
