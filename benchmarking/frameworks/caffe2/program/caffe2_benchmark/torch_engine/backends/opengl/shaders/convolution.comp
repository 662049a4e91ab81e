// Each invocation computes 8 channels of TILE_PIXELS pixels. Weights, tile by tile: a texel whose x is the
// first block of source channels, the bias (2 texels), then 8 texels for each tap and block.

layout(binding = 0) uniform samplerBuffer source;
layout(binding = 1) uniform samplerBuffer weights;
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters {
    int source_blocks, source_height, source_width, zero;
    int target_blocks, target_height, target_width;
    int rows, columns;
    int row_step, column_step, first_row, first_column;
    int stride_y, stride_x, head_y, head_x, dilation_y, dilation_x;
    int kernel_y, kernel_x, blocks, tile_texels;
};

#if TILE_PIXELS == 8
#define EACH(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#elif TILE_PIXELS == 4
#define EACH(F) F(0) F(1) F(2) F(3)
#else
#define EACH(F) F(0)
#endif

#define BEGIN(j) \
    vec4 low##j = low_bias, high##j = high_bias; \
    int pixel##j = first_pixel + j * LOCAL_SIZE; \
    int row##j = quotient(pixel##j, columns), column##j = pixel##j - row##j * columns; \
    int top##j = row##j * stride_y - head_y, left##j = column##j * stride_x - head_x; \
    int at##j, step##j;
#define LOCATE(j) { \
    int y = top##j + down, x = left##j + right; \
    bool inside = uint(y) < uint(source_height) && uint(x) < uint(source_width); \
    at##j = inside ? first + y * source_width + x : zero; \
    step##j = inside ? plane : 0; }
#define LOAD(j) vec4 value##j = texelFetch(source, at##j); at##j += step##j;
#define ADD(j, c) low##j = fma(low, vec4(value##j.c), low##j); high##j = fma(high, vec4(value##j.c), high##j);
#define ADD_X(j) ADD(j, x)
#define ADD_Y(j) ADD(j, y)
#define ADD_Z(j) ADD(j, z)
#define ADD_W(j) ADD(j, w)
#define CHANNEL(offset, ADD_IT) { \
    vec4 low = texelFetch(weights, weight + offset), high = texelFetch(weights, weight + offset + 1); \
    EACH(ADD_IT) }
#define STORE(j) \
    if (pixel##j < rows * columns) { \
        int at = target_first + (row##j * row_step + first_row) * target_width \
            + column##j * column_step + first_column; \
        FINISH(low##j, at) \
        if (has_high) { at += target_plane; FINISH(high##j, at) } }

void main() {
    int first_pixel = int(gl_WorkGroupID.x) * LOCAL_SIZE * TILE_PIXELS + int(gl_LocalInvocationID.x);
    int tile = int(gl_WorkGroupID.y);
    int weight = tile * tile_texels;
    int first_block = int(texelFetch(weights, weight).x);
    vec4 low_bias = texelFetch(weights, weight + 1), high_bias = texelFetch(weights, weight + 2);
    weight += 3;
    int plane = source_height * source_width;
    int first = (IMAGE * source_blocks + first_block) * plane;
    EACH(BEGIN)
    for (int tap_y = 0; tap_y < kernel_y; ++tap_y) {
        int down = tap_y * dilation_y;
        for (int tap_x = 0; tap_x < kernel_x; ++tap_x) {
            int right = tap_x * dilation_x;
            EACH(LOCATE)
            for (int block = 0; block < blocks; ++block) {
                EACH(LOAD)
                CHANNEL(0, ADD_X)
                CHANNEL(2, ADD_Y)
                CHANNEL(4, ADD_Z)
                CHANNEL(6, ADD_W)
                weight += 8;
            }
        }
    }
    int target_plane = target_height * target_width;
    int target_first = (IMAGE * target_blocks + 2 * tile) * target_plane;
    bool has_high = 2 * tile + 1 < target_blocks;
    EACH(STORE)
}
