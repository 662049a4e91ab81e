// Each invocation computes 4 channels of TILE_PIXELS pixels; weights, block by block: bias, then the taps.

layout(binding = 0) uniform samplerBuffer source;
layout(binding = 1) uniform samplerBuffer weights;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters {
    int source_height, source_width, zero;
    int target_height, target_width;
    int stride_y, stride_x, head_y, head_x, dilation_y, dilation_x;
    int kernel_y, kernel_x;
};

#define EACH(F) F(0) F(1) F(2) F(3)
#define BEGIN(j) \
    vec4 sum##j = bias; \
    int pixel##j = first_pixel + j * LOCAL_SIZE; \
    int row##j = quotient(pixel##j, target_width), column##j = pixel##j - row##j * target_width; \
    int top##j = row##j * stride_y - head_y, left##j = column##j * stride_x - head_x;
#define ADD(j) { \
    int y = top##j + down, x = left##j + right; \
    bool inside = uint(y) < uint(source_height) && uint(x) < uint(source_width); \
    vec4 value = texelFetch(source, inside ? first + y * source_width + x : zero); \
    sum##j = fma(value, factor, sum##j); }
#define STORE(j) \
    if (pixel##j < target_plane) { \
        int at = plane * target_plane + pixel##j; \
        FINISH(sum##j, at) }

void main() {
    int first_pixel = int(gl_WorkGroupID.x) * LOCAL_SIZE * 4 + int(gl_LocalInvocationID.x);
    int plane = PLANE;
    int weight = BLOCK * (1 + kernel_y * kernel_x);
    vec4 bias = texelFetch(weights, weight);
    int first = plane * source_height * source_width;
    int target_plane = target_height * target_width;
    EACH(BEGIN)
    for (int tap_y = 0; tap_y < kernel_y; ++tap_y) {
        int down = tap_y * dilation_y;
        for (int tap_x = 0; tap_x < kernel_x; ++tap_x) {
            int right = tap_x * dilation_x;
            vec4 factor = texelFetch(weights, ++weight);
            EACH(ADD)
        }
    }
    EACH(STORE)
}
