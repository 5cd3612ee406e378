// What Python hands to the kernels, and what these offer each other.

#pragma once

#include <cstdint>

extern "C" {

// Also in linear.py, field by field. Pointers but x, weight and y may be null; norm and residual go together.
struct Linear {
    int64_t tokens, inputs, outputs, gelu, x_half, weight_half, y_half, threads;  // *_half: of bfloat16
    double eps;
    const void *x, *weight;
    const float *bias, *norm_weight, *norm_bias, *residual;
    void* y;
};

constexpr int MAX_AXES = 4;

// Both also in attention.py, field by field.
struct Group {
    int64_t first, windows, tokens;  // place of its first token in `rows`; tokens of a window
    int64_t shape[MAX_AXES];
};

struct Call {
    int64_t axes, groups, heads, channels, threads;
    int64_t window[MAX_AXES];
    const Group* group;
    const int32_t* rows;  // of the tokens in the tensors below, window after window
    const void *qkv, *scale, *table;
    void *out, *lse;  // lse may be null in forward
    const void* grad_out;
    void *grad_qkv, *grad_scale, *grad_table;  // the last two once for every thread
};

// Also in block.py, field by field.
struct Band {
    int64_t tokens, groups;
    const Group* group;
    const int32_t* rows;
};

struct Block {
    int64_t bands, mlp_tokens, pairs;
    const Band* band;      // one after another in x and y
    Call attention;        // without groups, qkv and out
    Linear layers[4];      // qkv, proj, fc1, fc2, without tokens, x, residual and y
    const float* x;
    float* y;
};

void linear_float32(const Linear*);
void linear_bfloat16(const Linear*);  // of an even number of inputs
void forward_float32(const Call*);
void forward_bfloat16_pairs(const Call*);

}  // extern "C"
