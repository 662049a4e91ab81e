#ifndef KERNELS_H
#define KERNELS_H

#define SIZE 128

/* Square matrices, row by row. */
void matrix_product(const float *left, const float *right, float *result);
void softmax(const float *input, float *result);
void max_pool(const float *input, float *result);
float mean(const float *input);

#endif
