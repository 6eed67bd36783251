/* A decoder-only model on one core: reading prompts, and drawing responses token by token.
 *
 * Keys lie in blocks of LANE columns, [room / LANE, head, LANE], so that the scores of LANE keys are one vector; values
 * are [room, lanes(head)], bfloat16 where the products are, as such a product gives no more. A row attends to what is
 * filled of its prompt and of its response, and to nothing else.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define DRAWN 64 /* rows whose logits exist at one time */
#define AHEAD 4  /* blocks of keys, or vectors of values, at one time */

/* A layer's weights: packed matrices, and float32 biases and norms, which may be NULL. */
typedef struct {
    const float *norm_1;
    const void *qkv;
    const float *qkv_bias, *norm_q, *norm_k;
    const void *out;
    const float *out_bias, *norm_2;
    const void *gate_up;
    const float *gate_up_bias;
    const void *down;
    const float *down_bias;
} Layer;

/* unembedding: packed. embedding [vocabulary, hidden], or NULL where the unembedding is it, in float32. cosine, sine
 * [positions, head]. half: matrices are bfloat16. */
typedef struct {
    int64_t layers, hidden, inner, heads, kv, head, vocabulary, half;
    const Layer *layer;
    const void *unembedding;
    const float *embedding, *norm, *cosine, *sine;
} Model;

/* Keys and values of `prompts` rows of `prompt_room` columns, and of `slots` responses of `room` columns, a layer each;
 * rooms are multiples of LANE. scratch: as many numbers as `scratch_of` says for `rows` rows at one time. */
typedef struct {
    float *prompt_keys, *keys, *scratch;
    void *prompt_values, *values;
    int64_t prompts, prompt_room, slots, room, rows;
} Memory;

/* A row of a step: what it reads and what it attends to, itself included. slot: -1 where it belongs to a prompt. */
typedef struct { int64_t token, position, prompt, prompt_seen, slot, seen; } Place;

/* A response: the token it drew last, how many it has drawn, and what it answers. */
typedef struct { int64_t token, drawn, seed, prompt, prompt_length; } Slot;

typedef struct {
    float *states, *in, *out, *queries, *scores, *logits, *masses;
    Half *narrow;
    Place *places;
    int64_t size;
} Work;

INLINE int64_t largest(int64_t one, int64_t other) { return one > other ? one : other; }

INLINE int64_t joined_of(const Model *m) { return (m->heads + 2 * m->kv) * m->head; }

/* Scratch cut up; `size` is what it takes. */
static Work work_of(const Model *m, const Memory *memory)
{
    int64_t wide = largest(m->heads * m->head, largest(m->hidden, m->inner));
    int64_t out = largest(joined_of(m), largest(2 * m->inner, m->hidden)), rows = memory->rows;
    int64_t places = rows * (int64_t)(sizeof(Place) / sizeof(float));
    int64_t sizes[] = {rows * m->hidden, rows * wide, rows * lanes(out), 2 * m->head,
                       2 * (memory->prompt_room + memory->room), DRAWN * lanes(m->vocabulary), 3 * m->vocabulary,
                       rows * wide / 2, places};
    float *at[9], *next = memory->scratch;
    for (int i = 0; i < 9; i++) at[i] = next, next += lanes(sizes[i]);
    return (Work){at[0], at[1], at[2], at[3], at[4], at[5], at[6], (Half *)at[7], (Place *)at[8],
                  next - memory->scratch};
}

void scratch_of(const int64_t *model, const int64_t *memory, int64_t *size)
{
    *size = work_of((const Model *)model, (const Memory *)memory).size;
}

/* Attention --------------------------------------------------------------------------------------- */

/* One head of a key into column `at` of a row. */
INLINE void keep_key(const float *key, float *keys, int64_t at, int64_t head)
{
    float *to = keys + at / LANE * LANE * head + at % LANE;
    for (int64_t d = 0; d < head; d++) to[d * LANE] = key[d];
}

INLINE void score_blocks(const float *const *q, const float *keys, float scale, float *const *scores, int64_t head,
                         const int pair, const int blocks)
{
    Lane sums[2][AHEAD];
    CLEAR(sums, pair, blocks)
    for (int64_t d = 0; d < head; d++)
        for (int b = 0; b < blocks; b++) {
            Lane key = *(const Lane *)(keys + (b * head + d) * LANE);
            for (int r = 0; r < pair; r++) sums[r][b] += q[r][d] * key;
        }
    for (int r = 0; r < pair; r++)
        for (int b = 0; b < blocks; b++) *(Lane *)(scores[r] + b * LANE) = sums[r][b] * scale;
}

/* Keys, values and how many there are of a prompt or of a response. */
typedef struct { float *keys; void *values; int64_t count; } Known;

/* Scores of all keys for one or two heads; what lies behind them in the last block is filled with anything. Their values
 * are called for meanwhile: in most steps they come from far. */
INLINE void scores_of(const float *const *q, const Known *known, float scale, float *const *scores, int64_t head,
                      const int pair, const int half)
{
    int64_t blocks = (known->count + LANE - 1) / LANE, step;
    int64_t bytes = LANE * lanes(head) * (half ? sizeof(Half) : sizeof(float)); /* of a block of values */
    for (int64_t b = 0; b < blocks; b += step) {
        float *to[2] = {scores[0] + b * LANE, scores[1] + b * LANE};
        const float *from = known->keys + b * LANE * head;
        step = b + AHEAD <= blocks ? AHEAD : 1;
        for (int64_t i = b * bytes; i < (b + step) * bytes; i += 64)
            __builtin_prefetch((const char *)known->values + i);
        if (step == AHEAD) score_blocks(q, from, scale, to, head, pair, AHEAD);
        else score_blocks(q, from, scale, to, head, pair, 1);
    }
}

INLINE float largest_of(const float *scores, int64_t count, float top)
{
    _Pragma("omp simd reduction(max : top)")
    for (int64_t j = 0; j < count; j++) top = scores[j] > top ? scores[j] : top;
    return top;
}

INLINE float to_weights(float *scores, int64_t count, float top)
{
    float sum = 0;
    SUM(sum)
    for (int64_t j = 0; j < count; j++) sum += scores[j] = exponential(scores[j] - top);
    return sum;
}

/* LANE values from the `at`th on. */
INLINE Lane values_at(const void *values, int64_t at, const int half)
{
    if (!half) return *(const Lane *)((const float *)values + at);
    return (Lane)(__builtin_convertvector(*(const Halves *)((const Half *)values + at), Pairs) << 16);
}

/* What one or two heads see of `count` values, in `vectors` vectors from column d on, added up. */
INLINE void see(const float *const *weights, const void *values, int64_t count, int64_t d, int64_t padded,
                Lane sums[2][AHEAD], const int pair, const int vectors, const int half)
{
    for (int64_t j = 0; j < count; j++)
        for (int v = 0; v < vectors; v++) {
            Lane value = values_at(values, j * padded + d + v * LANE, half);
            for (int r = 0; r < pair; r++) sums[r][v] += weights[r][j] * value;
        }
}

INLINE void see_known(const Known known[2], float *const scores[2][2], const float *norms, float *const *seen,
                      int64_t head, int64_t d, const int pair, const int vectors, const int half)
{
    Lane sums[2][AHEAD];
    CLEAR(sums, pair, vectors)
    for (int i = 0; i < 2; i++)
        see((const float *const *)scores[i], known[i].values, known[i].count, d, lanes(head), sums, pair, vectors, half);
    for (int r = 0; r < pair; r++) {
        float all[AHEAD * LANE];
        for (int v = 0; v < vectors; v++) *(Lane *)(all + v * LANE) = sums[r][v] / norms[r];
        memcpy(seen[r] + d, all, (size_t)(head - d < vectors * LANE ? head - d : vectors * LANE) * sizeof *all);
    }
}

/* One or two query heads over a prompt and a response. */
INLINE void attend_heads(const float *q, const Known known[2], float *seen, float *scratch, int64_t prompt_room,
                         int64_t wide, int64_t head, const int pair, const int half)
{
    float scale = 1.0f / sqrtf((float)head), norms[2];
    const float *queries[2] = {q, q + head};
    float *to[2] = {seen, seen + head};
    float *scores[2][2] = {{scratch, scratch + wide}, {scratch + prompt_room, scratch + wide + prompt_room}};
    for (int i = 0; i < 2; i++) scores_of(queries, known + i, scale, scores[i], head, pair, half);
    for (int r = 0; r < pair; r++) {
        float top = largest_of(scores[1][r], known[1].count, largest_of(scores[0][r], known[0].count, -INFINITY));
        norms[r] = to_weights(scores[0][r], known[0].count, top);
        norms[r] += to_weights(scores[1][r], known[1].count, top);
    }
    int64_t vectors = lanes(head) / LANE, v = 0;
    for (; v < vectors; ) {
        int64_t d = v * LANE, left = vectors - v;
        if (left >= AHEAD) see_known(known, scores, norms, to, head, d, pair, AHEAD, half), v += AHEAD;
        else if (left >= 2) see_known(known, scores, norms, to, head, d, pair, 2, half), v += 2;
        else see_known(known, scores, norms, to, head, d, pair, 1, half), v++;
    }
}

/* Where head k of a prompt or of a response lies in a layer. */
INLINE Known known_of(float *keys, void *values, int64_t number, int64_t room, int64_t head, int64_t count,
                      const int half)
{
    int64_t bytes = half ? sizeof(Half) : sizeof(float);
    return (Known){keys + number * room * head, (char *)values + number * room * lanes(head) * bytes, count};
}

INLINE void keep_value(const float *value, void *values, int64_t at, int64_t head, const int half)
{
    float *full = (float *)values + at * lanes(head);
    Half *narrow = (Half *)values + at * lanes(head);
    if (half) { EACH for (int64_t d = 0; d < head; d++) narrow[d] = to_half(value[d]); }
    else memcpy(full, value, (size_t)head * sizeof *value);
}

/* Rotate a row's queries and keys, keep its keys and values, and attend. */
INLINE void look(const Model *m, const Layer *layer, const Memory *memory, int64_t number, const Place *at,
                 const float *qkv, float eps, const Work *w, float *seen, const int half)
{
    int64_t head = m->head, repeats = m->heads / m->kv, wide = memory->prompt_room + memory->room;
    const float *c = m->cosine + at->position * head + head / 2, *s = m->sine + at->position * head + head / 2;
    const float *key = qkv + m->heads * head, *value = key + m->kv * head;
    for (int64_t k = 0; k < m->kv; k++, key += head, value += head) {
        int64_t prompt = (number * memory->prompts + at->prompt) * m->kv + k;
        int64_t mine = (number * memory->slots + (at->slot < 0 ? 0 : at->slot)) * m->kv + k;
        Known known[2] = {
            known_of(memory->prompt_keys, memory->prompt_values, prompt, memory->prompt_room, head, at->prompt_seen,
                     half),
            known_of(memory->keys, memory->values, mine, memory->room, head, at->seen, half)};
        Known own = known[at->slot >= 0];
        turn(key, layer->norm_k, eps, c, s, w->queries, head);
        keep_key(w->queries, own.keys, own.count - 1, head);
        keep_value(value, own.values, own.count - 1, head, half);
        for (int64_t r = 0; r < repeats; r += 2, qkv += 2 * head, seen += 2 * head) {
            int pair = r + 2 <= repeats;
            turn(qkv, layer->norm_q, eps, c, s, w->queries, head);
            if (pair) turn(qkv + head, layer->norm_q, eps, c, s, w->queries + head, head);
            if (pair) attend_heads(w->queries, known, seen, w->scores, memory->prompt_room, wide, head, 2, half);
            else attend_heads(w->queries, known, seen, w->scores, memory->prompt_room, wide, head, 1, half);
        }
        if (repeats % 2) qkv -= head, seen -= head;
    }
}

/* Layers ------------------------------------------------------------------------------------------ */

/* What a product gave, with its bias, and of bfloat16's precision where its factors are. */
INLINE void round_up(float *y, const float *bias, int64_t half, int64_t outer)
{
    if (bias) { EACH for (int64_t i = 0; i < outer; i++) y[i] += bias[i]; }
    if (half) { EACH for (int64_t i = 0; i < outer; i++) y[i] = from_half(to_half(y[i])); }
}

/* `size` numbers of w->in as products take them. */
INLINE const char *factors_of(const Model *m, const Work *w, int64_t size)
{
    if (!m->half) return (const char *)w->in;
    EACH for (int64_t i = 0; i < size; i++) w->narrow[i] = to_half(w->in[i]);
    return (const char *)w->narrow;
}

/* w->out = w->in times the weight. */
INLINE void multiply(const Model *m, const Work *w, const void *weight, const float *bias, int64_t rows,
                     int64_t inner, int64_t outer)
{
    product(factors_of(m, w, rows * inner), weight, w->out, m->half, rows, inner, outer);
    for (int64_t n = 0; n < rows; n++) round_up(w->out + n * lanes(outer), bias, m->half, outer);
}

INLINE void add_out(const Work *w, int64_t rows, int64_t size)
{
    for (int64_t n = 0; n < rows; n++)
        EACH for (int64_t i = 0; i < size; i++) w->states[n * size + i] += w->out[n * lanes(size) + i];
}

INLINE void run_layer(const Model *m, float eps, const Memory *memory, const Work *w, int64_t number, int64_t rows)
{
    const Layer *layer = m->layer + number;
    int64_t hidden = m->hidden, seen = m->heads * m->head;
    rms(w->states, layer->norm_1, eps, w->in, NULL, rows, hidden);
    multiply(m, w, layer->qkv, layer->qkv_bias, rows, hidden, joined_of(m));
    for (int64_t n = 0; n < rows; n++) {
        const float *qkv = w->out + n * lanes(joined_of(m));
        if (m->half) look(m, layer, memory, number, w->places + n, qkv, eps, w, w->in + n * seen, 1);
        else look(m, layer, memory, number, w->places + n, qkv, eps, w, w->in + n * seen, 0);
    }
    multiply(m, w, layer->out, layer->out_bias, rows, seen, hidden);
    add_out(w, rows, hidden);
    rms(w->states, layer->norm_2, eps, w->in, NULL, rows, hidden);
    multiply(m, w, layer->gate_up, layer->gate_up_bias, rows, hidden, 2 * m->inner);
    for (int64_t n = 0; n < rows; n++) gated(w->out + n * lanes(2 * m->inner), w->in + n * m->inner, 1, m->inner);
    multiply(m, w, layer->down, layer->down_bias, rows, m->inner, hidden);
    add_out(w, rows, hidden);
}

INLINE void embed(const Model *m, int64_t token, float *state)
{
    const float *panel = (const float *)m->unembedding + token / LANE * LANE * m->hidden + token % LANE;
    if (m->embedding) memcpy(state, m->embedding + token * m->hidden, (size_t)m->hidden * sizeof *state);
    else for (int64_t i = 0; i < m->hidden; i++) state[i] = panel[i * LANE];
}

/* w->in [rows, hidden]: the normed final states of w->places. */
static void run(const Model *m, float eps, const Memory *memory, const Work *w, int64_t rows)
{
    for (int64_t n = 0; n < rows; n++) embed(m, w->places[n].token, w->states + n * m->hidden);
    for (int64_t number = 0; number < m->layers; number++) run_layer(m, eps, memory, w, number, rows);
    rms(w->states, m->norm, eps, w->in, NULL, rows, m->hidden);
}

/* Prompts and responses --------------------------------------------------------------------------- */

/* Read `rows` tokens of prompts, at most memory.rows at one time, each after those before it, and keep the final states
 * [rows, hidden]. */
void read_prompts(const int64_t *model, float eps, const int64_t *memory, const int64_t *places, float *states,
                  int64_t rows)
{
    const Model *m = (const Model *)model;
    Work w = work_of(m, (const Memory *)memory);
    memcpy(w.places, places, (size_t)rows * sizeof *w.places);
    run(m, eps, (const Memory *)memory, &w, rows);
    memcpy(states, w.in, (size_t)(rows * m->hidden) * sizeof *states);
}

/* logits [rows, lanes(vocabulary)] of final states, which are as products take them. */
void logits_of(const int64_t *model, const void *states, float *logits, int64_t rows)
{
    const Model *m = (const Model *)model;
    product(states, m->unembedding, logits, m->half, rows, m->hidden, m->vocabulary);
}

/* A token for each live slot, from w->in. */
INLINE void draw_all(const Model *m, const Work *w, Slot *slots, const int64_t *live, int64_t count, const Law *law,
                     int64_t most, int64_t *ids, float *logprobs)
{
    const char *states = factors_of(m, w, count * m->hidden);
    int64_t bytes = m->hidden * (int64_t)(m->half ? sizeof(Half) : sizeof(float)); /* of a row */
    for (int64_t first = 0; first < count; first += DRAWN) {
        int64_t rows = count - first < DRAWN ? count - first : DRAWN;
        product(states + first * bytes, m->unembedding, w->logits, m->half, rows, m->hidden, m->vocabulary);
        for (int64_t n = 0; n < rows; n++) {
            int64_t number = live[first + n];
            Slot *slot = slots + number;
            int64_t at = number * most + slot->drawn;
            const float *logits = w->logits + n * lanes(m->vocabulary);
            float point = uniform(slot->seed, slot->drawn++);
            slot->token = ids[at] = draw_one(logits, point, law, logprobs + at, w->masses, m->vocabulary);
        }
    }
}

/* Draw tokens for the live slots until one of them ends, or `steps` times. ids and logprobs [slots, most]; stops
 * [vocabulary]. told: the number of steps done, then that of responses that have ended, then their places in `live`. */
void decode(const int64_t *model, float eps, const int64_t *memory, int64_t *state, const int64_t *live,
            int64_t count, float temperature, float top_p, int64_t top_k, const uint8_t *stops, int64_t most,
            int64_t *ids, float *logprobs, int64_t steps, int64_t *told)
{
    const Model *m = (const Model *)model;
    Work w = work_of(m, (const Memory *)memory);
    Law law = {temperature, top_p, top_k};
    Slot *slots = (Slot *)state;
    for (told[0] = told[1] = 0; told[0] < steps && !told[1]; told[0]++) {
        for (int64_t n = 0; n < count; n++) {
            const Slot *s = slots + live[n];
            int64_t position = s->prompt_length + s->drawn - 1;
            w.places[n] = (Place){s->token, position, s->prompt, s->prompt_length, live[n], s->drawn};
        }
        run(m, eps, (const Memory *)memory, &w, count);
        draw_all(m, &w, slots, live, count, &law, most, ids, logprobs);
        for (int64_t n = 0; n < count; n++) {
            const Slot *s = slots + live[n];
            if (stops[s->token] || s->drawn >= most) told[2 + told[1]++] = n;
        }
    }
}
