#define _POSIX_C_SOURCE 200809L
#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPERATORS 4

static float weights[SIZE * SIZE], data[SIZE * SIZE], hidden[SIZE * SIZE];
static float probabilities[SIZE * SIZE], pooled[SIZE * SIZE];
static volatile float result;

static const char *names[OPERATORS] = {
    "ID_0_MatMul_hidden",
    "ID_1_Softmax_probabilities",
    "ID_2_MaxPool_pooled",
    "ID_3_Mean_result",
};

static void run_operator(int number) {
    switch (number) {
    case 0: matrix_product(data, weights, hidden); break;
    case 1: softmax(hidden, probabilities); break;
    case 2: max_pool(probabilities, pooled); break;
    case 3: result = mean(pooled); break;
    }
}

static double now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec * 1e-3;
}

static void tell(const char *name, double delay_us) {
    fprintf(stderr, "Caffe2Observer %s - %.3f (us)\n", name, delay_us);
}

static void run_net(int reports) {
    double start = now_us();
    for (int number = 0; number < OPERATORS; number++)
        run_operator(number);
    double delay_us = now_us() - start;
    if (!reports)
        return;
    fprintf(stderr, "Caffe2Observer Delay Start\n");
    tell("NET_DELAY", delay_us);
    fprintf(stderr, "Caffe2Observer Delay End\n");
}

static void run_operators(void) {
    double delays_us[OPERATORS], total_us = 0;
    for (int number = 0; number < OPERATORS; number++) {
        double start = now_us();
        run_operator(number);
        delays_us[number] = now_us() - start;
        total_us += delays_us[number];
    }
    fprintf(stderr, "Caffe2Observer Delay Start\n");
    for (int number = 0; number < OPERATORS; number++)
        tell(names[number], delays_us[number]);
    tell("NET_DELAY", total_us);
    fprintf(stderr, "Caffe2Observer Delay End\n");
}

/* --name value and --name=value; what this program has no use for is passed over. */
static const char *option(int count, char **arguments, const char *name, const char *usual) {
    size_t length = strlen(name);
    for (int number = 1; number < count; number++) {
        if (strncmp(arguments[number], "--", 2) || strncmp(arguments[number] + 2, name, length))
            continue;
        const char *rest = arguments[number] + 2 + length;
        if (*rest == '=')
            return rest + 1;
        if (!*rest && number + 1 < count)
            return arguments[number + 1];
    }
    return usual;
}

int main(int count, char **arguments) {
    int iterations = atoi(option(count, arguments, "iter", "10"));
    int warmup = atoi(option(count, arguments, "warmup", "0"));
    const char *individual = option(count, arguments, "run_individual", "false");
    for (int number = 0; number < SIZE * SIZE; number++) {
        weights[number] = (float)(number % 17) / 170;
        data[number] = (float)(number % 13) / 130;
    }
    for (int number = 0; number < warmup; number++)
        run_net(0);
    for (int number = 0; number < iterations; number++)
        run_net(1);
    for (int number = 0; !strcmp(individual, "true") && number < iterations; number++)
        run_operators();
    return 0;
}
