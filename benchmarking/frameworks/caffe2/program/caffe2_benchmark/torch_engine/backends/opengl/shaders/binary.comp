// Of two blobs. The second one's place along each of 4 dimensions is the first one's times a stride: 0 where
// it is broadcast.

layout(binding = 0) uniform samplerBuffer first;
layout(binding = 1) uniform samplerBuffer second;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters {
    PLANES
    int channels, width;
    int second_pixels, second_blocks;
    int image_stride, channel_stride, row_stride, column_stride;
};

#define ADD 0
#define SUBTRACT 1
#define MULTIPLY 2
#define DIVIDE 3

vec4 computed(vec4 a, vec4 b) {
#if FUNCTION == ADD
    return a + b;
#elif FUNCTION == SUBTRACT
    return a - b;
#elif FUNCTION == MULTIPLY
    return a * b;
#else
    return a / b;
#endif
}

void main() {
    if (IS_OUTSIDE) {
        return;
    }
    int pixel = PIXEL;
    int at = PLANE * pixels + pixel;
    vec4 a = texelFetch(first, at);
#if BROADCASTS
    int row = quotient(pixel, width);
    int second_pixel = row * row_stride + (pixel - row * width) * column_stride;
    int second_block = channel_stride == 0 ? 0 : BLOCK;
    vec4 b = texelFetch(
        second, (IMAGE * image_stride * second_blocks + second_block) * second_pixels + second_pixel);
    if (channel_stride == 0) {
        b = vec4(b.x);
    }
    target[at] = only_channels(computed(a, b), 4 * BLOCK, channels);
#elif FUNCTION == DIVIDE
    target[at] = only_channels(computed(a, texelFetch(second, at)), 4 * BLOCK, channels);
#else
    target[at] = computed(a, texelFetch(second, at));
#endif
}
