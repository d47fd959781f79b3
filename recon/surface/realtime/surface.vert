// One vertex of the mesh. Both OpenGL (moderngl) and WebGL 2 compile this, after their own #version line.
in vec3 position;
in vec3 normal;
in vec3 tint;
in float layer;
in vec4 trust0;
in vec4 trust1;
uniform mat4 picture;  // the world to clip coordinates
uniform float layers;
out vec3 point;
out vec3 across;
out vec3 own;
out vec4 trusted0;
out vec4 trusted1;
flat out float depthLayer;

void main() {
    point = position;
    across = normal;
    own = tint;
    trusted0 = trust0;
    trusted1 = trust1;
    depthLayer = layer;
    gl_Position = picture * vec4(position, 1.0);
    // Each layer has a share of the depth range, so that a backdrop never hides what it stands behind.
    float share = (gl_Position.z / gl_Position.w * 0.5 + 0.5 + layer) / layers;
    gl_Position.z = (share * 2.0 - 1.0) * gl_Position.w;
}
