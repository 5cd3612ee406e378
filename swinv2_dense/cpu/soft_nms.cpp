// Soft-NMS on CPUs in float32; the compiled half of soft_nms.py, which says what is computed.
//
// Boxes lie coordinate by coordinate, so that one box is compared with a vector of others at a time. The arrangement is
// that of mmcv's operator: the best box is swapped to the front, and a box whose score falls below the minimum is
// replaced by the last one, because the arrangement decides which of two equal scores comes first.

#include <algorithm>
#include <limits>

#include "vectors.h"

namespace {

using V = Vec<float>;
constexpr long LANE = LANES<float>;
enum Method { NAIVE, LINEAR, GAUSSIAN };
enum Row { X1, Y1, X2, Y2, AREA, SCORE, ROWS_OF_A_BOX };

inline V smaller(V a, V b) { return a < b ? a : b; }
inline V larger(V a, V b) { return a > b ? a : b; }

class Boxes {
    const long stride;
    Buffer<float> numbers;
    int64_t* index;

  public:
    Boxes(const float* boxes, const float* scores, int64_t* index, long n, float offset)
        // a vector may begin at any box, and ends beyond the last one
        : stride(round_up(n, LANE) + LANE), numbers(ROWS_OF_A_BOX * stride), index(index) {
        std::fill_n(&numbers[0], ROWS_OF_A_BOX * stride, 0.0f);
        for (long i = 0; i < n; ++i, boxes += 4) {
            for (long c = 0; c < 4; ++c) row(c)[i] = boxes[c];
            row(AREA)[i] = (boxes[2] - boxes[0] + offset) * (boxes[3] - boxes[1] + offset);
            row(SCORE)[i] = scores[i];
            index[i] = i;
        }
    }

    float* row(long which) { return numbers + which * stride; }

    void swap(long i, long j) {
        for (long r = 0; r < ROWS_OF_A_BOX; ++r) std::swap(row(r)[i], row(r)[j]);
        std::swap(index[i], index[j]);
    }

    void move(long from, long to) {
        for (long r = 0; r < ROWS_OF_A_BOX; ++r) row(r)[to] = row(r)[from];
        index[to] = index[from];
    }

    // The first of the best boxes from i on.
    long best(long i, long n) {
        const float* score = row(SCORE);
        V most = all(-std::numeric_limits<float>::infinity());
        long j = i;
        for (; j + LANE <= n; j += LANE) most = larger(load(score + j), most);
        float top = fold<float>(most, [](V a, V b) { return larger(a, b); });
        for (; j < n; ++j) top = std::max(top, score[j]);
        for (j = i; j < n; ++j)
            if (score[j] == top) return j;
        return i;  // not a number among them
    }

    // Lowers the scores of i+1 .. n by their overlap with box i, and returns the lowest.
    float decay(long i, long n, Method method, float threshold, float sigma, float offset) {
        float* score = row(SCORE);
        const V x1 = all(row(X1)[i]), y1 = all(row(Y1)[i]), x2 = all(row(X2)[i]), y2 = all(row(Y2)[i]);
        const V area = all(row(AREA)[i]), zero{}, one = all(1.0f);
        V least = all(std::numeric_limits<float>::infinity());
        for (long j = i + 1; j < n; j += LANE) {
            const V w = larger(smaller(x2, load(row(X2) + j)) - larger(x1, load(row(X1) + j)) + offset, zero);
            const V h = larger(smaller(y2, load(row(Y2) + j)) - larger(y1, load(row(Y1) + j)) + offset, zero);
            const V inter = w * h, together = area + load(row(AREA) + j) - inter;
            const V overlap = inter / (together > 0.0f ? together : one);  // boxes without an area overlap with nothing
            V weight = one;
            if (method == GAUSSIAN) {
                for (long k = 0; k < LANE; ++k)
                    if (overlap[k] != 0.0f) weight[k] = std::exp(-(overlap[k] * overlap[k]) / sigma);
            } else {
                weight = overlap >= threshold ? (method == NAIVE ? zero : one - overlap) : one;
            }
            const V after = load(score + j) * weight;
            store(score + j, after);
            if (j + LANE <= n)
                least = smaller(after, least);
            else
                for (long k = 0; k < n - j; ++k) least[k] = std::min(after[k], least[k]);
        }
        return fold<float>(least, [](V a, V b) { return smaller(a, b); });
    }

    // Drops what is below the minimum among i+1 .. n, and returns how many remain in all.
    long drop(long i, long n, float minimum) {
        const float* score = row(SCORE);
        for (long j = i + 1; j < n; ++j)
            while (j < n && score[j] < minimum) move(--n, j);
        return n;
    }
};

}  // namespace

extern "C" int64_t soft_nms_float32(const float* boxes, const float* scores, float* detections, int64_t* index, int64_t n,
                                    int64_t method, float threshold, float sigma, float minimum, float offset) {
    Boxes b(boxes, scores, index, n, offset);
    for (long i = 0; i < n; ++i, detections += 5) {
        b.swap(i, b.best(i, n));
        for (long c = 0; c < 4; ++c) detections[c] = b.row(c)[i];
        detections[4] = b.row(SCORE)[i];
        if (b.decay(i, n, Method(method), threshold, sigma, offset) < minimum) n = b.drop(i, n, minimum);
    }
    return n;
}
