// Convolutions of 3 x 3 on CPUs in float32 by Winograd's minimal filtering, F(4 x 4, 3 x 3) (Lavin and Gray, 2016): a
// quarter of the multiplications. The compiled half of convolution.py, which says what is computed.
//
// Maps are cut into tiles of 4 x 4 outputs. Of a tile's 6 x 6 inputs, and of a filter, 36 numbers are made per channel;
// for each of the 36 the tiles meet the filters in one matrix product; its 36 results make the outputs.

#include <algorithm>

#include "vectors.h"

extern "C" {

// Also in convolution.py, field by field. Maps lie channels last; channels are multiples of the vector's.
struct Convolution {
    int64_t images, height, width, inputs, outputs, threads;
    const float *x, *weight, *bias;  // weight: outputs x inputs x 3 x 3; bias may be null
    float* y;
};

}  // extern "C"

namespace {

using V = Vec<float>;
constexpr long LANE = LANES<float>, COLUMNS = TILE<float>;
constexpr long OUT = 4, IN = 6, POINTS = IN * IN;
constexpr long CHUNK = 16 * 1024 * 1024 / sizeof(float);  // numbers of transformed tiles at a time
constexpr long PANEL = 512 * 1024 / sizeof(float);        // of filters: half a cache of the second level

constexpr long SUMMANDS = 256;                            // added up apart, so that the rounding of long sums stays small

// The transforms along one axis, of the points 0, 1, -1, 2, -2 and infinity. `s` is the step between numbers.
inline void of_inputs(const V* d, long s, V* to, long t) {
    const V even = d[4 * s] - 4.0f * d[2 * s], odd = d[3 * s] - 4.0f * d[s];
    const V a = d[4 * s] - d[2 * s], b = 2.0f * (d[3 * s] - d[s]);
    to[0] = 4.0f * d[0] - 5.0f * d[2 * s] + d[4 * s];
    to[t] = even + odd;
    to[2 * t] = even - odd;
    to[3 * t] = a + b;
    to[4 * t] = a - b;
    to[5 * t] = 4.0f * d[s] - 5.0f * d[3 * s] + d[5 * s];
}

inline void of_filters(const V* g, long s, V* to, long t) {
    const V ends = (g[0] + g[2 * s]) * (-1.0f / 6), middle = g[s] * (1.0f / 6);
    const V far = g[0] * (1.0f / 24) + g[2 * s] * (1.0f / 6), half = g[s] * (1.0f / 12);
    to[0] = g[0] * 0.25f;
    to[t] = ends - middle;
    to[2 * t] = ends + middle;
    to[3 * t] = far + half;
    to[4 * t] = far - half;
    to[5 * t] = g[2 * s];
}

inline void of_outputs(const V* m, long s, V* to, long t) {
    const V a = m[s] + m[2 * s], b = m[s] - m[2 * s], c = m[3 * s] + m[4 * s], d = m[3 * s] - m[4 * s];
    to[0] = m[0] + a + c;
    to[t] = b + 2.0f * d;
    to[2 * t] = a + 4.0f * c;
    to[3 * t] = b + 8.0f * d + m[5 * s];
}

// Filters of COLUMNS outputs from `first` on -> for each point inputs x COLUMNS, `stride` numbers apart.
void transform_filters(const Convolution& call, long first, float* to, long stride) {
    const long there = std::min(COLUMNS, call.outputs - first);
    for (long i = 0; i < call.inputs; ++i)
        for (long c = 0; c < COLUMNS; c += LANE) {
            V g[9]{}, half[18], all[POINTS];
            for (long lane = 0; lane < std::min(LANE, there - c); ++lane) {
                const float* filter = call.weight + ((first + c + lane) * call.inputs + i) * 9;
                for (long k = 0; k < 9; ++k) g[k][lane] = filter[k];
            }
            for (long k = 0; k < 3; ++k) of_filters(g + k, 3, half + k, 3);       // down the columns: 6 x 3
            for (long k = 0; k < IN; ++k) of_filters(half + 3 * k, 1, all + IN * k, 1);  // along the rows: 6 x 6
            for (long p = 0; p < POINTS; ++p) store(to + p * stride + i * COLUMNS + c, all[p]);
        }
}

// The tile whose first output is (row, column) -> for each point its inputs' numbers, `stride` apart.
void transform_tile(const Convolution& call, const float* image, long row, long column, float* to, long stride) {
    const long C = call.inputs;
    for (long c = 0; c < C; c += LANE) {
        V d[POINTS], half[POINTS];
        for (long i = 0; i < IN; ++i)
            for (long j = 0; j < IN; ++j) {
                const long y = row + i - 1, x = column + j - 1;
                const bool inside = y >= 0 && y < call.height && x >= 0 && x < call.width;
                d[i * IN + j] = inside ? load(image + (y * call.width + x) * C + c) : V{};
            }
        for (long j = 0; j < IN; ++j) of_inputs(d + j, IN, half + j, IN);
        for (long i = 0; i < IN; ++i) of_inputs(half + i * IN, 1, d + i * IN, 1);
        for (long p = 0; p < POINTS; ++p) store(to + p * stride + c, d[p]);
    }
}

// A tile's results at each point, `stride` apart -> its outputs.
void finish_tile(const Convolution& call, float* image, long row, long column, const float* from, long stride) {
    const long C = call.outputs;
    const long rows = std::min(OUT, call.height - row), columns = std::min(OUT, call.width - column);
    for (long c = 0; c < C; c += LANE) {
        V m[POINTS], half[OUT * IN], y[OUT * OUT];
        for (long p = 0; p < POINTS; ++p) m[p] = load(from + p * stride + c);
        for (long j = 0; j < IN; ++j) of_outputs(m + j, IN, half + j, IN);
        for (long i = 0; i < OUT; ++i) of_outputs(half + i * IN, 1, y + i * OUT, 1);
        const V bias = call.bias ? load(call.bias + c) : V{};
        for (long i = 0; i < rows; ++i)
            for (long j = 0; j < columns; ++j)
                store(image + ((row + i) * call.width + column + j) * C + c, y[i * OUT + j] + bias);
    }
}

// ROWS tiles from x on, K numbers each, by K x COLUMNS filters -> y, N numbers a tile.
inline void product(const float* x, long K, long rows, const float* filters, float* y, long N, long columns) {
    const float* at[ROWS];
    for (long r = 0; r < ROWS; ++r) at[r] = x + std::min(r, rows - 1) * K;
    V total[ROWS][2] = {};
    for (long first = 0; first < K; first += SUMMANDS) {
        V sums[ROWS][2] = {};
        for (long k = first; k < std::min(K, first + SUMMANDS); ++k, filters += COLUMNS) {
            const V w0 = load(filters), w1 = load(filters + LANE);
#pragma GCC unroll 8
            for (long r = 0; r < ROWS; ++r) {
                sums[r][0] += at[r][k] * w0;
                sums[r][1] += at[r][k] * w1;
            }
        }
        for (long r = 0; r < ROWS; ++r)
            for (long c = 0; c < 2; ++c) total[r][c] += sums[r][c];
    }
    for (long r = 0; r < rows; ++r) {
        store(y + r * N, total[r][0]);
        if (columns > LANE) store(y + r * N + LANE, total[r][1]);
    }
}

}  // namespace

extern "C" void convolution_float32(const Convolution* arguments) {
    const Convolution& call = *arguments;
    const long K = call.inputs, N = call.outputs, threads = call.threads;
    const long down = (call.height + OUT - 1) / OUT, across = (call.width + OUT - 1) / OUT;
    const long tiles = call.images * down * across, chunk = std::min(tiles, std::max(64L, CHUNK / (POINTS * K)));
    const long padded = round_up(N, COLUMNS), panel = std::max(1L, PANEL / (K * COLUMNS)) * COLUMNS;
    const long panels = (N + panel - 1) / panel;
    Buffer<float> filters(POINTS * K * padded), inputs(POINTS * chunk * K), results(POINTS * chunk * N);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (long n = 0; n < padded; n += COLUMNS) transform_filters(call, n, filters + n * K, K * padded);
        for (long first = 0; first < tiles; first += chunk) {
            const long count = std::min(chunk, tiles - first);
            const auto image = [&](long tile) { return tile / (down * across) * call.height * call.width; };
            const auto row = [&](long tile) { return tile / across % down * OUT; };
            const auto column = [&](long tile) { return tile % across * OUT; };
#pragma omp for schedule(static)
            for (long t = 0; t < count; ++t)
                transform_tile(call, call.x + image(first + t) * K, row(first + t), column(first + t), inputs + t * K, chunk * K);
#pragma omp for schedule(dynamic, 1) collapse(2)
            for (long p = 0; p < POINTS; ++p)
                for (long part = 0; part < panels; ++part)
                    for (long m = 0; m < count; m += ROWS)
                        for (long n = part * panel; n < std::min(N, (part + 1) * panel); n += COLUMNS)
                            product(inputs + (p * chunk + m) * K, K, std::min(ROWS, count - m), filters + (p * padded + n) * K,
                                    results + (p * chunk + m) * N + n, N, std::min(COLUMNS, N - n));
#pragma omp for schedule(static)
            for (long t = 0; t < count; ++t)
                finish_tile(call, call.y + image(first + t) * N, row(first + t), column(first + t), results + t * N, chunk * N);
        }
    }
}

// How many channels of inputs and outputs go together.
extern "C" int64_t convolution_channels() { return LANE; }
