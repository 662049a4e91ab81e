layout(binding = 0) uniform usamplerBuffer source;
layout(binding = 1) uniform samplerBuffer noise;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters { int texels, pixels, noise_size; float mean_b, mean_g, mean_r; };

float noise_at(int number) {
    int place = number % noise_size;
    vec4 texel = texelFetch(noise, place >> 2);
    place &= 3;
    return place == 0 ? texel.x : place == 1 ? texel.y : place == 2 ? texel.z : texel.w;
}

void main() {
    int at = int(gl_GlobalInvocationID.x);
    if (at >= texels) {
        return;
    }
    uint bytes = texelFetch(source, at).x;
    int number = 3 * (at % pixels);
    target[at] = vec4(
        float(bytes & 255u) - mean_b + noise_at(number),
        float((bytes >> 8) & 255u) - mean_g + noise_at(number + 1),
        float((bytes >> 16) & 255u) - mean_r + noise_at(number + 2),
        0.0);
}
