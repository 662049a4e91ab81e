layout(local_size_x = LOCAL_SIZE) in;

int quotient(int number, int divisor) {
    // For numbers below 2^24. Processors have no division of several whole numbers at once, but of floats,
    // and that may be one off.
    int guess = int(float(number) / float(divisor));
    int rest = number - guess * divisor;
    return guess + (rest >= divisor ? 1 : 0) - (rest < 0 ? 1 : 0);
}

// Where an invocation is that is of a pixel of a plane, which is of a block and an image; the parameters of such
// a shader begin with PLANES. Planes of one pixel lie side by side in a work group.
#define PLANES int pixels, blocks, images;
#if SIDE_BY_SIDE
#define PIXEL 0
#define PLANE int(gl_GlobalInvocationID.x)
#define IMAGE quotient(PLANE, blocks)
#define BLOCK (PLANE - IMAGE * blocks)
#define IS_OUTSIDE (PLANE >= blocks * images)
#else
#define PIXEL int(gl_GlobalInvocationID.x)
#define PLANE int(gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y)
#define IMAGE int(gl_WorkGroupID.z)
#define BLOCK int(gl_WorkGroupID.y)
#define IS_OUTSIDE (PIXEL >= pixels)
#endif

// The functions of drivers for these may be good for colours only.

float precise_exp(float x) {
    x = clamp(x, -87.0, 88.5);
    float power = floor(x * 1.44269504 + 0.5);
    float rest = fma(power, -0.693359375, x);
    rest = fma(power, 2.12194440e-4, rest);
    float sum = fma(rest, 1.0 / 5040.0, 1.0 / 720.0);
    sum = fma(sum, rest, 1.0 / 120.0);
    sum = fma(sum, rest, 1.0 / 24.0);
    sum = fma(sum, rest, 1.0 / 6.0);
    sum = fma(sum, rest, 0.5);
    sum = fma(sum, rest, 1.0);
    sum = fma(sum, rest, 1.0);
    return sum * intBitsToFloat((int(power) + 127) << 23);
}

vec4 precise_exp(vec4 x) {
    return vec4(precise_exp(x.x), precise_exp(x.y), precise_exp(x.z), precise_exp(x.w));
}

float precise_log(float x) {
    // x = 2^power * part with part between sqrt(1/2) and sqrt(2); log(part) by the series of 2 atanh.
    int bits = floatBitsToInt(x);
    int power = ((bits - 0x3f3504f3) >> 23);
    float part = intBitsToFloat(bits - (power << 23));
    float s = (part - 1.0) / (part + 1.0);
    float t = s * s;
    float sum = fma(t, 2.0 / 9.0, 2.0 / 7.0);
    sum = fma(sum, t, 2.0 / 5.0);
    sum = fma(sum, t, 2.0 / 3.0);
    sum = fma(sum, t, 2.0);
    return fma(float(power), 0.693147181, sum * s);
}

float precise_pow(float x, float exponent) {
    return precise_exp(exponent * precise_log(x));
}

vec4 rectified(vec4 value) {
    // By its bits, as compilers make a maximum of the comparison, which need not keep what is no number.
    // Read as a whole number, minus infinity is the largest of those below zero, but for what is no number.
    return mix(value, vec4(0.0), lessThanEqual(floatBitsToInt(value), ivec4(-0x800000)));
}

vec4 only_channels(vec4 texel, int first_channel, int channels) {
    // Those of a texel that fill up the last four are zero, whatever was computed from them.
    ivec4 place = first_channel + ivec4(0, 1, 2, 3);
    return mix(vec4(0.0), texel, lessThan(place, ivec4(channels)));
}

// The end of a convolution, into which a sum and a Relu may be fused.
#if HAS_OTHER
layout(binding = 2) uniform samplerBuffer other;
#define ADD_OTHER(value, at) value += texelFetch(other, at);
#else
#define ADD_OTHER(value, at)
#endif
#if HAS_RELU
#define RECTIFY(value) value = rectified(value);
#else
#define RECTIFY(value)
#endif
#define FINISH(value, at) ADD_OTHER(value, at) RECTIFY(value) target[at] = value;
