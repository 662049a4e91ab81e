// Each invocation computes 4 values of TILE_ROWS rows. Weights: the bias, then 4 texels of 4 outputs, one for
// each value, for each texel of a row; invocations next to each other read texels next to each other.

layout(binding = 0) uniform samplerBuffer source;
layout(binding = 1) uniform samplerBuffer weights;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters { int rows, row_texels, blocks; };

#if TILE_ROWS == 4
#define EACH(F) F(0) F(1) F(2) F(3)
#else
#define EACH(F) F(0)
#endif
#define BEGIN(j) vec4 sum##j = bias; int at##j = min(first_row + j, rows - 1) * row_texels;
#define ADD(j) { \
    vec4 value = texelFetch(source, at##j + texel); \
    sum##j = fma(x, vec4(value.x), sum##j); \
    sum##j = fma(y, vec4(value.y), sum##j); \
    sum##j = fma(z, vec4(value.z), sum##j); \
    sum##j = fma(w, vec4(value.w), sum##j); }
#define STORE(j) if (first_row + j < rows) target[(first_row + j) * blocks + block] = sum##j;

void main() {
    int block = int(gl_GlobalInvocationID.x);
    if (block >= blocks) {
        return;
    }
    int first_row = int(gl_WorkGroupID.y) * TILE_ROWS;
    vec4 bias = texelFetch(weights, block);
    int weight = block + blocks;
    EACH(BEGIN)
    for (int texel = 0; texel < row_texels; ++texel) {
        vec4 x = texelFetch(weights, weight), y = texelFetch(weights, weight + blocks);
        vec4 z = texelFetch(weights, weight + 2 * blocks), w = texelFetch(weights, weight + 3 * blocks);
        weight += 4 * blocks;
        EACH(ADD)
    }
    EACH(STORE)
}
