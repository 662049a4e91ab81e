// The sums of CHUNK_COUNT parts of each plane: of its values or, with CENTRED, of the squares of their distances
// to the plane's mean.

layout(binding = 0) uniform samplerBuffer source;
#if CENTRED
layout(binding = 1) uniform samplerBuffer means;
#endif
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters { int chunks, pixels; };

void main() {
    int at = int(gl_GlobalInvocationID.x);
    if (at >= chunks) {
        return;
    }
    int plane = at / CHUNK_COUNT;
    int chunk = at - plane * CHUNK_COUNT;
#if CENTRED
    vec4 mean = texelFetch(means, plane);
#endif
    vec4 sum = vec4(0.0);
    for (int pixel = chunk; pixel < pixels; pixel += CHUNK_COUNT) {
        vec4 value = texelFetch(source, plane * pixels + pixel);
#if CENTRED
        value -= mean;
        sum = fma(value, value, sum);
#else
        sum += value;
#endif
    }
    target[at] = sum;
}
