layout(binding = 0) uniform samplerBuffer source;
layout(std430, binding = 0) writeonly buffer Target { uint target[]; };
layout(std140, binding = 0) uniform Parameters { int texels; float mean_b, mean_g, mean_r; };

void main() {
    int at = int(gl_GlobalInvocationID.x);
    if (at >= texels) {
        return;
    }
    vec3 value = texelFetch(source, at).xyz + vec3(mean_b, mean_g, mean_r);
    uvec3 bytes = uvec3(clamp(value, vec3(0.0), vec3(255.0)));
    target[at] = bytes.x | (bytes.y << 8) | (bytes.z << 16) | (255u << 24);
}
