// An invocation for each row, which is an image.

layout(binding = 0) uniform samplerBuffer source;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters { int rows, pixels, blocks, channels; };

const float lowest = intBitsToFloat(0xff800000);

vec4 shifted_exp(vec4 value, float most, int block) {
    return only_channels(precise_exp(value - most), 4 * block, channels);
}

void main() {
    int row = int(gl_GlobalInvocationID.x);
    if (row >= rows) {
        return;
    }
    int first = row * blocks * pixels;
    vec4 largest = vec4(lowest);
    for (int block = 0; block < blocks; ++block) {
        bvec4 counts = lessThan(4 * block + ivec4(0, 1, 2, 3), ivec4(channels));
        for (int pixel = 0; pixel < pixels; ++pixel) {
            vec4 value = texelFetch(source, first + block * pixels + pixel);
            largest = max(largest, mix(vec4(lowest), value, counts));
        }
    }
    float most = max(max(largest.x, largest.y), max(largest.z, largest.w));
    vec4 sums = vec4(0.0);
    for (int block = 0; block < blocks; ++block) {
        for (int pixel = 0; pixel < pixels; ++pixel) {
            sums += shifted_exp(texelFetch(source, first + block * pixels + pixel), most, block);
        }
    }
    float total = (sums.x + sums.y) + (sums.z + sums.w);
    for (int block = 0; block < blocks; ++block) {
        for (int pixel = 0; pixel < pixels; ++pixel) {
            int at = first + block * pixels + pixel;
            target[at] = shifted_exp(texelFetch(source, at), most, block) / total;
        }
    }
}
