// The colour of one pixel: what `kernels/realtime/blending.py` says, word for word. PHOTOS is defined before this.
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
uniform mat4 projections[PHOTOS];  // the world to pixels times depth, and depth in the third row
uniform float layerOf[PHOTOS];
uniform float importance[PHOTOS];
uniform vec2 photoSize;
uniform float sharpness;
uniform float least;
uniform float tolerance;
uniform float border;
uniform float leastCosine;
out vec4 color;

void main() {
    bool lining = depthLayer > 0.5;
    vec3 n = normalize(across);
    vec3 ray = normalize(point - eye);
    float fade = 1.0 / (border * max(photoSize.x, photoSize.y));
    float weights[PHOTOS];
    float aparts[PHOTOS];
    vec2 at[PHOTOS];
    float nearest = 2.0;
    for (int k = 0; k < PHOTOS; k++) {
        weights[k] = 0.0;
#if PHOTOS > 4
        float trusted = k < 4 ? trusted0[k] : trusted1[k - 4];
#else
        float trusted = trusted0[k];
#endif
        if (importance[k] <= 0.0 || (trusted <= 0.0 && !lining)) continue;
        vec3 p = (projections[k] * vec4(point, 1.0)).xyz;
        if (p.z <= 0.0) continue;
        vec2 s = p.xy / p.z;
        bool inside = s.x > 0.0 && s.x < photoSize.x && s.y > 0.0 && s.y < photoSize.y;
        if (!inside && !lining) continue;
        s = clamp(s, vec2(0.0), photoSize - 0.5);
        float depth = texelFetch(depths, ivec3(ivec2(s), int(layerOf[k])), 0).r;
        float behind = depth > 0.0 ? p.z / depth - 1.0 : -1.0;  // 0: the photo's camera sees nothing of the mesh there
        float visible = clamp((2.0 * tolerance - behind) / tolerance, 0.0, 1.0);
        vec2 edges = min(s, photoSize - s);
        float weight = inside ? trusted * visible * min(min(edges.x, edges.y) * fade, 1.0) : 0.0;
        if (lining) weight = max(weight, least);
        if (weight <= 0.0) continue;
        vec3 toward = normalize(centers[k] - point);
        float cosine = clamp(dot(n, toward), leastCosine, 1.0);
        weights[k] = importance[k] * weight * cosine * cosine;
        aparts[k] = 1.0 + dot(toward, ray);
        at[k] = s / photoSize;
        if (weight > least || !lining) nearest = min(nearest, aparts[k]);
    }
    if (nearest == 2.0) nearest = 0.0;
    float total = lining ? 1e-9 : least;
    vec3 sum = total * own;
    for (int k = 0; k < PHOTOS; k++) {
        if (weights[k] > 0.0) {
            float weight = weights[k] * exp(sharpness * (nearest - aparts[k]));
            sum += weight * textureLod(photos, vec3(at[k], layerOf[k]), 0.0).rgb;
            total += weight;
        }
    }
    color = vec4(sum / total, 1.0);
}
