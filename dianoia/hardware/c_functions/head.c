/* Output head of a learner with bfloat16 factors. Logits, and everything computed from them, are float32.
 *
 * States are [rows, hidden], the head is packed in panels, logits are [rows, round_to_vectors(vocabulary)].
 */
#include <stdint.h>

#define SCORED 96 /* rows whose logits fit into a core's cache */

/* Compute `score` from states: logits of SCORED rows at a time are scored while they are in the core's cache. If `kept`,
 * `logits` receives all rows, else it has room for SCORED rows, which are overwritten. */
void score_head_bfloat16(const Bfloat16 *states, const Bfloat16 *head, const float *bias, const int64_t *ids, float scale, float *logits,
                int64_t kept, float *normal, float *logprobs, float *entropies, int64_t rows, int64_t hidden,
                int64_t vocabulary)
{
    int64_t stride = round_to_vectors(vocabulary);
    for (int64_t first = 0; first < rows; first += SCORED) {
        int64_t count = rows - first < SCORED ? rows - first : SCORED;
        float *row = logits + (kept ? first * stride : 0);
        matmul(states + first * hidden, head, row, 1, count, hidden, vocabulary);
        for (int64_t n = first; n < first + count; n++, row += stride) {
            if (bias) { EACH for (int64_t i = 0; i < vocabulary; i++) row[i] += bias[i]; }
            score_row(row, ids[n], scale, normal + n, logprobs + n, entropies + n, vocabulary);
        }
    }
}

/* Gradient of the logits as in `score_backward`, rounded to bfloat16, in `dlogits` [rows, vocabulary]. */
void score_backward_bfloat16(const float *logits, const int64_t *ids, float scale, const float *normal, const float *grad,
                         Bfloat16 *dlogits, int64_t rows, int64_t vocabulary)
{
    for (int64_t n = 0; n < rows; n++, logits += round_to_vectors(vocabulary), dlogits += vocabulary) {
        float pull = grad[n] * scale, base = normal[n];
        EACH for (int64_t i = 0; i < vocabulary; i++)
            dlogits[i] = to_bfloat16(-pull * exponential(logits[i] * scale - base));
        dlogits[ids[n]] = to_bfloat16(pull - pull * exponential(logits[ids[n]] * scale - base));
    }
}
