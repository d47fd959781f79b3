// Second pass, the colour of one pixel: what `kernels/realtime/blending.py` says, word for word. PHOTOS (1 to 8) is defined before this.
uniform sampler2D places;
uniform sampler2D shades;
uniform sampler2D trustsA;
#if PHOTOS > 4
uniform sampler2D trustsB;
#endif
uniform vec3 background;
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
vec3 point;
vec3 n;
vec3 ray;

vec3 direction(float number) {
    vec2 q = vec2(floor(number / 2048.0), mod(number, 2048.0)) / 1023.5 - 1.0;
    vec3 v = vec3(q, 1.0 - abs(q.x) - abs(q.y));
    vec2 folded = (1.0 - abs(v.yx)) * vec2(v.x < 0.0 ? -1.0 : 1.0, v.y < 0.0 ? -1.0 : 1.0);
    return normalize(v.z < 0.0 ? vec3(folded, v.z) : v);
}

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
    weight *= cosine * exp(-sharpness * (1.0 + dot(toward, ray)));
    sum += weight * vec4(textureLod(photos, vec3(kept / photoSize, layer), 0.0).rgb, 1.0);
}

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    vec4 place = texelFetch(places, pixel, 0);
    if (place.w == 0.0) {
        color = vec4(background, 1.0);
        return;
    }
    point = place.xyz;
    bool behind = place.w > 4194304.5;
    n = direction(place.w - (behind ? 4194305.0 : 1.0));
    lining = behind ? least : 0.0;
    fade = 1.0 / (border * max(photoSize.x, photoSize.y));
    ray = normalize(point - eye);
    sum = vec4(texelFetch(shades, pixel, 0).rgb, 1.0) * least;
    vec4 trusted0 = texelFetch(trustsA, pixel, 0);
#if PHOTOS > 4
    vec4 trusted1 = texelFetch(trustsB, pixel, 0);
#endif
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
