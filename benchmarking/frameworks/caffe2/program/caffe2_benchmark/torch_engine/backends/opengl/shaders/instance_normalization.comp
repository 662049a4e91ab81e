layout(binding = 0) uniform samplerBuffer source;
layout(binding = 1) uniform samplerBuffer means;
layout(binding = 2) uniform samplerBuffer inverse_deviations;
layout(binding = 3) uniform samplerBuffer numbers;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters { PLANES };

void main() {
    if (IS_OUTSIDE) {
        return;
    }
    int pixel = PIXEL;
    int plane = PLANE;
    int at = plane * pixels + pixel;
    vec4 factor = texelFetch(inverse_deviations, plane) * texelFetch(numbers, BLOCK);
    vec4 centred = texelFetch(source, at) - texelFetch(means, plane);
    target[at] = fma(centred, factor, texelFetch(numbers, blocks + BLOCK));
}
