// Vectors of the processor at hand, tiles that are read for outer products, and memory. T is float or double.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

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

// Memory that is aligned to vectors, and not initialised.
template <typename T> class Buffer {
    T* memory;

  public:
    explicit Buffer(long n) : memory((T*)std::aligned_alloc(64, round_up(n * long(sizeof(T)), 64))) {
        if (!memory) {
            std::fprintf(stderr, "swinv2_dense: out of memory, needs %ld more bytes\n", n * long(sizeof(T)));
            std::abort();
        }
    }
    Buffer(const Buffer&) = delete;
    ~Buffer() { std::free(memory); }
    operator T*() { return memory; }
};

}  // namespace
