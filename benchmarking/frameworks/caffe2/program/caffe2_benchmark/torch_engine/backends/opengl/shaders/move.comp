// Values to another place: each dimension's place in the source becomes the target's place along some dimension,
// from an offset on. Channels may be shuffled before; places may be counted through and cut up anew (RENUMBERS).

layout(binding = 0) uniform samplerBuffer source;
layout(std430, binding = 0) writeonly buffer Target { float target[]; };
layout(std140, binding = 0) uniform Parameters {
    PLANES
    int channels, width;
    int groups, group_size;
    int target_blocks, target_channels, target_height, target_width;
    int image_offset, channel_offset, row_offset, column_offset;
};

void main() {
    if (IS_OUTSIDE) {
        return;
    }
    int pixel = PIXEL;
    vec4 texel = texelFetch(source, PLANE * pixels + pixel);
    int image = IMAGE;
    int first_channel = 4 * BLOCK;
    int row = quotient(pixel, width);
    int column = pixel - row * width;
    for (int place = 0; place < 4; ++place) {
        int channel = first_channel + place;
        if (channel < channels) {
            float value = place == 0 ? texel.x : place == 1 ? texel.y : place == 2 ? texel.z : texel.w;
#if RENUMBERS
            int number = (image * channels + channel) * pixels + pixel;
            int target_pixels = target_height * target_width;
            int target_plane = number / target_pixels;
            int to_image = target_plane / target_channels;
            int to_channel = target_plane - to_image * target_channels;
            int to_pixel = number - target_plane * target_pixels;
#else
            int group = quotient(channel, group_size);
            int to_image = image + image_offset;
            int to_channel = (channel - group * group_size) * groups + group + channel_offset;
            int to_pixel = (row + row_offset) * target_width + column + column_offset;
#endif
            int to = (to_image * target_blocks + to_channel / 4) * (target_height * target_width) + to_pixel;
            target[4 * to + (to_channel & 3)] = value;
        }
    }
}
