/* Drawing from the smallest set of most likely tokens that holds `top_p` of the mass: inverse CDF, likeliest first,
 * lower ids first among equals. Sorted are those that can belong to it: all below (1 - top_p) / vocabulary together
 * hold less than what is left out.
 */
#include <stdint.h>
#include <stdlib.h>

typedef struct { float mass; int32_t id; } Token;

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

/* ids [rows] of probabilities [rows, vocabulary] and numbers in [0, 1); scratch: 2 vocabulary numbers of 4 bytes. */
void draw_nucleus(const float *probs, const float *uniforms, float top_p, int64_t *ids, void *scratch, int64_t rows,
                  int64_t vocabulary)
{
    Token *tokens = scratch;
    float floor = 0.999f * (1.0f - top_p) / (float)vocabulary;
    for (int64_t n = 0; n < rows; n++, probs += vocabulary) {
        int64_t count = 0, kept = 0;
        for (int64_t i = 0; i < vocabulary; i++) {
            tokens[count] = (Token){probs[i], (int32_t)i};
            count += probs[i] >= floor;
        }
        sort_tokens(tokens, count);
        double mass = 0, sum = 0;
        for (; kept < count && (kept == 0 || (float)mass < top_p); kept++) mass += tokens[kept].mass;
        int64_t i = 0;
        for (; i + 1 < kept; i++) {
            sum += tokens[i].mass;
            if (sum > uniforms[n] * mass) break;
        }
        ids[n] = count ? tokens[i].id : 0;
    }
}
