// Cosine attention inside windows, forward and backward, on CPUs: the compiled half of attention.py, which says what
// is computed. native.py compiles it where it runs, for the machine it runs on.
//
// A thread takes one window and head after another. Of its N x N logits it holds ROWS x N (forward) or QUERIES x KEYS
// (backward), in its caches. Matrix products are outer products of ROWS numbers and two vectors, whose sums stay in
// registers. The bias is read from, and its gradient added to, "strips": the table of offsets, laid out so that the bias
// of a query and all its keys is a row of adjacent numbers.
//
// T is the type of all arithmetic, In that of the tensors in memory. Names: q, k, v, o, dq, dk, dv, d_o are rows of a
// window and head; D channels a row, DP in memory; N tokens, NP or QP in memory, the rest zeros. Queries are scaled by
// 1 / tau / ln 2, so that probabilities are powers of two, which cost a third of exponentials.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "calls.h"
#include "vectors.h"

namespace {

constexpr long QUERIES = 32, KEYS = 512;
template <typename T> constexpr long PAD = TILE<T> > ROWS ? TILE<T> : ROWS;  // keys in memory: a multiple of both
// Widest range of a head's logits, in units of ln 2, of which the powers of two need no largest to be taken off first.
constexpr double SPREAD = 80;
constexpr double LOG2E = 1.4426950408889634, LN2 = 0.6931471805599453, EPS = 1e-6;

// ----------------------------------------------------------------------------------------------------------- numbers

// 2^x as 2^n * 2^f, n the nearest integer, |f| <= 1/2: a polynomial of degree 5, as exact as a float, times a power of
// two. The system's own exp2 has no vectors on many systems. A NaN stays one, so that whoever looks for them finds it.
inline Vec<float> power_of_fraction(Vec<float> f) {
    Vec<float> p = all(1.33908674e-3f);
    p = p * f + 9.66637369e-3f;
    p = p * f + 5.5503571e-2f;
    p = p * f + 2.40223489e-1f;
    p = p * f + 6.93147188e-1f;
    return p * f + 1.0f;
}

inline Vec<float> exp2(Vec<float> x) {
#if defined(__AVX512DQ__)
    const Vec<float> f = (Vec<float>)_mm512_reduce_ps((__m512)x, 0);  // 0 of infinity
    return (Vec<float>)_mm512_scalef_ps((__m512)power_of_fraction(f), (__m512)(x - f));
#else
    // Softmax's arguments are at most 0. Below -126 the exponent's field would underflow into the sign; 2^-126 is as good
    // as 0 beside the largest, which is no less than 2^-SPREAD.
    const Vec<float> y = x < -126.0f ? all(-126.0f) : x;
    const Vec<float> shifted = y + 12582912.0f;  // 1.5 * 2^23: no bits are left for a fraction, the low ones are n
    typedef Vector<float>::bits Bits;
    const Vec<float> power = (Vec<float>)((Bits)power_of_fraction(y - (shifted - 12582912.0f)) + ((Bits)shifted << 23));
    return x == x ? power : x;
#endif
}

inline Vec<double> exp2(Vec<double> x) {
    for (int i = 0; i < LANES<double>; ++i) x[i] = std::exp2(x[i]);
    return x;
}

inline long offsets(const Call& call) {
    long n = 1;
    for (long axis = 0; axis < call.axes; ++axis) n *= 2 * call.window[axis] - 1;
    return n;
}

// -------------------------------------------------------------------------------------------------- matrix products

// tile[r] = sum over d < D of a[r][d] * b[d]: ROWS rows of TILE columns. a is ROWS x DP, b D x TILE.
template <typename Product, typename T> inline void product(const T* a, long DP, const T* b, long D, Vec<T> (&tile)[ROWS][2]) {
    for (auto& row : tile) row[0] = row[1] = Vec<T>{};
    for (long d = 0; d < D; ++d, ++a, b += TILE<T>) {
        const Vec<T> b0 = load(b), b1 = load(b + LANES<T>);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) {
            tile[r][0] = Product::add(tile[r][0], a[r * DP], b0);
            tile[r][1] = Product::add(tile[r][1], a[r * DP], b1);
        }
    }
}

template <typename Product, typename T, int VECTORS>
inline void add_product(const T* a, long across, long along, const T* b, long n, T* out, long DP) {
    Vec<T> sums[ROWS][VECTORS];
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < VECTORS; ++c) sums[r][c] = load(out + r * DP + c * LANES<T>);
    for (long i = 0; i < n; ++i, a += along, b += DP) {
        Vec<T> row[VECTORS];
        for (int c = 0; c < VECTORS; ++c) row[c] = load(b + c * LANES<T>);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r)
            for (int c = 0; c < VECTORS; ++c) sums[r][c] = Product::add(sums[r][c], a[r * across], row[c]);
    }
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < VECTORS; ++c) store(out + r * DP + c * LANES<T>, sums[r][c]);
}

// out[r] += sum over i < n of a[r * across + i * along] * b[i], for ROWS rows; those of b and out are DP long.
template <typename Product, typename T>
void add_product(const T* a, long across, long along, const T* b, long n, T* out, long DP) {
    long d = 0;
    for (; d + TILE<T> <= DP; d += TILE<T>) add_product<Product, T, 2>(a, across, along, b + d, n, out + d, DP);
    if (d < DP) add_product<Product, T, 1>(a, across, along, b + d, n, out + d, DP);
}

template <typename T> inline T dot(const T* x, const T* y, long DP) {
    Vec<T> products{};
    for (long d = 0; d < DP; d += LANES<T>) products += load(x + d) * load(y + d);
    return sum<T>(products);
}

// ---------------------------------------------------------------------------------------------------------- the bias

// Gathered by pairs, the bias of a window would be N x N numbers a head, as many as the logits, and would have to be
// fetched from memory where those stay in caches. A strip is read as it lies instead: along the first axis the bias
// depends on the difference of two places alone, so moving a query by one row of the window moves its keys by one row of
// the strip, and w strips' worth of rows serve all of its queries.
//
// The bias of one head in windows of one group, or its gradient. M is the number of places along all axes but the first;
// query (r, m) sees its keys in the strip of m, from (w - 1 - r) * M on.
template <typename T> class Strips {
    const Call& call;
    const Group& group;
    const long M, length, size;
    Buffer<T> numbers{size};

    // Along the last axis the places in the table of adjacent keys count down by one, so strips are copied by runs.
    // Calls f(numbers of a strip, place in the table of the first, how many) for all runs whose places count down by one.
    template <typename F> void runs(F f) {
        const long last = call.axes - 1, run = last ? group.shape[last] : 1;
        long stride[MAX_AXES];  // of the table
        for (long axis = last, n = 1; axis >= 0; n *= 2 * call.window[axis--] - 1) stride[axis] = n;
        for (long m = 0; m < M; ++m)
            for (long n = 0; n < length; n += run) {
                long place = 0, query = m, key = n;
                for (long axis = last; axis > 0; --axis) {
                    const long w = group.shape[axis];
                    place += (call.window[axis] - 1 + query % w - key % w) * stride[axis];
                    query /= w, key /= w;
                }
                place += (call.window[0] - 1 + group.shape[0] - 1 - key) * stride[0];
                f(&numbers[m * length + n], place, run);
            }
    }

  public:
    Strips(const Call& call, const Group& group)
        : call(call), group(group), M(group.tokens / group.shape[0]), length((2 * group.shape[0] - 1) * M),
          size(M * length + PAD<T>) {  // rows are read and written beyond their end, up to whole tiles
        std::fill(numbers + 0, numbers + size, T(0));
    }

    T* row(long query) { return &numbers[query % M * length + (group.shape[0] - 1 - query / M) * M]; }

    // Logits are in units of ln 2 everywhere here, see the top.
    void read(const T* table) {
        runs([&](T* strip, long place, long n) {
            for (long i = 0; i < n; ++i) strip[i] = table[place - i] * T(LOG2E);
        });
    }

    // Not scaled: backward's ds is the gradient of the logits in units of 1, for its probabilities are the same.
    void add_to(T* table) {
        runs([&](T* strip, long place, long n) {
            for (long i = 0; i < n; ++i) table[place - i] += strip[i];
        });
    }
};

// ----------------------------------------------------------------------------------------------- one window and head

// Attention of one head in windows of one group, one after the other. Rows that a Product of pairs takes are halved first,
// into as many units as they have pairs: DU in memory, and D / 2, rounded up, of them are channels.
template <typename T, typename In, typename Product> class Windows {
    static constexpr long EACH = Product::EACH;
    using Factor = std::conditional_t<EACH == 1, T, BFloat16>;
    const Call& call;
    const Group& group;
    const long head, D, DP, H, N, NP, QP, DU = DP / EACH, units = (D + EACH - 1) / EACH;
    const T scale;
    Buffer<T> q{QP * DP}, k{NP * DP}, v{NP * DP}, k_tiles{NP * units};
    Buffer<BFloat16> halves{EACH == 1 ? 1 : std::max(QP, NP) * DP};
    Strips<T> bias{call, group};
    T bound;
    bool bounded;

    const int32_t* rows_of(long window) const { return call.rows + group.first + window * N; }

    // Rows of a tensor (tokens x parts x H x D) -> padded x DP.
    void gather(const void* from, const int32_t* rows, long parts, long part, long padded, T* to) {
        for (long i = 0; i < N; ++i) {
            const In* row = (const In*)from + ((parts * rows[i] + part) * H + head) * D;
            long d = 0;
            for (; d + LANES<T> <= D; d += LANES<T>) store(to + i * DP + d, load(row + d));
            for (; d < D; ++d) to[i * DP + d] = wide(row[d]);
            for (; d < DP; ++d) to[i * DP + d] = 0;
        }
        std::fill(to + N * DP, to + padded * DP, T(0));
    }

    // The zero row is a padding token's key: EPS alone would give it a gradient of 1 / EPS, which half precision makes
    // infinite.
    // Rows of length factor, and what a row was multiplied with for length 1. A row of zeros stays.
    void normalize(T* x, long n, T factor, T* inverse = nullptr) {
        for (long i = 0; i < n; ++i, x += DP) {
            const T norm = std::sqrt(dot(x, x, DP)), inv = norm == 0 ? T(0) : 1 / std::max(norm, T(EPS));
            if (inverse) inverse[i] = inv;
            for (long d = 0; d < DP; d += LANES<T>) store(x + d, load(x + d) * (inv * factor));
        }
    }

    // n rows as the first factor of a Product: themselves, or halved.
    const T* factors(const T* rows, long n, BFloat16* halves) {
        if constexpr (EACH == 1)
            return rows;
        else
            return narrow(rows, n * DP, halves), (const T*)halves;
    }

    // Rows -> tiles of units x TILE.
    void pack_tiles(const T* rows, T* tiles) {
        const T* from = factors(rows, NP, halves);
        for (long i = 0; i < NP; i += TILE<T>) pack<T>(from + i * DU, DU, units, TILE<T>, tiles + i * units);
    }

    // Rows of adjacent tokens as pairs, in the place of the rows: pair i is row i.
    void pair_rows(T* rows, long n) {
        if constexpr (EACH == 2)
            for (long i = 0; i < n; i += 2)
                for (long d = 0; d < DP; ++d) {
                    BFloat16 pair[2];
                    narrow(rows[i * DP + d], pair[0]), narrow(rows[(i + 1) * DP + d], pair[1]);
                    std::memcpy(rows + i / 2 * DP + d, pair, sizeof pair);
                }
    }

    // Keys are computed by whole tiles. Those beyond the window's last are zeros whose logits would be 0, not nothing.
    // Logits of keys that are none, from the n-th on.
    static void hide(Vec<T>& logits, long n) {
        for (long i = 0; i < LANES<T>; ++i)
            if (i >= n) logits[i] = -std::numeric_limits<T>::infinity();
    }

    // Logits of ROWS queries and a TILE of keys, f(row, vector of the tile, logits) for each.
    template <typename F> inline void logits(const T* queries, const T* const (&b)[ROWS], long key, F f) {
        Vec<T> tile[ROWS][2];
        product<Product>(queries, DU, k_tiles + key * units, units, tile);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
            for (int c = 0; c < 2; ++c) {
                Vec<T> s = tile[r][c] + load(b[r] + key + c * LANES<T>);
                if (key + TILE<T> > N) hide(s, N - key - c * LANES<T>);
                f(r, c, s);
            }
    }

    // The highest is taken off first: e^116, whose logit tau >= 0.01 and a bias below 16 allow, is beyond a float.
    // Logits of a query -> powers of two, relative to the highest, and their sum.
    void softmax(const T* row, Factor* powers, T& highest, T& total) {
        Vec<T> high[2] = {load(row), load(row + LANES<T>)}, sums[2] = {};
        for (long j = TILE<T>; j < NP; j += TILE<T>)
            for (int c = 0; c < 2; ++c) {
                const Vec<T> s = load(row + j + c * LANES<T>);
                high[c] = high[c] > s ? high[c] : s;
            }
        high[0] = high[0] > high[1] ? high[0] : high[1];
        highest = fold<T>(high[0], [](Vec<T> x, Vec<T> y) { return x > y ? x : y; });
        for (long j = 0; j < NP; j += TILE<T>)
            for (int c = 0; c < 2; ++c) {
                const Vec<T> e = exp2(load(row + j + c * LANES<T>) - highest);
                store(powers + j + c * LANES<T>, e);
                sums[c] += e;
            }
        total = sum<T>(sums[0] + sums[1]);
    }

    // The same of ROWS queries at once where none of their logits is above `bound`, nor far below it.
    void powers(const T* queries, const T* const (&b)[ROWS], Factor* to, long L, T (&total)[ROWS]) {
        Vec<T> sums[ROWS] = {};
        for (long j = 0; j < NP; j += TILE<T>)
            logits(queries, b, j, [&](int r, int c, Vec<T> s) {
                const Vec<T> e = exp2(s - bound);
                store(to + r * L + j + c * LANES<T>, e);
                sums[r] += e;
            });
        for (long r = 0; r < ROWS; ++r) total[r] = sum<T>(sums[r]);
    }

  public:
    Windows(const Call& call, const Group& group, long head)
        : call(call), group(group), head(head), D(call.channels), DP(round_up(D, LANES<T>)), H(call.heads), N(group.tokens),
          NP(round_up(N, PAD<T>)), QP(round_up(N, QUERIES)), scale(((const T*)call.scale)[head]) {
        const T* table = (const T*)call.table + head * offsets(call);
        bias.read(table);
        const auto [low, high] = std::minmax_element(table, table + offsets(call));
        const T most = std::abs(scale);  // as cosines are at most 1
        bound = (most + *high) * T(LOG2E);
        bounded = (2 * most + *high - *low) * T(LOG2E) < T(SPREAD);
    }

    void forward(long window) {
        const long L = NP + LANES<T>;  // rows a power of two apart would share their places in the cache
        const int32_t* rows = rows_of(window);
        Buffer<T> logit(ROWS * L), o(ROWS * DP);
        Buffer<Factor> p(ROWS * L);
        gather(call.qkv, rows, 3, 0, QP, q);
        gather(call.qkv, rows, 3, 1, NP, k);
        gather(call.qkv, rows, 3, 2, NP, v);
        normalize(q, N, scale * T(LOG2E));
        normalize(k, N, 1);
        pack_tiles(k, k_tiles);
        pair_rows(v, NP);
        const T* queries = factors(q, QP, halves);
        for (long i = 0; i < N; i += ROWS) {
            const T* b[ROWS];
            for (long r = 0; r < ROWS; ++r) b[r] = bias.row(std::min(i + r, N - 1));
            T highest[ROWS], total[ROWS];
            if (bounded)
                powers(queries + i * DU, b, p, L, total);
            else {
                for (long j = 0; j < NP; j += TILE<T>)
                    logits(queries + i * DU, b, j, [&](int r, int c, Vec<T> s) { store(logit + r * L + j + c * LANES<T>, s); });
                for (long r = 0; r < ROWS; ++r) softmax(logit + r * L, p + r * L, highest[r], total[r]);
            }
            std::fill(o + 0, o + ROWS * DP, T(0));
            add_product<Product, T>((const T*)(Factor*)p, L / EACH, 1, v, NP / EACH, o, DP);
            for (long r = 0; r < std::min(ROWS, N - i); ++r) {
                const long row = rows[i + r] * H + head;
                const T inverse = 1 / total[r];
                for (long d = 0; d < D; ++d) narrow(o[r * DP + d] * inverse, ((In*)call.out)[row * D + d]);
                if (call.lse) ((T*)call.lse)[row] = (bounded ? bound : highest[r]) + std::log2(total[r]);
            }
        }
    }

    // With P the probabilities: dV = P' dO, dS = P * (dO V' - rowsum(dO * O)), dQ = dS K, dK = dS' Q, dB = sum of dS.
    void backward(long window, Strips<T>& grad_bias, T& grad_scale) {
        const long L = KEYS + LANES<T>;
        const int32_t* rows = rows_of(window);
        Buffer<T> o(QP * DP), d_o(QP * DP), dk(NP * DP), dv(NP * DP), v_tiles(NP * units);
        Buffer<T> p(QUERIES * L), ds(QUERIES * L), q_inverse(N), k_inverse(N), delta(QP), lse(QP);
        gather(call.qkv, rows, 3, 0, QP, q);
        gather(call.qkv, rows, 3, 1, NP, k);
        gather(call.qkv, rows, 3, 2, NP, v);
        gather(call.out, rows, 1, 0, QP, o);
        gather(call.grad_out, rows, 1, 0, QP, d_o);
        normalize(q, N, scale * T(LOG2E), q_inverse);
        normalize(k, N, 1, k_inverse);
        pack_tiles(k, k_tiles);
        pack_tiles(v, v_tiles);
        Buffer<BFloat16> d_o_halves(EACH == 1 ? 1 : QP * DP);
        const T *q_factors = factors(q, QP, halves), *d_o_factors = factors(d_o, QP, d_o_halves);
        for (long i = 0; i < QP; ++i) {
            // rowsum(dO * O) = rowsum(dP * P), which softmax's gradient takes off: known before any P is
            delta[i] = dot(o + i * DP, d_o + i * DP, DP);
            // queries that are none have no probabilities, whatever their bias
            lse[i] = i < N ? ((const T*)call.lse)[rows[i] * H + head] : std::numeric_limits<T>::max() / 2;
        }
        T* dq = o;  // o is needed no more
        std::fill(dq, dq + QP * DP, T(0));
        std::fill(dk + 0, dk + NP * DP, T(0));
        std::fill(dv + 0, dv + NP * DP, T(0));
        // Probabilities are computed again from the log-sum-exp, a block of QUERIES x KEYS that stays in the caches.
        // Keeping them from forward would take N x N numbers a window and head.
        for (long i = 0; i < N; i += QUERIES) {
            const long queries = std::min(QUERIES, round_up(N - i, ROWS));
            for (long first = 0; first < NP; first += KEYS) {
                const long keys = std::min(KEYS, NP - first);
                for (long r0 = 0; r0 < queries; r0 += ROWS) {
                    const T* b[ROWS];
                    T* db[ROWS];
                    for (long r = 0; r < ROWS; ++r) {
                        b[r] = bias.row(std::min(i + r0 + r, N - 1));
                        db[r] = grad_bias.row(std::min(i + r0 + r, N - 1));
                    }
                    for (long j = 0; j < keys; j += TILE<T>) {
                        logits(q_factors + (i + r0) * DU, b, first + j, [&](int r, int c, Vec<T> s) {
                            store(p + (r0 + r) * L + j + c * LANES<T>, exp2(s - lse[i + r0 + r]));
                        });
                        Vec<T> dp[ROWS][2];
                        product<Product>(d_o_factors + (i + r0) * DU, DU, v_tiles + (first + j) * units, units, dp);
#pragma GCC unroll 8
                        for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 2
                            for (int c = 0; c < 2; ++c) {
                                const long place = (r0 + r) * L + j + c * LANES<T>;
                                const Vec<T> g = load(p + place) * (dp[r][c] - delta[i + r0 + r]);
                                store(ds + place, g);
                                T* sum = db[r] + first + j + c * LANES<T>;
                                store(sum, load(sum) + g);
                            }
                    }
                }
                for (long r = 0; r < queries; r += ROWS)
                    add_product<Numbers, T>(ds + r * L, L, 1, k + first * DP, keys, dq + (i + r) * DP, DP);
                for (long j = 0; j < keys; j += ROWS) {
                    add_product<Numbers, T>(ds + j, 1, L, q + i * DP, queries, dk + (first + j) * DP, DP);
                    add_product<Numbers, T>(p + j, 1, L, d_o + i * DP, queries, dv + (first + j) * DP, DP);
                }
            }
        }
        // Through q / |q| / tau / ln 2 and k / |k|: only what is orthogonal to a row turns it.
        const T unit = scale == 0 ? T(0) : T(LN2) / scale;
        for (long i = 0; i < N; ++i) {
            const T along_q = dot(q + i * DP, dq + i * DP, DP) * unit, along_k = dot(k + i * DP, dk + i * DP, DP);
            grad_scale += along_q;
            In* to = (In*)call.grad_qkv + (3 * H * rows[i] + head) * D;
            for (long d = 0; d < D; ++d) {
                const long x = i * DP + d;
                narrow((dq[x] - q[x] * unit * along_q) * q_inverse[i] * scale, to[d]);
                narrow((dk[x] - k[x] * along_k) * k_inverse[i] * T(LN2), to[H * D + d]);
                narrow(dv[x], to[2 * H * D + d]);
            }
        }
    }
};

// -------------------------------------------------------------------------------------------------------- all windows

// Every thread calls f(thread, group, head, first, last) for its windows of every group and head, in that order. The parts
// cost about the same, and are the same in every run.
template <typename F> void divide(const Call& call, F f) {
    // By cost, not by number of windows: those at the border may be a quarter as large, and cost a sixteenth.
    double whole = 0;
    for (long i = 0; i < call.groups; ++i)
        whole += double(call.group[i].windows) * call.group[i].tokens * call.group[i].tokens * call.heads;
#pragma omp parallel for schedule(static, 1) num_threads(call.threads)
    for (long thread = 0; thread < call.threads; ++thread) {
        double before = 0;
        for (long i = 0; i < call.groups; ++i)
            for (long head = 0; head < call.heads; ++head) {
                const Group& group = call.group[i];
                const double one = double(group.tokens) * group.tokens;
                const auto windows_until = [&](long part) {  // whose middle lies in the first parts
                    const double cost = whole * part / call.threads - before;
                    return std::clamp(long(std::ceil(cost / one - 0.5)), 0L, long(group.windows));
                };
                const long first = windows_until(thread), last = windows_until(thread + 1);
                if (first < last) f(thread, group, head, first, last);
                before += one * group.windows;
            }
    }
}

template <typename T, typename In, typename Product> void forward(const Call& call) {
    divide(call, [&](long, const Group& group, long head, long first, long last) {
        Windows<T, In, Product> windows(call, group, head);
        for (long window = first; window < last; ++window) windows.forward(window);
    });
}

template <typename T, typename In, typename Product> void backward(const Call& call) {
    divide(call, [&](long thread, const Group& group, long head, long first, long last) {
        Windows<T, In, Product> windows(call, group, head);
        Strips<T> grad_bias(call, group);
        T& grad_scale = ((T*)call.grad_scale)[thread * call.heads + head];
        for (long window = first; window < last; ++window) windows.backward(window, grad_bias, grad_scale);
        grad_bias.add_to((T*)call.grad_table + (thread * call.heads + head) * offsets(call));
    });
}

}  // namespace

extern "C" {
void forward_float32(const Call* call) { forward<float, float, Numbers>(*call); }
void forward_bfloat16(const Call* call) { forward<float, BFloat16, Numbers>(*call); }
void forward_bfloat16_pairs(const Call* call) { forward<float, BFloat16, Pairs>(*call); }
void forward_float64(const Call* call) { forward<double, double, Numbers>(*call); }
void backward_float32(const Call* call) { backward<float, float, Numbers>(*call); }
void backward_bfloat16(const Call* call) { backward<float, BFloat16, Numbers>(*call); }
void backward_bfloat16_pairs(const Call* call) { backward<float, BFloat16, Pairs>(*call); }
void backward_float64(const Call* call) { backward<double, double, Numbers>(*call); }
}
