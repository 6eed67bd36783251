/* Attention of a learner, with its gradient: new positions attend to earlier ones, without padding and without masks.
 *
 * States are [positions, heads, head]. A span (start, length, before, count) says that positions start to start + length
 * attend, in this order, to `count` earlier positions, `prefix[before]` onwards, and causally to themselves. Keys and
 * values of a span are copied once per KV head, so that the inner loops read memory in order; queries come in tiles.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define TILE 8    /* queries at a time: every key and value that is loaded serves so many */
#define VECTOR 16 /* floats per vector: the layout of weights and caches depends on it */

typedef float Vector __attribute__((vector_size(VECTOR * sizeof(float)), aligned(4)));

INLINE int64_t round_to_vectors(int64_t size) { return (size + VECTOR - 1) / VECTOR * VECTOR; }

typedef struct {
    const float *queries, *keys, *values;
    const int64_t *prefix;
    float *scratch;
    int64_t heads, kv, head;
    float scale;
    /* of the span and key head in work; stride: of a row of scores; padded: head size in whole vectors */
    int64_t start, length, count, stride, padded, prefix_start;
    float *keys_across, *keys_along, *values_across, *values_along, *weights, *score_grads, *tile, *tile_grad;
} Span;

/* Position of key j of a span: first the earlier positions, then those of the span itself. */
INLINE int64_t key_position(const Span *s, const int64_t *prefix, int64_t j)
{
    return j < s->count ? prefix[j] : s->start + j - s->count;
}

/* Copy one KV head of `states` to `along` [stride, padded] and to `across` [head, stride]; either may be NULL. */
INLINE void copy_head(const Span *s, const float *states, const int64_t *prefix, int64_t k, float *along, float *across)
{
    int64_t total = s->count + s->length;
    if (along) memset(along, 0, (size_t)(s->stride * s->padded) * sizeof *along);
    if (across) memset(across, 0, (size_t)(s->head * s->stride) * sizeof *across);
    for (int64_t j = 0; j < total; j++) {
        const float *from = states + (key_position(s, prefix, j) * s->kv + k) * s->head;
        if (along) memcpy(along + j * s->padded, from, (size_t)s->head * sizeof *from);
        if (across)
            for (int64_t d = 0; d < s->head; d++) across[d * s->stride + j] = from[d];
    }
}

/* Copy TILE rows of `states` [.., heads, head], from row t of the span on, to [TILE, padded]; zeros beyond the span. */
INLINE void load_tile(const Span *s, const float *states, int64_t h, int64_t t, float *tile)
{
    memset(tile, 0, (size_t)(TILE * s->padded) * sizeof *tile);
    for (int64_t i = 0; i < TILE && t + i < s->length; i++)
        memcpy(tile + i * s->padded, states + ((s->start + t + i) * s->heads + h) * s->head,
               (size_t)s->head * sizeof *tile);
}

/* out [TILE, stride] = rows [TILE, padded] times across [head, stride], of the first `width` columns. */
INLINE void times_across(const Span *s, const float *rows, const float *across, int64_t width, float *out)
{
    for (int64_t j = 0; j < width; j += VECTOR) {
        Vector sums[TILE] = {0};
        for (int64_t d = 0; d < s->head; d++) {
            Vector column = *(const Vector *)(across + d * s->stride + j);
            for (int i = 0; i < TILE; i++) sums[i] += rows[i * s->padded + d] * column;
        }
        for (int i = 0; i < TILE; i++) *(Vector *)(out + i * s->stride + j) = sums[i];
    }
}

/* out [TILE, padded] = weights [TILE, stride] times along [stride, padded], of the first `width` rows of that. */
INLINE void times_along(const Span *s, const float *weights, const float *along, int64_t width, float *out)
{
    for (int64_t d = 0; d < s->padded; d += VECTOR) {
        Vector sums[TILE] = {0};
        for (int64_t j = 0; j < width; j++) {
            Vector row = *(const Vector *)(along + j * s->padded + d);
            for (int i = 0; i < TILE; i++) sums[i] += weights[i * s->stride + j] * row;
        }
        for (int i = 0; i < TILE; i++) *(Vector *)(out + i * s->padded + d) = sums[i];
    }
}

/* into [stride, padded] += weights [TILE, stride] transposed times rows [TILE, padded]. */
INLINE void add_outer(const Span *s, const float *weights, const float *rows, int64_t width, float *into)
{
    for (int64_t d = 0; d < s->padded; d += VECTOR) {
        Vector row[TILE];
        for (int i = 0; i < TILE; i++) row[i] = *(const Vector *)(rows + i * s->padded + d);
        for (int64_t j = 0; j < width; j++) {
            Vector *sum = (Vector *)(into + j * s->padded + d), value = *sum;
            for (int i = 0; i < TILE; i++) value += weights[i * s->stride + j] * row[i];
            *sum = value;
        }
    }
}

/* Columns that the last query of a tile attends to. Those that query i does not attend to become 0. */
INLINE int64_t width_of(const Span *s, int64_t t)
{
    int64_t last = t + TILE < s->length ? t + TILE : s->length;
    return s->count + last;
}

/* Set the sizes of a span and its buffers within the scratch memory: four of longest x padded first, then those of a tile. */
INLINE void begin_span(Span *s, const int64_t *span, int64_t room)
{
    float *next = s->scratch;
    int64_t most = room * s->padded;
    s->start = span[0], s->length = span[1], s->prefix_start = span[2], s->count = span[3];
    s->stride = round_to_vectors(s->count + s->length);
    s->keys_across = next, next += most;
    s->keys_along = next, next += most;
    s->values_across = next, next += most;
    s->values_along = next, next += most;
    s->weights = next, next += TILE * room;
    s->score_grads = next, next += TILE * room;
    s->tile = next, next += TILE * s->padded;
    s->tile_grad = next;
}

/* Attention of one head of a tile of queries. */
INLINE void attend_tile(const Span *s, int64_t h, int64_t t, float *attended, float *normal)
{
    int64_t width = width_of(s, t);
    float sums[TILE];
    load_tile(s, s->queries, h, t, s->tile);
    times_across(s, s->tile, s->keys_across, width, s->weights);
    for (int64_t i = 0; i < TILE; i++) {
        float *row = s->weights + i * s->stride, top = -INFINITY, sum = 0;
        /* causal: a query attends to the earlier positions, to those before it in the span, and to itself */
        int64_t sees = s->count + t + i + 1 < width ? s->count + t + i + 1 : width;
        _Pragma("omp simd reduction(max : top)")
        for (int64_t j = 0; j < sees; j++) top = row[j] > top ? row[j] : top;
        SUM(sum)
        for (int64_t j = 0; j < sees; j++) sum += row[j] = exponential((row[j] - top) * s->scale);
        for (int64_t j = sees; j < width; j++) row[j] = 0;
        sums[i] = sum;
        if (t + i < s->length) normal[(s->start + t + i) * s->heads + h] = top * s->scale + logf(sum);
    }
    times_along(s, s->weights, s->values_along, width, s->tile);
    for (int64_t i = 0; i < TILE && t + i < s->length; i++) {
        float *out = attended + ((s->start + t + i) * s->heads + h) * s->head;
        EACH for (int64_t d = 0; d < s->head; d++) out[d] = s->tile[i * s->padded + d] / sums[i];
    }
}

/* Store the attention output of every position of a span [positions, heads, head], and the logarithm of its normaliser
 * [positions, heads].
 * scratch: 4 room padded + 2 TILE room + 2 TILE padded numbers, room and padded multiples of VECTOR. */
void attend(const float *queries, const float *keys, const float *values, const int64_t *spans,
            const int64_t *prefix, float scale, float *attended, float *normal, float *scratch, int64_t room,
            int64_t count, int64_t heads, int64_t kv, int64_t head)
{
    Span s = {queries, keys, values, prefix, scratch, heads, kv, head, scale, .padded = round_to_vectors(head)};
    for (int64_t r = 0; r < count; r++, spans += 4) {
        begin_span(&s, spans, room);
        for (int64_t k = 0; k < kv && s.length; k++) {
            copy_head(&s, keys, prefix + s.prefix_start, k, NULL, s.keys_across);
            copy_head(&s, values, prefix + s.prefix_start, k, s.values_along, NULL);
            for (int64_t h = k * (heads / kv); h < (k + 1) * (heads / kv); h++)
                for (int64_t t = 0; t < s.length; t += TILE) attend_tile(&s, h, t, attended, normal);
        }
    }
}

typedef struct {
    const float *attended, *normal, *grad;
    float *query_grads, *key_grads, *value_grads, *sum_keys, *sum_values;
} Gradients;

/* Gradients of one head of a tile of queries: weights are computed again from scores and normalisers. */
INLINE void gradient_tile(const Span *s, const Gradients *p, int64_t h, int64_t t)
{
    int64_t width = width_of(s, t);
    load_tile(s, s->queries, h, t, s->tile);
    load_tile(s, p->grad, h, t, s->tile_grad);
    times_across(s, s->tile, s->keys_across, width, s->weights);
    times_across(s, s->tile_grad, s->values_across, width, s->score_grads);
    for (int64_t i = 0; i < TILE; i++) {
        float *weight = s->weights + i * s->stride, *score_grad = s->score_grads + i * s->stride, dot = 0;
        int64_t sees = s->count + t + i + 1 < width ? s->count + t + i + 1 : width;
        int64_t n = (s->start + t + i) * s->heads + h;
        if (t + i >= s->length) sees = 0;
        float normal = sees ? p->normal[n] : 0;
        SUM(dot)
        for (int64_t d = 0; d < (sees ? s->head : 0); d++) dot += p->grad[n * s->head + d] * p->attended[n * s->head + d];
        EACH for (int64_t j = 0; j < sees; j++) {
            weight[j] = exponential(weight[j] * s->scale - normal);
            score_grad[j] = weight[j] * (score_grad[j] - dot) * s->scale;
        }
        for (int64_t j = sees; j < width; j++) weight[j] = score_grad[j] = 0;
    }
    add_outer(s, s->weights, s->tile_grad, width, p->sum_values);
    add_outer(s, s->score_grads, s->tile, width, p->sum_keys);
    times_along(s, s->score_grads, s->keys_along, width, s->tile);
    for (int64_t i = 0; i < TILE && t + i < s->length; i++)
        memcpy(p->query_grads + ((s->start + t + i) * s->heads + h) * s->head, s->tile + i * s->padded,
               (size_t)s->head * sizeof(float));
}

/* Add the sums of a span's keys or values to the gradient: several spans may attend to one position. */
INLINE void add_head(const Span *s, const float *sums, const int64_t *prefix, int64_t k, float *into)
{
    for (int64_t j = 0; j < s->count + s->length; j++) {
        float *to = into + (key_position(s, prefix, j) * s->kv + k) * s->head;
        EACH for (int64_t d = 0; d < s->head; d++) to[d] += sums[j * s->padded + d];
    }
}

/* Gradients of `attend`: fills query_grads at the spans; adds to key_grads and value_grads.
 * scratch: 6 room padded + 2 TILE room + 2 TILE padded numbers. */
void attend_backward(const float *queries, const float *keys, const float *values, const int64_t *spans,
                     const int64_t *prefix, float scale, const float *attended, const float *normal, const float *grad,
                     float *query_grads, float *key_grads, float *value_grads, float *scratch, int64_t room,
                     int64_t count, int64_t heads, int64_t kv, int64_t head)
{
    Span s = {queries, keys, values, prefix, scratch, heads, kv, head, scale, .padded = round_to_vectors(head)};
    int64_t most = room * s.padded;
    Gradients p = {attended, normal, grad, query_grads, key_grads, value_grads, scratch, scratch + most};
    s.scratch += 2 * most;
    for (int64_t r = 0; r < count; r++, spans += 4) {
        begin_span(&s, spans, room);
        for (int64_t k = 0; k < kv && s.length; k++) {
            copy_head(&s, keys, prefix + s.prefix_start, k, s.keys_along, s.keys_across);
            copy_head(&s, values, prefix + s.prefix_start, k, NULL, s.values_across);
            memset(p.sum_keys, 0, (size_t)(s.stride * s.padded) * sizeof(float));
            memset(p.sum_values, 0, (size_t)(s.stride * s.padded) * sizeof(float));
            for (int64_t h = k * (heads / kv); h < (k + 1) * (heads / kv); h++)
                for (int64_t t = 0; t < s.length; t += TILE) gradient_tile(&s, &p, h, t);
            add_head(&s, p.sum_keys, prefix + s.prefix_start, k, key_grads);
            add_head(&s, p.sum_values, prefix + s.prefix_start, k, value_grads);
        }
    }
}
