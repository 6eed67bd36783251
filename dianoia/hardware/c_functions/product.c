/* Product of states and packed weights, on the one thread that calls.
 *
 * Weights [outer, inner] lie in panels of VECTOR outputs: [outer / VECTOR, inner, VECTOR] in float32, and in bfloat16
 * [outer / VECTOR, inner / 2, VECTOR, 2], the last panel filled up with zeros. Every sum runs over `inner` in order in one
 * accumulator, so a row of the result does not depend on the other rows. The product of a library does not promise that.
 *
 * The work is cut into blocks of up to BAND rows by PANELS panels, whose sums stay in registers while the loop runs over
 * `inner`. Sizes of a block are constants for the compiler, hence the macros, which make one function per number of rows.
 */
#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
#define BAND 12 /* rows per block: 12 x 2 sums, 2 weights and a state fit into 32 registers */
#define PANELS 2
#else
#define BAND 6
#define PANELS 1
#endif

typedef uint32_t Pairs __attribute__((vector_size(VECTOR * sizeof(uint32_t)), aligned(4)));
typedef uint16_t Bfloat16s __attribute__((vector_size(VECTOR * sizeof(uint16_t)), aligned(2)));

/* Zero sums one by one: GCC would write an initialiser of the array to memory. */
#define CLEAR(sums, rows, columns) \
    for (int i = 0; i < (rows); i++) \
        for (int p = 0; p < (columns); p++) (sums)[i][p] = (Vector){0};

/* The bfloat16 number in the upper half of a pair, as a float. */
INLINE float upper(uint32_t pair)
{
    union { uint32_t bits; float value; } all = {pair & 0xFFFF0000u};
    return all.value;
}

/* sum + pair[0] column[.][0] + pair[1] column[.][1], of bfloat16 numbers: one instruction where the processor has it. */
INLINE Vector plus_pairs(Vector sum, uint32_t pair, Pairs column)
{
#ifdef __AVX512BF16__
    return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)pair), (__m512bh)column);
#else
    sum += upper(pair << 16) * (Vector)(column << 16);
    return sum + upper(pair) * (Vector)(column & 0xFFFF0000u);
#endif
}

INLINE void store_block(Vector sums[BAND][PANELS], float *y, int64_t stride, const int rows, const int panels)
{
    for (int i = 0; i < rows; i++)
        for (int p = 0; p < panels; p++) *(Vector *)(y + i * stride + p * VECTOR) = sums[i][p];
}

/* A block: x [rows, inner] times `panels` panels. Each weight that is loaded serves all rows. */
INLINE void block(const float *x, const Vector *weight, int64_t inner, float *y, int64_t stride, const int rows,
                  const int panels)
{
    Vector sums[BAND][PANELS];
    CLEAR(sums, rows, panels)
    for (int64_t k = 0; k < inner; k++)
        for (int p = 0; p < panels; p++) {
            Vector column = weight[p * inner + k];
            for (int i = 0; i < rows; i++) sums[i][p] += x[i * inner + k] * column;
        }
    store_block(sums, y, stride, rows, panels);
}

/* The same for bfloat16; `inner` counts pairs. */
INLINE void block_bfloat16(const uint32_t *x, const Pairs *weight, int64_t inner, float *y, int64_t stride,
                       const int rows, const int panels)
{
    Vector sums[BAND][PANELS];
    CLEAR(sums, rows, panels)
    for (int64_t k = 0; k < inner; k++)
        for (int p = 0; p < panels; p++) {
            Pairs column = weight[p * inner + k];
            for (int i = 0; i < rows; i++) sums[i][p] = plus_pairs(sums[i][p], x[i * inner + k], column);
        }
    store_block(sums, y, stride, rows, panels);
}

/* DEFINE_PRODUCT defines name##_band, which calls the block function with constant sizes, and name##s, which runs over all
 * panels and bands. Rows are spread evenly over the bands, so that no band is much smaller than the others. */
#define CASE_ROWS(name, n) \
    case n: panels == PANELS ? name(x, weight, inner, y, stride, n, PANELS) : name(x, weight, inner, y, stride, n, 1); break;
#define DEFINE_PRODUCT(name, X, W) \
    static void name##_band(const X *x, const W *weight, int64_t inner, float *y, int64_t stride, int64_t rows, \
                            int64_t panels) \
    { \
        switch (rows) { \
            CASE_ROWS(name, 1) CASE_ROWS(name, 2) CASE_ROWS(name, 3) CASE_ROWS(name, 4) CASE_ROWS(name, 5) CASE_ROWS(name, 6) \
            MORE_CASES(name) \
        } \
    } \
    INLINE void name##s(const X *x, const W *weight, int64_t inner, float *y, int64_t stride, int64_t rows) \
    { \
        int64_t bands = (rows + BAND - 1) / BAND, all = stride / VECTOR; \
        for (int64_t p = 0; p < all;) { \
            int64_t panels = p + PANELS <= all ? PANELS : 1; \
            for (int64_t b = 0; b < bands; b++) { \
                int64_t first = b * rows / bands, count = (b + 1) * rows / bands - first; \
                name##_band(x + first * inner, weight + p * inner, inner, y + first * stride + p * VECTOR, stride, count, \
                            panels); \
            } \
            p += panels; \
        } \
    }
#if BAND == 12
#define MORE_CASES(name) \
    CASE_ROWS(name, 7) CASE_ROWS(name, 8) CASE_ROWS(name, 9) CASE_ROWS(name, 10) CASE_ROWS(name, 11) CASE_ROWS(name, 12)
#else
#define MORE_CASES(name)
#endif

DEFINE_PRODUCT(block, float, Vector)
DEFINE_PRODUCT(block_bfloat16, uint32_t, Pairs)

/* y [rows, round_to_vectors(outer)] = x [rows, inner] times the weight; with `bf16` both are bfloat16 and `inner` is even. */
void matmul(const void *x, const void *weight, float *y, int64_t bf16, int64_t rows, int64_t inner, int64_t outer)
{
    if (bf16) block_bfloat16s(x, weight, inner / 2, y, round_to_vectors(outer), rows);
    else blocks(x, weight, inner, y, round_to_vectors(outer), rows);
}
