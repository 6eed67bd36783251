/* An output head with bfloat16 factors for a learner: logits and everything made of them are float32.
 *
 * States are [rows, hidden], the head is packed, logits are [rows, round_to_vectors(vocabulary)].
 */
#include <stdint.h>

#define SCORED 96 /* rows whose logits are scored before they leave the cache */

/* As `score`, of the logits that the head gives; they stay in `logits` where `kept`, else that holds SCORED rows. */
void score_half(const Bfloat16 *states, const Bfloat16 *head, const float *bias, const int64_t *ids, float scale, float *logits,
                int64_t kept, float *normal, float *logprobs, float *entropies, int64_t rows, int64_t hidden,
                int64_t vocabulary)
{
    int64_t wide = round_to_vectors(vocabulary);
    for (int64_t first = 0; first < rows; first += SCORED) {
        int64_t count = rows - first < SCORED ? rows - first : SCORED;
        float *row = logits + (kept ? first * wide : 0);
        product(states + first * hidden, head, row, 1, count, hidden, vocabulary);
        for (int64_t n = first; n < first + count; n++, row += wide) {
            if (bias) { EACH for (int64_t i = 0; i < vocabulary; i++) row[i] += bias[i]; }
            score_row(row, ids[n], scale, normal + n, logprobs + n, entropies + n, vocabulary);
        }
    }
}

/* slopes [rows, vocabulary]: what `score_backward` makes of such logits, rounded to bfloat16. */
void score_backward_half(const float *logits, const int64_t *ids, float scale, const float *normal, const float *grad,
                         Bfloat16 *slopes, int64_t rows, int64_t vocabulary)
{
    for (int64_t n = 0; n < rows; n++, logits += round_to_vectors(vocabulary), slopes += vocabulary) {
        float pull = grad[n] * scale, base = normal[n];
        EACH for (int64_t i = 0; i < vocabulary; i++)
            slopes[i] = to_bfloat16(-pull * exponential(logits[i] * scale - base));
        slopes[ids[n]] = to_bfloat16(pull - pull * exponential(logits[ids[n]] * scale - base));
    }
}
