/* A learner's attention, with its gradient: rows of new positions that see known ones before them, without padding.
 *
 * States are [positions, heads, head]. A span (start, length, before, count) says that positions start to start +
 * length see, in this order, `count` known ones, `known[before]` onwards, and themselves causally. Keys and values of
 * a span are laid out once a key head; queries come in tiles, so that every number read is used TILE times.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define TILE 8  /* queries at one time */
#define LANE 16 /* numbers at one time */

typedef float Lane __attribute__((vector_size(LANE * sizeof(float)), aligned(4)));

INLINE int64_t lanes(int64_t size) { return (size + LANE - 1) / LANE * LANE; }

typedef struct {
    const float *queries, *keys, *values;
    const int64_t *known;
    float *scratch;
    int64_t heads, kv, head;
    float scale;
    /* of the span and key head at hand */
    int64_t start, length, count, wide, padded, at;
    float *keys_across, *keys_along, *values_across, *values_along, *weights, *pulls, *tile, *tile_grad;
} Span;

/* Where position number j of the span's keys is. */
INLINE int64_t place(const Span *s, const int64_t *known, int64_t j)
{
    return j < s->count ? known[j] : s->start + j - s->count;
}

/* One key head of `states`, along as [wide, padded] and across as [head, wide]; either may be NULL. */
INLINE void lay_out(const Span *s, const float *states, const int64_t *known, int64_t k, float *along, float *across)
{
    int64_t all = s->count + s->length;
    if (along) memset(along, 0, (size_t)(s->wide * s->padded) * sizeof *along);
    if (across) memset(across, 0, (size_t)(s->head * s->wide) * sizeof *across);
    for (int64_t j = 0; j < all; j++) {
        const float *from = states + (place(s, known, j) * s->kv + k) * s->head;
        if (along) memcpy(along + j * s->padded, from, (size_t)s->head * sizeof *from);
        if (across)
            for (int64_t d = 0; d < s->head; d++) across[d * s->wide + j] = from[d];
    }
}

/* Up to TILE rows of `states` [.., heads, head], from row t of the span on, as [TILE, padded]; zeros beyond. */
INLINE void load_tile(const Span *s, const float *states, int64_t h, int64_t t, float *tile)
{
    memset(tile, 0, (size_t)(TILE * s->padded) * sizeof *tile);
    for (int64_t i = 0; i < TILE && t + i < s->length; i++)
        memcpy(tile + i * s->padded, states + ((s->start + t + i) * s->heads + h) * s->head,
               (size_t)s->head * sizeof *tile);
}

/* out [TILE, wide] = rows [TILE, padded] times across [head, wide], of the first `width` columns. */
INLINE void times_across(const Span *s, const float *rows, const float *across, int64_t width, float *out)
{
    for (int64_t j = 0; j < width; j += LANE) {
        Lane sums[TILE] = {0};
        for (int64_t d = 0; d < s->head; d++) {
            Lane column = *(const Lane *)(across + d * s->wide + j);
            for (int i = 0; i < TILE; i++) sums[i] += rows[i * s->padded + d] * column;
        }
        for (int i = 0; i < TILE; i++) *(Lane *)(out + i * s->wide + j) = sums[i];
    }
}

/* out [TILE, padded] = weights [TILE, wide] times along [wide, padded], of the first `width` rows of that. */
INLINE void times_along(const Span *s, const float *weights, const float *along, int64_t width, float *out)
{
    for (int64_t d = 0; d < s->padded; d += LANE) {
        Lane sums[TILE] = {0};
        for (int64_t j = 0; j < width; j++) {
            Lane row = *(const Lane *)(along + j * s->padded + d);
            for (int i = 0; i < TILE; i++) sums[i] += weights[i * s->wide + j] * row;
        }
        for (int i = 0; i < TILE; i++) *(Lane *)(out + i * s->padded + d) = sums[i];
    }
}

/* into [wide, padded] += weights [TILE, wide] transposed times rows [TILE, padded]. */
INLINE void add_outer(const Span *s, const float *weights, const float *rows, int64_t width, float *into)
{
    for (int64_t d = 0; d < s->padded; d += LANE) {
        Lane row[TILE];
        for (int i = 0; i < TILE; i++) row[i] = *(const Lane *)(rows + i * s->padded + d);
        for (int64_t j = 0; j < width; j++) {
            Lane *sum = (Lane *)(into + j * s->padded + d), value = *sum;
            for (int i = 0; i < TILE; i++) value += weights[i * s->wide + j] * row[i];
            *sum = value;
        }
    }
}

/* Columns that the last query of a tile sees; those that query i does not see become 0. */
INLINE int64_t width_of(const Span *s, int64_t t)
{
    int64_t last = t + TILE < s->length ? t + TILE : s->length;
    return s->count + last;
}

/* Span r: sizes, and the scratch cut up. `parts` of size wide x padded lie at the front. */
INLINE void enter(Span *s, const int64_t *span, int64_t room)
{
    float *next = s->scratch;
    int64_t most = room * s->padded;
    s->start = span[0], s->length = span[1], s->at = span[2], s->count = span[3];
    s->wide = lanes(s->count + s->length);
    s->keys_across = next, next += most;
    s->keys_along = next, next += most;
    s->values_across = next, next += most;
    s->values_along = next, next += most;
    s->weights = next, next += TILE * room;
    s->pulls = next, next += TILE * room;
    s->tile = next, next += TILE * s->padded;
    s->tile_grad = next;
}

INLINE void attend_tile(const Span *s, int64_t h, int64_t t, float *seen, float *normal)
{
    int64_t width = width_of(s, t);
    float sums[TILE];
    load_tile(s, s->queries, h, t, s->tile);
    times_across(s, s->tile, s->keys_across, width, s->weights);
    for (int64_t i = 0; i < TILE; i++) {
        float *row = s->weights + i * s->wide, top = -INFINITY, sum = 0;
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
        float *out = seen + ((s->start + t + i) * s->heads + h) * s->head;
        EACH for (int64_t d = 0; d < s->head; d++) out[d] = s->tile[i * s->padded + d] / sums[i];
    }
}

/* What every position of a span sees [positions, heads, head], and the logarithm of its normaliser [positions, heads].
 * scratch: 4 room padded + 2 TILE room + 2 TILE padded numbers, room and padded multiples of LANE. */
void attend(const float *queries, const float *keys, const float *values, const int64_t *spans,
            const int64_t *known, float scale, float *seen, float *normal, float *scratch, int64_t room,
            int64_t count, int64_t heads, int64_t kv, int64_t head)
{
    Span s = {queries, keys, values, known, scratch, heads, kv, head, scale, .padded = lanes(head)};
    for (int64_t r = 0; r < count; r++, spans += 4) {
        enter(&s, spans, room);
        for (int64_t k = 0; k < kv && s.length; k++) {
            lay_out(&s, keys, known + s.at, k, NULL, s.keys_across);
            lay_out(&s, values, known + s.at, k, s.values_along, NULL);
            for (int64_t h = k * (heads / kv); h < (k + 1) * (heads / kv); h++)
                for (int64_t t = 0; t < s.length; t += TILE) attend_tile(&s, h, t, seen, normal);
        }
    }
}

typedef struct {
    const float *seen, *normal, *grad;
    float *of_queries, *of_keys, *of_values, *sum_keys, *sum_values;
} Pull;

INLINE void pull_tile(const Span *s, const Pull *p, int64_t h, int64_t t)
{
    int64_t width = width_of(s, t);
    load_tile(s, s->queries, h, t, s->tile);
    load_tile(s, p->grad, h, t, s->tile_grad);
    times_across(s, s->tile, s->keys_across, width, s->weights);
    times_across(s, s->tile_grad, s->values_across, width, s->pulls);
    for (int64_t i = 0; i < TILE; i++) {
        float *weight = s->weights + i * s->wide, *pull = s->pulls + i * s->wide, dot = 0;
        int64_t sees = s->count + t + i + 1 < width ? s->count + t + i + 1 : width;
        int64_t n = (s->start + t + i) * s->heads + h;
        if (t + i >= s->length) sees = 0;
        float normal = sees ? p->normal[n] : 0;
        SUM(dot)
        for (int64_t d = 0; d < (sees ? s->head : 0); d++) dot += p->grad[n * s->head + d] * p->seen[n * s->head + d];
        EACH for (int64_t j = 0; j < sees; j++) {
            weight[j] = exponential(weight[j] * s->scale - normal);
            pull[j] = weight[j] * (pull[j] - dot) * s->scale;
        }
        for (int64_t j = sees; j < width; j++) weight[j] = pull[j] = 0;
    }
    add_outer(s, s->weights, s->tile_grad, width, p->sum_values);
    add_outer(s, s->pulls, s->tile, width, p->sum_keys);
    times_along(s, s->pulls, s->keys_along, width, s->tile);
    for (int64_t i = 0; i < TILE && t + i < s->length; i++)
        memcpy(p->of_queries + ((s->start + t + i) * s->heads + h) * s->head, s->tile + i * s->padded,
               (size_t)s->head * sizeof(float));
}

INLINE void add_up(const Span *s, const float *sums, const int64_t *known, int64_t k, float *into)
{
    for (int64_t j = 0; j < s->count + s->length; j++) {
        float *to = into + (place(s, known, j) * s->kv + k) * s->head;
        EACH for (int64_t d = 0; d < s->head; d++) to[d] += sums[j * s->padded + d];
    }
}

/* Gradients of `attend`: of_queries is filled at the spans, of_keys and of_values are added to.
 * scratch: 6 room padded + 2 TILE room + 2 TILE padded numbers. */
void attend_backward(const float *queries, const float *keys, const float *values, const int64_t *spans,
                     const int64_t *known, float scale, const float *seen, const float *normal, const float *grad,
                     float *of_queries, float *of_keys, float *of_values, float *scratch, int64_t room,
                     int64_t count, int64_t heads, int64_t kv, int64_t head)
{
    Span s = {queries, keys, values, known, scratch, heads, kv, head, scale, .padded = lanes(head)};
    int64_t most = room * s.padded;
    Pull p = {seen, normal, grad, of_queries, of_keys, of_values, scratch, scratch + most};
    s.scratch += 2 * most;
    for (int64_t r = 0; r < count; r++, spans += 4) {
        enter(&s, spans, room);
        for (int64_t k = 0; k < kv && s.length; k++) {
            lay_out(&s, keys, known + s.at, k, s.keys_along, s.keys_across);
            lay_out(&s, values, known + s.at, k, NULL, s.values_across);
            memset(p.sum_keys, 0, (size_t)(s.wide * s.padded) * sizeof(float));
            memset(p.sum_values, 0, (size_t)(s.wide * s.padded) * sizeof(float));
            for (int64_t h = k * (heads / kv); h < (k + 1) * (heads / kv); h++)
                for (int64_t t = 0; t < s.length; t += TILE) pull_tile(&s, &p, h, t);
            add_up(&s, p.sum_keys, known + s.at, k, of_keys);
            add_up(&s, p.sum_values, known + s.at, k, of_values);
        }
    }
}
