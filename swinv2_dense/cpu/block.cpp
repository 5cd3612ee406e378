// A block without gradients on CPUs; the compiled half of block.py, which says what is computed.

#include <algorithm>

#include "calls.h"
#include "vectors.h"

namespace {

// Of qkv, attention and the hidden layer, which no norm follows: numbers, or bfloat16 where products are of pairs.
struct Between {
    const bool halves;
    Buffer<char> memory;
    Between(bool halves, long n) : halves(halves), memory(n * (halves ? 2 : 4)) {}
};

void run(Linear layer, long tokens, const void* x, bool x_half, const float* residual, void* y, bool y_half, bool pairs) {
    layer.tokens = tokens, layer.x = x, layer.x_half = x_half, layer.residual = residual, layer.y = y, layer.y_half = y_half;
    (pairs ? linear_bfloat16 : linear_float32)(&layer);
}

}  // namespace

extern "C" void block(const Block* arguments) {
    const Block& call = *arguments;
    const auto& [qkv, proj, fc1, fc2] = call.layers;
    const long C = proj.outputs;
    const bool half = call.pairs;
    long most = 0;
    for (long i = 0; i < call.bands; ++i) most = std::max(most, long(call.band[i].tokens));
    Between projected(half, most * 3 * C), mixed(half, most * C), hidden(half, std::min(most, long(call.mlp_tokens)) * fc1.outputs);
    Buffer<float> sum(most * C);
    const float* x = call.x;
    float* y = call.y;
    for (const Band* band = call.band; band < call.band + call.bands; ++band) {
        run(qkv, band->tokens, x, false, nullptr, projected.memory, half, half);
        Call attention = call.attention;
        attention.groups = band->groups, attention.group = band->group, attention.rows = band->rows;
        attention.qkv = projected.memory, attention.out = mixed.memory;
        (half ? forward_bfloat16_pairs : forward_float32)(&attention);
        run(proj, band->tokens, mixed.memory, half, x, sum, false, half);
        for (long first = 0; first < band->tokens; first += call.mlp_tokens) {
            const long tokens = std::min(long(call.mlp_tokens), band->tokens - first);
            const float* from = sum + first * C;
            run(fc1, tokens, from, false, nullptr, hidden.memory, half, half);
            run(fc2, tokens, hidden.memory, half, from, y + first * C, false, half);
        }
        x += band->tokens * C, y += band->tokens * C;
    }
}
