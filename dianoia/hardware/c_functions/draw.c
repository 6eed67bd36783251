/* Drawing a token from logits, with a random number that is a hash of the sample's seed and the token's index. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct { float mass; int32_t id; } Token;

typedef struct { float temperature, top_p; int64_t top_k; } DrawParams;

/* In [0, 1), of 24 bits: splitmix64 of seed and index. */
INLINE float uniform(int64_t seed, int64_t index)
{
    uint64_t z = ((uint64_t)index + 1) * 0x9E3779B97F4A7C15u + (uint64_t)seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (float)((z >> 40) & 0xFFFFFF) * 0x1p-24f;
}

static int compare_tokens(const void *left, const void *right)
{
    const Token *a = left, *b = right;
    if (a->mass != b->mass) return a->mass > b->mass ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

/* Most likely first, lower ids first among equals. Few are sorted by insertion, which keeps equals in order; many by the
 * library. */
static void sort_tokens(Token *tokens, int64_t count)
{
    if (count > 48) { qsort(tokens, (size_t)count, sizeof *tokens, compare_tokens); return; }
    for (int64_t i = 1; i < count; i++) {
        Token moved = tokens[i];
        int64_t j = i;
        for (; j > 0 && tokens[j - 1].mass < moved.mass; j--) tokens[j] = tokens[j - 1];
        tokens[j] = moved;
    }
}

/* Store the `most` likeliest tokens in order, lower ids first among equals; return how many there are. */
static int64_t select_likeliest(const float *masses, Token *tokens, int64_t most, int64_t vocabulary)
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

/* Inverse CDF, likeliest first, over the `top_k` likeliest tokens and among these over the smallest set that holds `top_p` of
 * their mass. Without top-k only tokens that can belong to the set are sorted: all those below (1 - top_p) / vocabulary of
 * the mass together hold less than what the set leaves out. */
static int64_t draw_truncated(const float *masses, float sum, float point, const DrawParams *params, Token *tokens,
                         int64_t vocabulary)
{
    int64_t count = 0, kept = 0, i = 0;
    double mass = 0, before = 0, all = sum;
    if (params->top_k > 0 && params->top_k < vocabulary) {
        count = select_likeliest(masses, tokens, params->top_k, vocabulary);
        all = 0;
        for (int64_t j = 0; j < count; j++) all += tokens[j].mass;
    } else {
        float least = 0.999f * (1.0f - params->top_p) / (float)vocabulary * sum;
        for (int64_t j = 0; j < vocabulary; j++) {
            tokens[count] = (Token){masses[j], (int32_t)j};
            count += masses[j] >= least;
        }
        sort_tokens(tokens, count);
    }
    for (; kept < count && (kept == 0 || mass < params->top_p * all); kept++) mass += tokens[kept].mass;
    for (; i + 1 < kept; i++) {
        before += tokens[i].mass;
        if (before > point * mass) break;
    }
    return count ? tokens[i].id : 0;
}

/* Return the first of `count` masses at which their running sum exceeds the point, and subtract the sum before it from the
 * point. A point that rounding has put beyond the total hits the last mass that is not zero. */
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

/* Store exp((logit - top) scale) in `masses` [vocabulary] and the sums of blocks of `width` in `sums`; return the total. */
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
            sum += masses[i] = below < -87.0f ? 0.0f : exponential(below); /* an impossible token has no mass */
        }
        *sums++ = sum;
        total += sum;
    }
    return total;
}

/* Ids per block: a power of two near the square root. */
INLINE int64_t block_width(int64_t vocabulary)
{
    int64_t bits = 0;
    for (int64_t v = vocabulary; v; v >>= 1) bits++;
    return (int64_t)1 << (bits / 2);
}

/* Return a token and store its log-probability at the temperature, before top-k and top-p. Temperature 0 takes the
 * likeliest token and reports its log-probability at temperature 1. scratch: 3 vocabulary numbers of 4 bytes. */
INLINE int64_t draw_one(const float *logits, float point, const DrawParams *params, float *logprob, float *scratch,
                        int64_t vocabulary)
{
    float scale = params->temperature > 0 ? 1.0f / params->temperature : 1.0f, top = -INFINITY;
    float *masses = scratch, *sums = scratch + vocabulary;
    int64_t width = block_width(vocabulary), id = 0;
    _Pragma("omp simd reduction(max : top)")
    for (int64_t i = 0; i < vocabulary; i++) top = logits[i] > top ? logits[i] : top;
    float sum = to_masses(logits, top, scale, masses, sums, width, vocabulary);
    if (params->temperature <= 0 || params->top_k == 1) {
        while (id + 1 < vocabulary && logits[id] != top) id++;
    } else if (params->top_p < 1 || params->top_k > 0) {
        id = draw_truncated(masses, sum, point, params, (Token *)(scratch + vocabulary), vocabulary);
    } else {
        point *= sum; /* in two levels, a block and then a token: cheaper, and rounds less than one running sum */
        int64_t first = width * invert(sums, (vocabulary + width - 1) / width, &point);
        id = first + invert(masses + first, vocabulary - first < width ? vocabulary - first : width, &point);
    }
    *logprob = (logits[id] - top) * scale - logf(sum);
    return id;
}

/* Draw ids and logprobs [rows] from logits [.., stride]: row n draws from row owners[n] of the logits, or from row n where
 * `owners` is NULL. scratch: 3 vocabulary numbers. */
void draw(const float *logits, const int64_t *owners, const int64_t *seeds, const int64_t *indices, float temperature,
          float top_p, int64_t top_k, int64_t *ids, float *logprobs, float *scratch, int64_t stride, int64_t rows,
          int64_t vocabulary)
{
    DrawParams params = {temperature, top_p, top_k};
    for (int64_t n = 0; n < rows; n++) {
        const float *row = logits + (owners ? owners[n] : n) * stride;
        ids[n] = draw_one(row, uniform(seeds[n], indices[n]), &params, logprobs + n, scratch, vocabulary);
    }
}
