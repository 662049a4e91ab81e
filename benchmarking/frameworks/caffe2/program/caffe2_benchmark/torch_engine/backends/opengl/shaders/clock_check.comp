layout(std430, binding = 0) writeonly buffer Target { vec4 target[]; };

void main() {
    float value = float(gl_GlobalInvocationID.x);
    for (int step = 0; step < 20000; ++step) {
        value = fma(value, 0.999, 1.0);
    }
    target[gl_GlobalInvocationID.x] = vec4(value);
}
