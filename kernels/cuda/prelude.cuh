// What every source of ours begins with: names of types, half precision without NVIDIA's headers, vector reductions.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;

#define DEVICE __device__ __forceinline__
#define KERNEL extern "C" __global__

DEVICE float half_to_float(u16 h) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
}

DEVICE u16 float_to_half(float x) {
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}

DEVICE float low(u32 pair) { return half_to_float((u16)(pair & 0xffffu)); }
DEVICE float high(u32 pair) { return half_to_float((u16)(pair >> 16)); }
DEVICE u32 pack(float lo, float hi) { return (u32)float_to_half(lo) | ((u32)float_to_half(hi) << 16); }

// Slope of the sigmoid that colours end with, as `sigmoid_slope` of compositing/cpu.py: what has run into 0 or 1 must come out again.
DEVICE float sigmoid_slope(float color, float gradient) {
    const float slope = color * (1 - color);
    return (color > 0.5f) == (gradient > 0) ? fmaxf(slope, 1e-3f) : slope;
}

// Reductions to global memory: what is added is not read back.
DEVICE void reduce_half(u16* p, float a) { asm volatile("red.global.add.noftz.f16 [%0], %1;" ::"l"(p), "h"(float_to_half(a)) : "memory"); }
DEVICE void reduce_half2(void* p, u32 a) { asm volatile("red.global.add.noftz.f16x2 [%0], %1;" ::"l"(p), "r"(a) : "memory"); }
DEVICE void reduce_float(float* p, float a) { asm volatile("red.global.add.f32 [%0], %1;" ::"l"(p), "f"(a) : "memory"); }
#if __CUDA_ARCH__ >= 900
DEVICE void reduce_half4(void* p, u32 a, u32 b) {
    asm volatile("red.global.add.noftz.v2.f16x2 [%0], {%1, %2};" ::"l"(p), "r"(a), "r"(b) : "memory");
}
DEVICE void reduce_half8(void* p, u32 a, u32 b, u32 c, u32 d) {
    asm volatile("red.global.add.noftz.v4.f16x2 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}
DEVICE void reduce_float2(float* p, float a, float b) {
    asm volatile("red.global.add.v2.f32 [%0], {%1, %2};" ::"l"(p), "f"(a), "f"(b) : "memory");
}
DEVICE void reduce_float4(float* p, float a, float b, float c, float d) {
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(p), "f"(a), "f"(b), "f"(c), "f"(d) : "memory");
}
#else
DEVICE void reduce_half4(void* p, u32 a, u32 b) { reduce_half2(p, a), reduce_half2((u32*)p + 1, b); }
DEVICE void reduce_half8(void* p, u32 a, u32 b, u32 c, u32 d) { reduce_half4(p, a, b), reduce_half4((u32*)p + 2, c, d); }
DEVICE void reduce_float2(float* p, float a, float b) { reduce_float(p, a), reduce_float(p + 1, b); }
DEVICE void reduce_float4(float* p, float a, float b, float c, float d) { reduce_float2(p, a, b), reduce_float2(p + 2, c, d); }
#endif
