// A function of each value and, perhaps, of a number or two that belong to its channel.

#define COPY 0
#define RELU 1
#define SLOPE 2
#define AFFINE 3
#define SIGMOID 4

layout(binding = 0) uniform samplerBuffer source;
#if FUNCTION == SLOPE || FUNCTION == AFFINE
layout(binding = 1) uniform samplerBuffer numbers;
#endif
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters { PLANES int channels; };

void main() {
    if (IS_OUTSIDE) {
        return;
    }
    int pixel = PIXEL;
    int at = PLANE * pixels + pixel;
    vec4 value = texelFetch(source, at);
#if FUNCTION == RELU
    value = rectified(value);
#elif FUNCTION == SLOPE
    vec4 slope = texelFetch(numbers, BLOCK);
    value = mix(value * slope, value, greaterThan(value, vec4(0.0)));
#elif FUNCTION == AFFINE
    value = fma(value, texelFetch(numbers, BLOCK), texelFetch(numbers, blocks + BLOCK));
#elif FUNCTION == SIGMOID
    value = 1.0 / (1.0 + precise_exp(-value));
    value = only_channels(value, 4 * BLOCK, channels);
#endif
    target[at] = value;
}
