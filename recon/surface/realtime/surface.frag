// First pass: what each pixel shows of the mesh. The second one (blending.frag) then blends once for every pixel, and not once for
// every triangle that touches a group of four of them. Four targets, which every WebGL 2 has.
in vec3 point;
in vec3 across;
in vec3 own;
in vec4 trusted0;
in vec4 trusted1;
flat in float depthLayer;
layout(location = 0) out vec4 place;  // the point; then normal and kind as a whole number, of which 0 means that nothing is there
layout(location = 1) out vec4 shade;
layout(location = 2) out vec4 trustA;
layout(location = 3) out vec4 trustB;

// A direction as two numbers of 11 bits (octahedral: Meyer et al. 2010).
float octahedral(vec3 n) {
    n /= max(abs(n.x) + abs(n.y) + abs(n.z), 1e-12);
    vec2 folded = (1.0 - abs(n.yx)) * vec2(n.x < 0.0 ? -1.0 : 1.0, n.y < 0.0 ? -1.0 : 1.0);
    vec2 q = floor((n.z < 0.0 ? folded : n.xy) * 1023.5 + 1024.0);
    return q.x * 2048.0 + q.y;
}

void main() {
    place = vec4(point, octahedral(across) + (depthLayer > 0.5 ? 4194305.0 : 1.0));
    shade = vec4(own, 1.0);
    trustA = trusted0;
    trustB = trusted1;
}
