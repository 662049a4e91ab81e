layout(binding = 0) uniform samplerBuffer first;
layout(binding = 1) uniform samplerBuffer second;
#if SOURCES > 2
layout(binding = 2) uniform samplerBuffer third;
#endif
#if SOURCES > 3
layout(binding = 3) uniform samplerBuffer fourth;
#endif
layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };
layout(std140, binding = 0) uniform Parameters { int texels; };

void main() {
    int at = int(gl_GlobalInvocationID.x);
    if (at >= texels) {
        return;
    }
    vec4 sum = texelFetch(first, at) + texelFetch(second, at);
#if SOURCES > 2
    sum += texelFetch(third, at);
#endif
#if SOURCES > 3
    sum += texelFetch(fourth, at);
#endif
    target[at] = sum;
}
