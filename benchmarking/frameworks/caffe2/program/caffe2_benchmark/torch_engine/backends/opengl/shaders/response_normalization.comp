layout(binding = 0) uniform samplerBuffer source;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
#if HAS_SCALE
layout(std430, binding = 1) writeonly buffer Scale { vec4 scale_target[]; };
#endif
layout(std140, binding = 0) uniform Parameters {
    PLANES
    int channels, before, after;
    float factor, bias, beta;
};

vec4 negative_power(vec4 x) {
    if (beta == 0.75) {
        vec4 root = inversesqrt(x);
        return root * sqrt(root);
    }
    return vec4(
        precise_pow(x.x, -beta), precise_pow(x.y, -beta), precise_pow(x.z, -beta), precise_pow(x.w, -beta));
}

void main() {
    if (IS_OUTSIDE) {
        return;
    }
    int pixel = PIXEL;
    int first = IMAGE * blocks * pixels + pixel;
    int at = first + BLOCK * pixels;
    ivec4 channel = 4 * BLOCK + ivec4(0, 1, 2, 3);
    ivec4 lowest = channel - before, highest = channel + after;
    vec4 sum = vec4(0.0);
    for (int other = max(0, lowest.x >> 2); other <= min(blocks - 1, highest.w >> 2); ++other) {
        vec4 value = texelFetch(source, first + other * pixels);
        value *= value;
        for (int place = 0; place < 4; ++place) {
            ivec4 here = ivec4(4 * other + place);
            float one = place == 0 ? value.x : place == 1 ? value.y : place == 2 ? value.z : value.w;
            bvec4 counts = lessThanEqual(abs(2 * here - lowest - highest), highest - lowest);
            sum += mix(vec4(0.0), vec4(one), counts);
        }
    }
    vec4 scale = fma(sum, vec4(factor), vec4(bias));
    target[at] = only_channels(texelFetch(source, at) * negative_power(scale), 4 * BLOCK, channels);
#if HAS_SCALE
    scale_target[at] = only_channels(scale, 4 * BLOCK, channels);
#endif
}
