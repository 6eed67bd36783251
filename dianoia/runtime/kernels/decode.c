/* Attention of one new token a sample over its prompt and its response: only what is filled is read. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define MOST 8 /* query heads that share a key head, taken at one time */

INLINE void scores_of(const float *q, const float *keys, int64_t count, int64_t ahead, int64_t room, float scale,
                      float *scores, int64_t repeats, int64_t head)
{
    for (int64_t j = 0; j < count; j++, keys += head)
        for (int64_t r = 0; r < repeats; r++) {
            float dot = 0;
            SUM(dot)
            for (int64_t i = 0; i < head; i++) dot += q[r * head + i] * keys[i];
            scores[r * room + ahead + j] = dot * scale;
        }
}

INLINE void add_values(const float *probs, const float *values, int64_t count, int64_t ahead, int64_t room,
                       float *seen, int64_t repeats, int64_t head)
{
    for (int64_t j = 0; j < count; j++, values += head)
        for (int64_t r = 0; r < repeats; r++) {
            float p = probs[r * room + ahead + j];
            EACH for (int64_t i = 0; i < head; i++) seen[r * head + i] += p * values[i];
        }
}

INLINE float to_weights(float *scores, int64_t count)
{
    float top = -INFINITY, sum = 0;
    _Pragma("omp simd reduction(max : top)")
    for (int64_t j = 0; j < count; j++) top = scores[j] > top ? scores[j] : top;
    SUM(sum)
    for (int64_t j = 0; j < count; j++) sum += scores[j] = exponential(scores[j] - top);
    return sum;
}

typedef struct {
    const float *queries, *prompt_keys, *prompt_values, *keys, *values;
    const int64_t *prompt_rows, *prompt_lengths, *lengths;
    float *scratch, *seen;
    int64_t prompt_room, room, rows, kv, repeats;
} Decode;

INLINE void attend_row(const Decode *d, int64_t n, int64_t k, int64_t head)
{
    int64_t prompt = d->prompt_lengths[n], own = d->lengths[n], count = prompt + own;
    int64_t at = (d->prompt_rows[n] * d->kv + k) * d->prompt_room * head;
    int64_t mine = ((n * d->kv + k) * d->room + 1) * head; /* the seat of the prompt is not read here */
    int64_t first = (n * d->kv + k) * d->repeats * head, wide = d->prompt_room + d->room;
    const float *q = d->queries + first;
    float *seen = d->seen + first, scale = 1.0f / sqrtf((float)head), sums[MOST];
    scores_of(q, d->prompt_keys + at, prompt, 0, wide, scale, d->scratch, d->repeats, head);
    scores_of(q, d->keys + mine, own, prompt, wide, scale, d->scratch, d->repeats, head);
    for (int64_t r = 0; r < d->repeats; r++) sums[r] = to_weights(d->scratch + r * wide, count);
    memset(seen, 0, (size_t)(d->repeats * head) * sizeof *seen);
    add_values(d->scratch, d->prompt_values + at, prompt, 0, wide, seen, d->repeats, head);
    add_values(d->scratch, d->values + mine, own, prompt, wide, seen, d->repeats, head);
    for (int64_t r = 0; r < d->repeats; r++)
        EACH for (int64_t i = 0; i < head; i++) seen[r * head + i] /= sums[r];
}

INLINE void attend_rows(const Decode *d, int64_t head)
{
    for (int64_t n = 0; n < d->rows; n++)
        for (int64_t k = 0; k < d->kv; k++) attend_row(d, n, k, head);
}

/* queries and seen [rows, kv, repeats, head]; prompt [prompt rows, kv, prompt_room, head]; keys and values [rows,
 * kv, room, head], of which column 0 is skipped; scratch [repeats, prompt_room + room]. repeats: at most 8. */
void decode(const float *queries, const float *prompt_keys, const float *prompt_values, const float *keys,
            const float *values, const int64_t *prompt_rows, const int64_t *prompt_lengths, const int64_t *lengths,
            float *scratch, float *seen, int64_t prompt_room, int64_t room, int64_t rows, int64_t kv,
            int64_t repeats, int64_t head)
{
    Decode d = {queries, prompt_keys, prompt_values, keys, values, prompt_rows, prompt_lengths, lengths,
                scratch, seen, prompt_room, room, rows, kv, repeats};
    if (head == 32 && repeats == 2) { d.repeats = 2; attend_rows(&d, 32); }
    else if (head == 64) attend_rows(&d, 64);
    else if (head == 128) attend_rows(&d, 128);
    else attend_rows(&d, head);
}
