/* States times packed weights, with the one thread that calls.
 *
 * Weights [outer, inner] lie as panels of VECTOR columns: [outer / VECTOR, inner, VECTOR] in float32, and in bfloat16
 * [outer / VECTOR, inner / 2, VECTOR, 2], the last panel filled up with zeros. Every sum runs over `inner` in order in one
 * accumulator: a row of the result does not depend on the rows beside it, which a library's product does not promise.
 */
#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
#define BAND 12 /* rows at one time; with PANELS, what the registers hold */
#define PANELS 2
#else
#define BAND 6
#define PANELS 1
#endif

typedef uint32_t Pairs __attribute__((vector_size(VECTOR * sizeof(uint32_t)), aligned(4)));
typedef uint16_t Bfloat16s __attribute__((vector_size(VECTOR * sizeof(uint16_t)), aligned(2)));

/* Where an initialiser would go through memory. */
#define CLEAR(sums, rows, columns) \
    for (int i = 0; i < (rows); i++) \
        for (int p = 0; p < (columns); p++) (sums)[i][p] = (Vector){0};

INLINE float upper(uint32_t pair)
{
    union { uint32_t bits; float value; } all = {pair & 0xFFFF0000u};
    return all.value;
}

/* sum + pair[0] column[.][0] + pair[1] column[.][1], of bfloat16 numbers. */
INLINE Vector plus_pairs(Vector sum, uint32_t pair, Pairs column)
{
#ifdef __AVX512BF16__
    return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)pair), (__m512bh)column);
#else
    sum += upper(pair << 16) * (Vector)(column << 16);
    return sum + upper(pair) * (Vector)(column & 0xFFFF0000u);
#endif
}

INLINE void store_block(Vector sums[BAND][PANELS], float *y, int64_t wide, const int rows, const int panels)
{
    for (int i = 0; i < rows; i++)
        for (int p = 0; p < panels; p++) *(Vector *)(y + i * wide + p * VECTOR) = sums[i][p];
}

INLINE void block(const float *x, const Vector *weight, int64_t inner, float *y, int64_t wide, const int rows,
                  const int panels)
{
    Vector sums[BAND][PANELS];
    CLEAR(sums, rows, panels)
    for (int64_t k = 0; k < inner; k++)
        for (int p = 0; p < panels; p++) {
            Vector column = weight[p * inner + k];
            for (int i = 0; i < rows; i++) sums[i][p] += x[i * inner + k] * column;
        }
    store_block(sums, y, wide, rows, panels);
}

INLINE void block_bfloat16(const uint32_t *x, const Pairs *weight, int64_t inner, float *y, int64_t wide,
                       const int rows, const int panels)
{
    Vector sums[BAND][PANELS];
    CLEAR(sums, rows, panels)
    for (int64_t k = 0; k < inner; k++)
        for (int p = 0; p < panels; p++) {
            Pairs column = weight[p * inner + k];
            for (int i = 0; i < rows; i++) sums[i][p] = plus_pairs(sums[i][p], x[i * inner + k], column);
        }
    store_block(sums, y, wide, rows, panels);
}

#define ROWS_OF(name, n) \
    case n: panels == PANELS ? name(x, weight, inner, y, wide, n, PANELS) : name(x, weight, inner, y, wide, n, 1); break;
#define BANDS_OF(name, X, W) \
    static void name##_band(const X *x, const W *weight, int64_t inner, float *y, int64_t wide, int64_t rows, \
                            int64_t panels) \
    { \
        switch (rows) { \
            ROWS_OF(name, 1) ROWS_OF(name, 2) ROWS_OF(name, 3) ROWS_OF(name, 4) ROWS_OF(name, 5) ROWS_OF(name, 6) \
            MORE_ROWS(name) \
        } \
    } \
    INLINE void name##s(const X *x, const W *weight, int64_t inner, float *y, int64_t wide, int64_t rows) \
    { \
        int64_t bands = (rows + BAND - 1) / BAND, all = wide / VECTOR; \
        for (int64_t p = 0; p < all;) { \
            int64_t panels = p + PANELS <= all ? PANELS : 1; \
            for (int64_t b = 0; b < bands; b++) { \
                int64_t first = b * rows / bands, count = (b + 1) * rows / bands - first; \
                name##_band(x + first * inner, weight + p * inner, inner, y + first * wide + p * VECTOR, wide, count, \
                            panels); \
            } \
            p += panels; \
        } \
    }
#if BAND == 12
#define MORE_ROWS(name) \
    ROWS_OF(name, 7) ROWS_OF(name, 8) ROWS_OF(name, 9) ROWS_OF(name, 10) ROWS_OF(name, 11) ROWS_OF(name, 12)
#else
#define MORE_ROWS(name)
#endif

BANDS_OF(block, float, Vector)
BANDS_OF(block_bfloat16, uint32_t, Pairs)

/* y [rows, round_to_vectors(outer)] = x [rows, inner] times the weight; with `bf16` both are bfloat16 and `inner` is even. */
void product(const void *x, const void *weight, float *y, int64_t bf16, int64_t rows, int64_t inner, int64_t outer)
{
    if (bf16) block_bfloat16s(x, weight, inner / 2, y, round_to_vectors(outer), rows);
    else blocks(x, weight, inner, y, round_to_vectors(outer), rows);
}
