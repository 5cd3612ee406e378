// Linear layers on CPUs with what follows them, in float32; the compiled half of linear.py, which says what is computed.
//
// A tile of ROWS tokens and TILE outputs keeps its sums in registers. For it the weights are packed, TILE outputs side by
// side for every input; tokens are read as they lie.

#include <algorithm>
#include <chrono>

#include <vector>

#include "calls.h"
#include "vectors.h"

namespace {

using V = Vec<float>;
constexpr long LANE = LANES<float>, COLUMNS = TILE<float>;
constexpr long PACKED = 512 * 1024 / sizeof(float);  // weights at a time: half a cache of the second level

// x (1/2 + erf(x / sqrt 2) / 2), the second summand as a rational function fitted to 8e-8 up to |x| = 5.5.
inline V gelu(V x) {
    const V y = x > 5.5f ? all(5.5f) : x, t = y * y;
    V p = all(2.31698642e-8f), q = all(1.20244624e-6f);
    p = p * t + 6.25100165e-6f, q = q * t + 7.04957129e-5f;
    p = p * t + 1.59540752e-4f, q = q * t + 1.83130405e-3f;
    p = p * t + 4.61905124e-3f, q = q * t + 2.81382632e-2f;
    p = p * t + 3.29879411e-2f, q = q * t + 2.49354318e-1f;
    p = p * t + 3.98942173e-1f, q = q * t + 1.0f;
    return x * (x < -5.5f ? V{} : 0.5f + y * p / q);
}

// Tokens m.., outputs n..: ROWS x COLUMNS of them, fewer at the end. `x`: the tokens' inputs, `packed`: the outputs' weights.
template <typename Product> void tile(const Linear& layer, long m, long n, const float* const (&x)[ROWS], const float* packed) {
    const long M = layer.tokens, N = layer.outputs, K = layer.inputs / Product::EACH;
    V sums[ROWS][2] = {};
    for (long k = 0; k < K; ++k, packed += COLUMNS) {
        const V w0 = load(packed), w1 = load(packed + LANE);
#pragma GCC unroll 8
        for (long r = 0; r < ROWS; ++r) {
            sums[r][0] = Product::add(sums[r][0], x[r][k], w0);
            sums[r][1] = Product::add(sums[r][1], x[r][k], w1);
        }
    }
    const long columns = std::min(COLUMNS, N - n);
    float bias[COLUMNS] = {};
    if (layer.bias) std::copy_n(layer.bias + n, columns, bias);
    for (long r = 0; r < ROWS; ++r)
        for (long c = 0; c < 2; ++c) {
            sums[r][c] += load(bias + c * LANE);
            if (layer.gelu) sums[r][c] = gelu(sums[r][c]);
        }
    for (long r = 0; r < std::min(ROWS, M - m); ++r) {
        const long place = (m + r) * N + n;
        float row[COLUMNS];
        store(row, sums[r][0]), store(row + LANE, sums[r][1]);
        if (layer.y_half)
            narrow(row, columns, (BFloat16*)layer.y + place);
        else
            std::copy_n(row, columns, (float*)layer.y + place);
    }
}

// The inputs of ROWS tokens from m on, the last one's again where there are fewer; as pairs they are halved into `halves`.
template <typename Product> void inputs(const Linear& layer, long m, BFloat16* halves, const float* (&x)[ROWS]) {
    const long K = layer.inputs;
    for (long r = 0; r < ROWS; ++r) {
        const long place = std::min(m + r, layer.tokens - 1) * K;
        x[r] = (const float*)layer.x + place;
        if (Product::EACH == 1) continue;
        if (!layer.x_half) narrow(x[r], K, halves + r * K);
        x[r] = (const float*)(layer.x_half ? (const BFloat16*)layer.x + place : halves + r * K);
    }
}

// The weights of outputs n.., of a TILE of them.
template <typename Product> void pack_weights(const Linear& layer, long n, BFloat16* halves, float* packed) {
    const long K = layer.inputs, outputs = layer.outputs - n;
    const float* rows = (const float*)layer.weight + n * K;
    if (Product::EACH == 1) return pack(rows, K, K, outputs, packed);
    if (!layer.weight_half) narrow(rows, std::min(outputs, COLUMNS) * K, halves);
    rows = (const float*)(layer.weight_half ? (const BFloat16*)layer.weight + n * K : halves);
    pack(rows, K / 2, K / 2, outputs, packed);
}

// Sum of f(vector) over a row of n numbers; the last vector is filled up with `rest`.
template <typename F> inline float sum_of(const float* row, long n, float rest, F f) {
    V sums{};
    long i = 0;
    for (; i + LANE <= n; i += LANE) sums += f(load(row + i));
    if (i < n) {
        float last[LANE];
        std::fill(std::copy(row + i, row + n, last), last + LANE, rest);
        sums += f(load(last));
    }
    return sum<float>(sums);
}

// LayerNorm of the outputs of ROWS tokens, added to their residuals.
void normalize(const Linear& layer, long first) {
    const long n = layer.outputs, last = layer.tokens;
    for (long m = first; m < std::min(first + ROWS, last); ++m) {
        float* y = (float*)layer.y + m * n;
        const float *residual = layer.residual + m * n, *weight = layer.norm_weight, *bias = layer.norm_bias;
        const float mean = sum_of(y, n, 0, [](V x) { return x; }) / n;
        const float variance = sum_of(y, n, mean, [mean](V x) { return (x - mean) * (x - mean); }) / n;
        const float factor = 1 / std::sqrt(variance + float(layer.eps));
        for (long i = 0; i < n; ++i) y[i] = (y[i] - mean) * factor * weight[i] + bias[i] + residual[i];
    }
}

template <typename Product> void linear(const Linear& layer) {
    const long threads = layer.threads, M = layer.tokens, N = layer.outputs, K = layer.inputs, units = K / Product::EACH;
    const bool by_token = M >= N;  // threads share the tokens, or the outputs
    const auto part = [threads](long n, long unit, long i) { return std::min(n, (n + unit - 1) / unit * i / threads * unit); };
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (long thread = 0; thread < threads; ++thread) {
        const long m0 = by_token ? part(M, ROWS, thread) : 0, m1 = by_token ? part(M, ROWS, thread + 1) : M;
        const long n0 = by_token ? 0 : part(N, COLUMNS, thread), n1 = by_token ? N : part(N, COLUMNS, thread + 1);
        if (m0 == m1 || n0 == n1) continue;
        const long panel = std::max(1L, PACKED / (units * COLUMNS)) * COLUMNS;
        Buffer<float> packed(units * std::min(panel, round_up(n1 - n0, COLUMNS)));
        Buffer<BFloat16> halves(Product::EACH == 1 ? 1 : K * std::max(ROWS, COLUMNS));
        for (long first = n0; first < n1; first += panel) {
            const long last = std::min(n1, first + panel);
            for (long n = first; n < last; n += COLUMNS) pack_weights<Product>(layer, n, halves, packed + (n - first) * units);
            for (long m = m0; m < m1; m += ROWS) {
                const float* x[ROWS];
                inputs<Product>(layer, m, halves, x);
                for (long n = first; n < last; n += COLUMNS) tile<Product>(layer, m, n, x, packed + (n - first) * units);
                if (layer.norm_weight && by_token && last == N) normalize(layer, m);
            }
        }
    }
    if (by_token || !layer.norm_weight) return;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (long thread = 0; thread < threads; ++thread)
        for (long m = part(M, ROWS, thread); m < part(M, ROWS, thread + 1); m += ROWS) normalize(layer, m);
}

// Seconds of ten runs of a layer.
template <typename Product> double seconds(const Linear& layer) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 10; ++i) linear<Product>(layer);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

extern "C" {
void linear_float32(const Linear* call) { linear<Numbers>(*call); }
void linear_bfloat16(const Linear* call) { linear<Pairs>(*call); }  // of an even number of inputs

// How many times as many products of pairs this processor computes in a second as of numbers.
double rate_of_pairs() {
    constexpr long K = 256, M = 2 * ROWS, N = COLUMNS;  // operands that stay in the first caches
    std::vector<float> x(M * K), weight(N * K), y(M * N);
    Linear layer{M, K, N, 0, 0, 0, 0, 1, 0, x.data(), weight.data(), nullptr, nullptr, nullptr, nullptr, y.data()};
    double numbers = 1, pairs = 1;
    for (int i = 0; i < 9; ++i) {  // by turns, as the machine may be busy
        layer.x_half = layer.weight_half = 0;
        numbers = std::min(numbers, seconds<Numbers>(layer));
        layer.x_half = layer.weight_half = 1;
        pairs = std::min(pairs, seconds<Pairs>(layer));
    }
    return numbers / pairs;
}
}
