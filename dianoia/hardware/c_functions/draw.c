/* Drawing a token from logits with a number that is a hash of the sample's seed and the token's place. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct { float mass; int32_t id; } Token;

typedef struct { float temperature, top_p; int64_t top_k; } Law;

/* In [0, 1), of 24 bits: splitmix64 of seed and index. */
INLINE float uniform(int64_t seed, int64_t index)
{
    uint64_t z = ((uint64_t)index + 1) * 0x9E3779B97F4A7C15u + (uint64_t)seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (float)((z >> 40) & 0xFFFFFF) * 0x1p-24f;
}

static int likelier(const void *one, const void *other)
{
    const Token *a = one, *b = other;
    if (a->mass != b->mass) return a->mass > b->mass ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

/* A few are sorted by insertion, which keeps equals in order; many by the library. */
static void sort_tokens(Token *tokens, int64_t count)
{
    if (count > 48) { qsort(tokens, (size_t)count, sizeof *tokens, likelier); return; }
    for (int64_t i = 1; i < count; i++) {
        Token one = tokens[i];
        int64_t j = i;
        for (; j > 0 && tokens[j - 1].mass < one.mass; j--) tokens[j] = tokens[j - 1];
        tokens[j] = one;
    }
}

/* The `most` likeliest, in order, lower ids first among equals; how many there are. */
static int64_t likeliest(const float *masses, Token *tokens, int64_t most, int64_t vocabulary)
{
    int64_t count = 0;
    for (int64_t i = 0; i < vocabulary; i++) {
        if (count == most && masses[i] <= tokens[count - 1].mass) continue;
        int64_t j = count < most ? count++ : count - 1;
        for (; j > 0 && tokens[j - 1].mass < masses[i]; j--) tokens[j] = tokens[j - 1];
        tokens[j] = (Token){masses[i], (int32_t)i};
    }
    return count;
}

/* Inverse CDF, likeliest first, over the `top_k` likeliest and of these the smallest set that holds `top_p` of their
 * mass. Sorted are those that can belong to it: all below (1 - top_p) / vocabulary of the mass together hold less than
 * what is left out. */
static int64_t draw_kept(const float *masses, float sum, float point, const Law *law, Token *tokens,
                         int64_t vocabulary)
{
    int64_t count = 0, kept = 0, i = 0;
    double mass = 0, before = 0, all = sum;
    if (law->top_k > 0 && law->top_k < vocabulary) {
        count = likeliest(masses, tokens, law->top_k, vocabulary);
        all = 0;
        for (int64_t j = 0; j < count; j++) all += tokens[j].mass;
    } else {
        float least = 0.999f * (1.0f - law->top_p) / (float)vocabulary * sum;
        for (int64_t j = 0; j < vocabulary; j++) {
            tokens[count] = (Token){masses[j], (int32_t)j};
            count += masses[j] >= least;
        }
        sort_tokens(tokens, count);
    }
    for (; kept < count && (kept == 0 || mass < law->top_p * all); kept++) mass += tokens[kept].mass;
    for (; i + 1 < kept; i++) {
        before += tokens[i].mass;
        if (before > point * mass) break;
    }
    return count ? tokens[i].id : 0;
}

/* First of `count` masses at which their running sum exceeds the point, which is left as what remains of it; one that
 * rounding has put beyond them all hits the last that has any. */
INLINE int64_t invert(const float *masses, int64_t count, float *point)
{
    float sum = 0, before = 0;
    int64_t hit = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!(masses[i] > 0)) continue;
        hit = i, before = sum, sum += masses[i];
        if (sum > *point) break;
    }
    *point -= before;
    return hit;
}

/* masses [vocabulary] become exp((logit - top) scale), sums those of blocks of `width`; the sum of all. */
INLINE float to_masses(const float *logits, float top, float scale, float *masses, float *sums, int64_t width,
                       int64_t vocabulary)
{
    float total = 0;
    for (int64_t first = 0; first < vocabulary; first += width) {
        int64_t end = first + width < vocabulary ? first + width : vocabulary;
        float sum = 0;
        SUM(sum)
        for (int64_t i = first; i < end; i++) {
            float below = (logits[i] - top) * scale;
            sum += masses[i] = below < -87.0f ? 0.0f : exponential(below); /* what cannot be drawn has no mass */
        }
        *sums++ = sum;
        total += sum;
    }
    return total;
}

/* Ids of a block: a power of two near the root. */
INLINE int64_t block_width(int64_t vocabulary)
{
    int64_t bits = 0;
    for (int64_t v = vocabulary; v; v >>= 1) bits++;
    return (int64_t)1 << (bits / 2);
}

/* One token, and its log-probability at the temperature, before top-k and top-p (at temperature 0, which takes the
 * likeliest: at 1). scratch: 3 vocabulary numbers of 4 bytes. */
INLINE int64_t draw_one(const float *logits, float point, const Law *law, float *logprob, float *scratch,
                        int64_t vocabulary)
{
    float scale = law->temperature > 0 ? 1.0f / law->temperature : 1.0f, top = -INFINITY;
    float *masses = scratch, *sums = scratch + vocabulary;
    int64_t width = block_width(vocabulary), id = 0;
    _Pragma("omp simd reduction(max : top)")
    for (int64_t i = 0; i < vocabulary; i++) top = logits[i] > top ? logits[i] : top;
    float sum = to_masses(logits, top, scale, masses, sums, width, vocabulary);
    if (law->temperature <= 0 || law->top_k == 1) {
        while (id + 1 < vocabulary && logits[id] != top) id++;
    } else if (law->top_p < 1 || law->top_k > 0) {
        id = draw_kept(masses, sum, point, law, (Token *)(scratch + vocabulary), vocabulary);
    } else {
        point *= sum;
        int64_t first = width * invert(sums, (vocabulary + width - 1) / width, &point);
        id = first + invert(masses + first, vocabulary - first < width ? vocabulary - first : width, &point);
    }
    *logprob = (logits[id] - top) * scale - logf(sum);
    return id;
}

/* ids and logprobs [rows] of logits [.., stride]: row n draws from logits owners[n], or n where that is NULL. scratch: 3
 * vocabulary numbers. */
void draw(const float *logits, const int64_t *owners, const int64_t *seeds, const int64_t *indices, float temperature,
          float top_p, int64_t top_k, int64_t *ids, float *logprobs, float *scratch, int64_t stride, int64_t rows,
          int64_t vocabulary)
{
    Law law = {temperature, top_p, top_k};
    for (int64_t n = 0; n < rows; n++) {
        const float *given = logits + (owners ? owners[n] : n) * stride;
        ids[n] = draw_one(given, uniform(seeds[n], indices[n]), &law, logprobs + n, scratch, vocabulary);
    }
}
