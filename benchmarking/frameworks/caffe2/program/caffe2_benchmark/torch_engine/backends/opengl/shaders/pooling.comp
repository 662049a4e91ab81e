layout(binding = 0) uniform samplerBuffer source;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters {
    PLANES
    int source_height, source_width, target_width;
    int stride_y, stride_x, head_y, head_x, dilation_y, dilation_x;
    int kernel_y, kernel_x;
};

void main() {
    if (IS_OUTSIDE) {
        return;
    }
    int pixel = PIXEL;
    int plane = PLANE;
    int row = quotient(pixel, target_width);
    int top = row * stride_y - head_y;
    int left = (pixel - row * target_width) * stride_x - head_x;
    int first = plane * source_height * source_width;
#if IS_MAXIMUM
    vec4 result = vec4(intBitsToFloat(0xff800000));
#else
    vec4 result = vec4(0.0);
    int count = 0;
#endif
    for (int tap_y = 0; tap_y < kernel_y; ++tap_y) {
        int y = top + tap_y * dilation_y;
        if (uint(y) < uint(source_height)) {
            for (int tap_x = 0; tap_x < kernel_x; ++tap_x) {
                int x = left + tap_x * dilation_x;
                if (uint(x) < uint(source_width)) {
                    vec4 value = texelFetch(source, first + y * source_width + x);
#if IS_MAXIMUM
                    result = max(result, value);
#else
                    result += value;
                    ++count;
#endif
                }
            }
        }
    }
#if !IS_MAXIMUM
    result /= float(COUNTS_PADDING == 1 ? kernel_y * kernel_x : count);
#endif
    target[plane * pixels + pixel] = result;
}
