// The colour of one pixel: what `kernels/realtime/blending.py` says, word for word. PHOTOS (1 to 8) is defined before this.
in vec3 point;
in vec3 across;
in vec3 own;
in vec4 trusted0;
#if PHOTOS > 4
in vec4 trusted1;
#endif
flat in float depthLayer;
uniform sampler2DArray photos;
uniform sampler2DArray depths;
uniform vec3 eye;
uniform vec3 centers[PHOTOS];
uniform vec4 projections[3 * PHOTOS];  // the rows of each photo's matrix from the world to pixels times depth
uniform float layerOf[PHOTOS];
uniform float importance[PHOTOS];
uniform vec2 photoSize;
uniform float sharpness;
uniform float least;
uniform float tolerance;
uniform float border;
uniform float leastCosine;
out vec4 color;

vec4 sum;  // colours times weight, and weight
float lining;  // least weight of a photo: 0 but for backdrops
float fade;
vec3 n;
vec3 ray;

// Written out for each photo and without branches: software renderers spend most of their time on arrays that are indexed by a
// variable, and on returns.
void add(vec4 column, vec4 row, vec4 ahead, vec3 center, float layer, float important, float trusted) {
    vec4 q = vec4(point, 1.0);
    float z = dot(ahead, q);
    vec2 s = vec2(dot(column, q), dot(row, q)) / z;
    vec2 kept = clamp(s, vec2(0.0), photoSize - 0.5);
    float depth = texelFetch(depths, ivec3(ivec2(kept), int(layer)), 0).r;
    float behind = depth > 0.0 ? z / depth - 1.0 : -1.0;  // 0: the photo's camera sees nothing of the mesh there
    vec2 edges = min(s, photoSize - s) * fade;
    float weight = trusted * clamp(2.0 - behind / tolerance, 0.0, 1.0) * clamp(min(edges.x, edges.y), 0.0, 1.0);
    weight = z > 0.0 ? max(weight, lining) * important : 0.0;
    vec3 toward = normalize(center - point);
    float cosine = clamp(dot(n, toward), leastCosine, 1.0);
    weight *= cosine * cosine * exp(-sharpness * (1.0 + dot(toward, ray)));
    sum += weight * vec4(textureLod(photos, vec3(kept / photoSize, layer), 0.0).rgb, 1.0);
}

void main() {
    lining = depthLayer > 0.5 ? least : 0.0;
    fade = 1.0 / (border * max(photoSize.x, photoSize.y));
    n = normalize(across);
    ray = normalize(point - eye);
    sum = vec4(own, 1.0) * (depthLayer > 0.5 ? 1e-9 : least);
#define ADD(k, trusted) add(projections[3 * k], projections[3 * k + 1], projections[3 * k + 2], centers[k], layerOf[k], importance[k], trusted)
    ADD(0, trusted0.x);
#if PHOTOS > 1
    ADD(1, trusted0.y);
#endif
#if PHOTOS > 2
    ADD(2, trusted0.z);
#endif
#if PHOTOS > 3
    ADD(3, trusted0.w);
#endif
#if PHOTOS > 4
    ADD(4, trusted1.x);
#endif
#if PHOTOS > 5
    ADD(5, trusted1.y);
#endif
#if PHOTOS > 6
    ADD(6, trusted1.z);
#endif
#if PHOTOS > 7
    ADD(7, trusted1.w);
#endif
    color = vec4(sum.rgb / sum.a, 1.0);
}
