#define CONSTANT 0
#define REFLECT 1
#define EDGE 2

layout(binding = 0) uniform samplerBuffer source;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters {
    PLANES
    int channels, height, width, target_width, top, left;
    float value;
};

int reflected(int place, int size) {
    place = abs(place);
    return place < size ? place : 2 * size - 2 - place;
}

void main() {
    if (IS_OUTSIDE) {
        return;
    }
    int pixel = PIXEL;
    int plane = PLANE;
    int at = plane * pixels + pixel;
    int row = quotient(pixel, target_width);
    int y = row - top, x = pixel - row * target_width - left;
#if MODE == REFLECT
    y = reflected(y, height);
    x = reflected(x, width);
#elif MODE == EDGE
    y = clamp(y, 0, height - 1);
    x = clamp(x, 0, width - 1);
#else
    if (uint(y) >= uint(height) || uint(x) >= uint(width)) {
        target[at] = only_channels(vec4(value), 4 * BLOCK, channels);
        return;
    }
#endif
    target[at] = texelFetch(source, (plane * height + y) * width + x);
}
