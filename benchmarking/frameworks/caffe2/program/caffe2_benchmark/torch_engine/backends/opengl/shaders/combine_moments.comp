// The parts' sums to the mean of each plane or, with INVERSE_DEVIATION, to 1 / sqrt(variance + epsilon).

layout(binding = 0) uniform samplerBuffer sums;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters { int planes, pixels, blocks, channels; float epsilon; };

void main() {
    int plane = int(gl_GlobalInvocationID.x);
    if (plane >= planes) {
        return;
    }
    vec4 total = vec4(0.0);
    for (int chunk = 0; chunk < CHUNK_COUNT; ++chunk) {
        total += texelFetch(sums, plane * CHUNK_COUNT + chunk);
    }
    vec4 result = total / float(pixels);
#if INVERSE_DEVIATION
    result = only_channels(inversesqrt(result + epsilon), 4 * (plane % blocks), channels);
#endif
    target[plane] = result;
}
