// Vectors of the processor at hand, tiles that are read for outer products, and memory. T is float or double.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr long BYTES = 64, ROWS = 8;
#elif defined(__AVX__)
constexpr long BYTES = 32, ROWS = 4;
#elif defined(__ARM_NEON)
constexpr long BYTES = 16, ROWS = 8;
#else
constexpr long BYTES = 16, ROWS = 4;
#endif

// ----------------------------------------------------------------------------------------------------------- vectors

template <typename T> struct Vector;
template <> struct Vector<float> {
    typedef float type __attribute__((vector_size(BYTES)));
    typedef float unaligned __attribute__((vector_size(BYTES), aligned(4)));
    typedef int32_t bits __attribute__((vector_size(BYTES)));
};
template <> struct Vector<double> {
    typedef double type __attribute__((vector_size(BYTES)));
    typedef double unaligned __attribute__((vector_size(BYTES), aligned(8)));
};
template <typename T> using Vec = typename Vector<T>::type;
template <typename T> constexpr long LANES = BYTES / long(sizeof(T));
template <typename T> constexpr long TILE = 2 * LANES<T>;

template <typename T> inline Vec<T> load(const T* p) { return *(const typename Vector<T>::unaligned*)p; }
template <typename T> inline void store(T* p, Vec<T> v) { *(typename Vector<T>::unaligned*)p = v; }
template <typename T> inline Vec<T> all(T x) { return Vec<T>{} + x; }

// All lanes into one, by halves: f(vector, vector).
template <typename T, typename F> inline T fold(Vec<T> v, F f) {
#pragma GCC unroll 4
    for (long half = LANES<T> / 2; half; half /= 2) {
        Vec<T> turned{};
#pragma GCC unroll 16
        for (long i = 0; i < LANES<T>; ++i) turned[i] = v[(i + half) % LANES<T>];
        v = f(v, turned);
    }
    return v[0];
}

template <typename T> inline T sum(Vec<T> v) {
    return fold<T>(v, [](Vec<T> x, Vec<T> y) { return x + y; });
}

// a0 b0 a1 b1 ..., the first half and the second.
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Vector<float>::bits{__VA_ARGS__})
#endif
#if defined(__AVX512F__)
inline Vec<float> zip_low(Vec<float> a, Vec<float> b) { return SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
inline Vec<float> zip_high(Vec<float> a, Vec<float> b) { return SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31); }
#elif defined(__AVX__)
inline Vec<float> zip_low(Vec<float> a, Vec<float> b) { return SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
inline Vec<float> zip_high(Vec<float> a, Vec<float> b) { return SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
#else
inline Vec<float> zip_low(Vec<float> a, Vec<float> b) { return SHUFFLE(a, b, 0, 4, 1, 5); }
inline Vec<float> zip_high(Vec<float> a, Vec<float> b) { return SHUFFLE(a, b, 2, 6, 3, 7); }
#endif

// ---------------------------------------------------------------------------------------------------------- bfloat16

struct __attribute__((may_alias)) BFloat16 { uint16_t bits; };  // whose pairs are read as numbers
inline float wide(float x) { return x; }
inline double wide(double x) { return x; }
inline float wide(BFloat16 x) {
    uint32_t bits = (uint32_t)x.bits << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}
inline void narrow(float x, float& y) { y = x; }
inline void narrow(double x, double& y) { y = x; }
// Rounds to the nearest, ties to even, as torch does: adding half a unit, less one where the last bit kept is even.
inline void narrow(float x, BFloat16& y) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    y.bits = x != x ? 0x7fc0 : (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline Vec<float> load(const BFloat16* p) {
    typedef uint16_t Halves __attribute__((vector_size(BYTES / 2)));
    Halves halves;
    std::memcpy(&halves, p, sizeof halves);
    return (Vec<float>)(__builtin_convertvector(halves, Vector<float>::bits) << 16);
}

inline void store(BFloat16* p, Vec<float> v) {
#if defined(__AVX512BF16__)
    const __m256bh half = _mm512_cvtneps_pbh((__m512)v);
    std::memcpy(p, &half, sizeof half);
#else
    for (long i = 0; i < LANES<float>; ++i) narrow(v[i], p[i]);
#endif
}

inline void narrow(const float* x, long n, BFloat16* y) {
    long i = 0;
    for (; i + LANES<float> <= n; i += LANES<float>) store(y + i, load(x + i));
    for (; i < n; ++i) narrow(x[i], y[i]);
}

// Matrix products of numbers as they are, or of pairs of bfloat16, each pair a float's bits: `add` gives sums + a * b, or
// sums + a0 * b0 + a1 * b1. Processors without an instruction for pairs widen both halves.
struct Numbers {
    static constexpr long EACH = 1;
    template <typename T> static Vec<T> add(Vec<T> sums, T a, Vec<T> b) { return sums + a * b; }
};

struct Pairs {
    static constexpr long EACH = 2;
    static Vec<float> add(Vec<float> sums, float a, Vec<float> b) {
        typedef Vector<float>::bits Bits;
        int32_t pair;
        std::memcpy(&pair, &a, 4);
        const Bits x = Bits{} + pair, y = (Bits)b;
#if defined(__AVX512BF16__)
        return (Vec<float>)_mm512_dpbf16_ps((__m512)sums, (__m512bh)x, (__m512bh)y);
#else
        sums += (Vec<float>)(x << 16) * (Vec<float>)(y << 16);
        return sums + (Vec<float>)(x & -65536) * (Vec<float>)(y & -65536);
#endif
    }
};

inline long round_up(long x, long to) { return (x + to - 1) / to * to; }

// ----------------------------------------------------------------------------------------------------------- packing

// A square of numbers, transposed by log2 LANES perfect shuffles of its rows.
inline void transpose(Vec<float> (&rows)[LANES<float>]) {
    constexpr long n = LANES<float>;
    for (long step = 1; step < n; step *= 2) {
        Vec<float> next[n];
#pragma GCC unroll 8
        for (long i = 0; i < n / 2; ++i) {
            next[2 * i] = zip_low(rows[i], rows[i + n / 2]);
            next[2 * i + 1] = zip_high(rows[i], rows[i + n / 2]);
        }
        for (long i = 0; i < n; ++i) rows[i] = next[i];
    }
}

inline void transpose(const float* from, long stride, float* to) {
    Vec<float> square[LANES<float>];
    for (long i = 0; i < LANES<float>; ++i) square[i] = load(from + i * stride);
    transpose(square);
    for (long i = 0; i < LANES<float>; ++i) store(to + i * TILE<float>, square[i]);
}

inline void transpose(const double* from, long stride, double* to) {
    for (long i = 0; i < LANES<double>; ++i)
        for (long j = 0; j < LANES<double>; ++j) to[j * TILE<double> + i] = from[i * stride + j];
}

// A TILE of rows, n of which exist, `stride` apart and D long -> D x TILE, zeros for those that do not.
template <typename T> void pack(const T* rows, long stride, long D, long n, T* to) {
    for (long i = 0; i < TILE<T>; i += LANES<T>) {
        long d = 0;
        for (; i + LANES<T> <= n && d + LANES<T> <= D; d += LANES<T>) transpose(rows + i * stride + d, stride, to + d * TILE<T> + i);
        for (; d < D; ++d)
            for (long j = i; j < i + LANES<T>; ++j) to[d * TILE<T> + j] = j < n ? rows[j * stride + d] : 0;
    }
}

// ------------------------------------------------------------------------------------------------------------ memory

}  // namespace

namespace swinv2_dense {

// Memory of a thread, for what lives within a call: taken and given back last first, and kept for the next call. What goes
// back to the system comes again page by page, each cleared, which took a third of the time on small images.
class Scratch {
    struct Chunk {
        char* memory;
        long bytes, used;
    };
    static constexpr long KEPT = 64 << 20;
    std::vector<Chunk> chunks;
    long taken = 0, most = 1 << 16;

    void drop() {
        std::free(chunks.back().memory);
        chunks.pop_back();
    }

  public:
    ~Scratch() {
        while (!chunks.empty()) drop();
    }

    void* take(long bytes) {
        most = std::max(most, taken += bytes);
        if (chunks.empty() || chunks.back().used + bytes > chunks.back().bytes) {
            if (!chunks.empty() && !chunks.back().used) drop();
            const long room = chunks.empty() ? most : bytes;
            char* memory = (char*)std::aligned_alloc(64, room);
            if (!memory) {
                std::fprintf(stderr, "swinv2_dense: out of memory, needs %ld more bytes\n", room);
                std::abort();
            }
            chunks.push_back({memory, room, 0});
        }
        Chunk& last = chunks.back();
        return last.memory + (last.used += bytes) - bytes;
    }

    void give_back(long bytes) {
        taken -= bytes;
        // one chunk with room for all is what remains
        if (!(chunks.back().used -= bytes) && (chunks.size() > 1 || chunks.back().bytes < most || most > KEPT)) drop();
        if (chunks.empty() && most > KEPT) most = KEPT;
    }
};

inline thread_local Scratch scratch;

}  // namespace swinv2_dense

namespace {

// n numbers, aligned to vectors and not initialised, until the end of their scope.
template <typename T> class Buffer {
    const long bytes;
    T* const memory;

  public:
    explicit Buffer(long n) : bytes(round_up(std::max(n, 1L) * long(sizeof(T)), 64)), memory((T*)swinv2_dense::scratch.take(bytes)) {}
    Buffer(const Buffer&) = delete;
    ~Buffer() { swinv2_dense::scratch.give_back(bytes); }
    operator T*() const { return memory; }
};

}  // namespace
