#include "kernels.h"

#include <math.h>
#include <string.h>

void matrix_product(const float *left, const float *right, float *result) {
    memset(result, 0, SIZE * SIZE * sizeof(float));
    for (int row = 0; row < SIZE; row++)
        for (int inner = 0; inner < SIZE; inner++) {
            float factor = left[row * SIZE + inner];
            for (int column = 0; column < SIZE; column++)
                result[row * SIZE + column] += factor * right[inner * SIZE + column];
        }
}

static float exponential(float x) {
    return expf(x);
}

void softmax(const float *input, float *result) {
    for (int row = 0; row < SIZE; row++) {
        float sum = 0;
        for (int column = 0; column < SIZE; column++) {
            float value = exponential(input[row * SIZE + column]);
            result[row * SIZE + column] = value;
            sum += value;
        }
        for (int column = 0; column < SIZE; column++)
            result[row * SIZE + column] /= sum;
    }
}

void max_pool(const float *input, float *result) {
    for (int row = 0; row + 2 < SIZE; row++)
        for (int column = 0; column + 2 < SIZE; column++) {
            float largest = input[row * SIZE + column];
            for (int number = 1; number < 9; number++) {
                float value = input[(row + number / 3) * SIZE + column + number % 3];
                largest = value > largest ? value : largest;
            }
            result[row * SIZE + column] = largest;
        }
}

float mean(const float *input) {
    float sum = 0;
    for (int number = 0; number < SIZE * SIZE; number++)
        sum += input[number];
    return sum / (SIZE * SIZE);
}
