// RoIAlign on CPUs in float32, mean of a bin's samples; the compiled half of roi_align.py, which says what is computed.
//
// The mean of bilinear samples on a grid is separable: a bin row is a weighted sum of a few map rows, a bin column of a
// few map columns. The weights are found once per RoI. Maps lie channels last, so that a weight meets a vector of them.

#include <algorithm>
#include <vector>

#include "vectors.h"

extern "C" {

// Also in roi_align.py, field by field.
struct RoIAlign {
    int64_t images, height, width, channels, rois, rows, columns, samples, aligned, threads;
    double scale;
    const float* boxes;  // rois x 5: image, x1, y1, x2, y2
    float* maps;         // images x height x width x channels; their gradient in the backward pass
    float* pooled;       // rois x channels x rows x columns; its gradient in the backward pass
};

}  // extern "C"

namespace {

using V = Vec<float>;
constexpr long LANE = LANES<float>;

// Of each of a RoI's bins along one axis: the first pixel, and the weights of it and of those that follow.
class Axis {
  public:
    std::vector<long> first, count;
    std::vector<float> weights;
    long stride = 0;

    // Every bin is the mean of `samples` values (0: as many as it has pixels, rounded up), interpolated between pixels.
    // One that lies more than a pixel outside counts as 0, one nearer as the outermost pixel.
    void set(float start, float extent, long bins, long samples, long pixels) {
        const float size = extent / bins;
        const long n = samples > 0 ? samples : size > 0 ? long(std::min(std::ceil(size), 1e9f)) : 0;
        stride = std::min(pixels, 2 + (std::abs(size) < pixels ? long(std::ceil(std::abs(size))) : pixels));
        first.assign(bins, 0), count.assign(bins, 0), weights.assign(bins * stride, 0.0f);
        for (long bin = 0; bin < bins; ++bin) {
            float* w = &weights[bin * stride];
            for (long k = 0; k < n; ++k) {
                const long i = size < 0 ? n - 1 - k : k;  // from the first pixel on
                float at = start + bin * size + (i + 0.5f) * size / n;
                if (!(at >= -1.0f && at <= float(pixels))) continue;  // a number that is none is outside, too
                at = std::max(at, 0.0f);
                const long low = std::min(long(at), pixels - 1), high = std::min(low + 1, pixels - 1);
                const float share = low == high ? 0.0f : at - low;
                if (!count[bin]) first[bin] = low;
                w[low - first[bin]] += (1 - share) / n;
                w[high - first[bin]] += share / n;
                count[bin] = high - first[bin] + 1;
            }
        }
    }
    const float* of(long bin) const { return &weights[bin * stride]; }
};

struct Grid {
    long image;
    Axis y, x;

    void set(const RoIAlign& call, long roi) {
        const float* box = call.boxes + roi * 5;
        const float scale = call.scale, offset = call.aligned ? 0.5f : 0.0f;
        float start[2], extent[2];
        for (long i = 0; i < 2; ++i) {  // x, y
            start[i] = box[1 + i] * scale - offset;
            extent[i] = box[3 + i] * scale - offset - start[i];
            if (!call.aligned) extent[i] = std::max(extent[i], 1.0f);
        }
        image = long(box[0]);
        x.set(start[0], extent[0], call.columns, call.samples, call.width);
        y.set(start[1], extent[1], call.rows, call.samples, call.height);
    }
};

// f(bin, where a pixel's channels begin, the pixel's weight in the bin), for every pixel of every bin.
template <typename F> inline void each(const RoIAlign& call, const Grid& grid, F f) {
    for (long i = 0, bin = 0; i < call.rows; ++i)
        for (long j = 0; j < call.columns; ++j, ++bin)
            for (long r = 0; r < grid.y.count[i]; ++r) {
                const long row = (grid.image * call.height + grid.y.first[i] + r) * call.width + grid.x.first[j];
                for (long c = 0; c < grid.x.count[j]; ++c)
                    f(bin, call.maps + (row + c) * call.channels, grid.y.of(i)[r] * grid.x.of(j)[c]);
            }
}

// n rows of `from`, m numbers each -> the m columns as rows of `to`.
void transpose(const float* from, long from_stride, long n, long m, float* to, long to_stride) {
    if (n < LANE || m < LANE) {
        for (long i = 0; i < n; ++i)
            for (long j = 0; j < m; ++j) to[j * to_stride + i] = from[i * from_stride + j];
        return;
    }
    for (long k = 0; k < n; k += LANE)
        for (long l = 0; l < m; l += LANE) {
            const long i = std::min(k, n - LANE), j = std::min(l, m - LANE);  // the last square meets the one before
            V square[LANE];
            for (long r = 0; r < LANE; ++r) square[r] = load(from + (i + r) * from_stride + j);
            transpose(square);
            for (long r = 0; r < LANE; ++r) store(to + (j + r) * to_stride + i, square[r]);
        }
}

}  // namespace

extern "C" void roi_align_float32(const RoIAlign* arguments) {
    const RoIAlign& call = *arguments;
    const long bins = call.rows * call.columns, padded = round_up(call.channels, LANE);
#pragma omp parallel num_threads(call.threads)
    {
        Buffer<float> sums(bins * padded);  // bins x channels
        Grid grid;
#pragma omp for schedule(dynamic, 8)
        for (long roi = 0; roi < call.rois; ++roi) {
            grid.set(call, roi);
            std::fill_n(&sums[0], bins * padded, 0.0f);
            each(call, grid, [&](long bin, const float* pixel, float weight) {
                float* sum = sums + bin * padded;
                long c = 0;
                for (; c + LANE <= call.channels; c += LANE) store(sum + c, load(sum + c) + weight * load(pixel + c));
                for (; c < call.channels; ++c) sum[c] += weight * pixel[c];
            });
            transpose(sums, padded, bins, call.channels, call.pooled + roi * call.channels * bins, bins);
        }
    }
}

// Adds to the maps' gradient. Threads share the channels, so that no two add to the same number and the order is fixed.
extern "C" void roi_align_backward_float32(const RoIAlign* arguments) {
    const RoIAlign& call = *arguments;
    const long bins = call.rows * call.columns;
    const long share = round_up((call.channels + call.threads - 1) / call.threads, LANE);
#pragma omp parallel for schedule(static, 1) num_threads(call.threads)
    for (long from = 0; from < call.channels; from += share) {
        const long n = std::min(share, call.channels - from);
        Buffer<float> gradient(bins * share);  // bins x channels
        Grid grid;
        for (long roi = 0; roi < call.rois; ++roi) {
            grid.set(call, roi);
            transpose(call.pooled + (roi * call.channels + from) * bins, bins, n, bins, gradient, share);
            each(call, grid, [&](long bin, float* pixel, float weight) {
                const float* g = gradient + bin * share;
                pixel += from;
                long c = 0;
                for (; c + LANE <= n; c += LANE) store(pixel + c, load(pixel + c) + weight * load(g + c));
                for (; c < n; ++c) pixel[c] += weight * g[c];
            });
        }
    }
}
