/* A decoder-only model on one core: prefill of prompts, and decoding of responses token by token.
 *
 * The KV cache has rows for prompts, which the samples of a request share, and one response per slot. Keys lie in blocks of
 * VECTOR tokens, [capacity / VECTOR, head, VECTOR], so that the scores of VECTOR keys are one vector. Values are
 * [capacity, round_to_vectors(head)], bfloat16 where matrices are, since such a product gives no more precision. A token
 * attends to what is filled of its prompt and of its response, and to nothing else, so nothing has to be masked.
 *
 * No sum depends on the other rows of a step: a completion is the same bits whatever is decoded at the same time.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LOGIT_ROWS 64 /* rows whose logits exist at one time */
#define AHEAD 4       /* blocks of keys, or vectors of values, per pass of the attention */

/* Weights of a layer: packed matrices, and float32 biases and norms, which may be NULL. */
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

/* unembedding: packed. embedding [vocabulary, hidden]; NULL if it is the unembedding, in float32. cosine, sine
 * [positions, head]: RoPE tables. bf16: matrices are bfloat16. */
typedef struct {
    int64_t layers, hidden, inner, heads, kv, head, vocabulary, bf16;
    const Layer *layer;
    const void *unembedding;
    const float *embedding, *norm, *cosine, *sine;
} Model;

/* KV cache, per layer: `prompt_rows` prompts of `prompt_capacity` tokens, and `slots` responses of `response_capacity`
 * tokens; capacities are multiples of VECTOR. scratch: as many floats as `scratch_size` says for steps of `rows` tokens. */
typedef struct {
    float *prompt_keys, *keys, *scratch;
    void *prompt_values, *values;
    int64_t prompt_rows, prompt_capacity, slots, response_capacity, rows;
} Memory;

/* A token of a step. It attends to `prompt_length` tokens of its prompt and `response_length` tokens of its response, itself
 * included. slot: -1 for a token of a prompt. */
typedef struct { int64_t token, position, prompt_row, prompt_length, slot, response_length; } Row;

/* Sampling parameters. stops [vocabulary]: 1 for the tokens that end a response. */
typedef struct {
    double temperature, top_p;
    int64_t top_k, max_tokens;
    const uint8_t *stops;
} Params;

/* A response: its last token, how many tokens it has, its seed, its prompt, and the index of its sampling parameters. */
typedef struct { int64_t token, drawn, seed, prompt_row, prompt_length, params; } Slot;

/* Buffers of a step; `size` is how many floats they take. */
typedef struct {
    float *states, *in, *out, *queries, *scores, *logits, *masses;
    Bfloat16 *narrow;
    Row *rows;
    int64_t size;
} Scratch;

INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Columns of the QKV projection. */
INLINE int64_t qkv_size(const Model *m) { return (m->heads + 2 * m->kv) * m->head; }

/* The buffers within memory->scratch. */
static Scratch scratch_of(const Model *m, const Memory *memory)
{
    int64_t in = larger(m->heads * m->head, larger(m->hidden, m->inner));
    int64_t out = larger(qkv_size(m), larger(2 * m->inner, m->hidden)), rows = memory->rows;
    int64_t row_floats = rows * (int64_t)(sizeof(Row) / sizeof(float));
    /* in the order of the structure; bfloat16 numbers take half a float each */
    int64_t sizes[] = {rows * m->hidden, rows * in, rows * round_to_vectors(out), 2 * m->head,
                       2 * (memory->prompt_capacity + memory->response_capacity),
                       LOGIT_ROWS * round_to_vectors(m->vocabulary), 3 * m->vocabulary, rows * in / 2, row_floats};
    float *at[9], *next = memory->scratch;
    for (int i = 0; i < 9; i++) at[i] = next, next += round_to_vectors(sizes[i]);
    return (Scratch){at[0], at[1], at[2], at[3], at[4], at[5], at[6], (Bfloat16 *)at[7], (Row *)at[8],
                     next - memory->scratch};
}

/* Store in `size` how many floats of scratch memory a step takes. */
void scratch_size(const int64_t *model, const int64_t *memory, int64_t *size)
{
    *size = scratch_of((const Model *)model, (const Memory *)memory).size;
}

/* Attention --------------------------------------------------------------------------------------- */

/* Write one head of a key as token `at` of a row of the cache. */
INLINE void write_key(const float *key, float *keys, int64_t at, int64_t head)
{
    float *to = keys + at / VECTOR * VECTOR * head + at % VECTOR;
    for (int64_t d = 0; d < head; d++) to[d * VECTOR] = key[d];
}

/* Scores of `blocks` blocks of keys for one query head, or for two that share the keys. */
INLINE void score_blocks(const float *const *q, const float *keys, float scale, float *const *scores, int64_t head,
                         const int pair, const int blocks)
{
    Vector sums[2][AHEAD];
    CLEAR(sums, pair, blocks)
    for (int64_t d = 0; d < head; d++)
        for (int b = 0; b < blocks; b++) {
            Vector key = *(const Vector *)(keys + (b * head + d) * VECTOR);
            for (int r = 0; r < pair; r++) sums[r][b] += q[r][d] * key;
        }
    for (int r = 0; r < pair; r++)
        for (int b = 0; b < blocks; b++) *(Vector *)(scores[r] + b * VECTOR) = sums[r][b] * scale;
}

/* One KV head of a prompt or of a response: keys, values and the number of its tokens. */
typedef struct { float *keys; void *values; int64_t count; } KvHead;

/* Scores of all keys for one or two query heads. The last block may reach past the last token; what is scored there is not
 * read. Values are prefetched meanwhile, since in most steps they are not in the core's cache. */
INLINE void score_keys(const float *const *q, const KvHead *cached, float scale, float *const *scores, int64_t head,
                       const int pair, const int bf16)
{
    int64_t blocks = (cached->count + VECTOR - 1) / VECTOR, step;
    int64_t bytes = VECTOR * round_to_vectors(head) * (bf16 ? sizeof(Bfloat16) : sizeof(float)); /* per block */
    for (int64_t b = 0; b < blocks; b += step) {
        float *to[2] = {scores[0] + b * VECTOR, scores[1] + b * VECTOR};
        const float *from = cached->keys + b * VECTOR * head;
        step = b + AHEAD <= blocks ? AHEAD : 1;
        for (int64_t i = b * bytes; i < (b + step) * bytes; i += 64)
            __builtin_prefetch((const char *)cached->values + i);
        if (step == AHEAD) score_blocks(q, from, scale, to, head, pair, AHEAD);
        else score_blocks(q, from, scale, to, head, pair, 1);
    }
}

INLINE float largest_score(const float *scores, int64_t count, float top)
{
    _Pragma("omp simd reduction(max : top)")
    for (int64_t j = 0; j < count; j++) top = scores[j] > top ? scores[j] : top;
    return top;
}

/* Turn scores into softmax weights that are not yet normalised; return their sum. */
INLINE float softmax_weights(float *scores, int64_t count, float top)
{
    float sum = 0;
    SUM(sum)
    for (int64_t j = 0; j < count; j++) sum += scores[j] = exponential(scores[j] - top);
    return sum;
}

/* VECTOR values from element `at` on. */
INLINE Vector load_values(const void *values, int64_t at, const int bf16)
{
    if (!bf16) return *(const Vector *)((const float *)values + at);
    return (Vector)(__builtin_convertvector(*(const Bfloat16s *)((const Bfloat16 *)values + at), Pairs) << 16);
}

/* Add the weighted sum of `count` values, `vectors` vectors from column d on, to the sums of one or two heads. */
INLINE void add_values(const float *const *weights, const void *values, int64_t count, int64_t d, int64_t padded_head,
                       Vector sums[2][AHEAD], const int pair, const int vectors, const int bf16)
{
    for (int64_t j = 0; j < count; j++)
        for (int v = 0; v < vectors; v++) {
            Vector value = load_values(values, j * padded_head + d + v * VECTOR, bf16);
            for (int r = 0; r < pair; r++) sums[r][v] += weights[r][j] * value;
        }
}

/* `vectors` vectors, from column d on, of the attention output over prompt and response. */
INLINE void attend_columns(const KvHead cached[2], float *const weights[2][2], const float *norms, float *const *attended,
                           int64_t head, int64_t d, const int pair, const int vectors, const int bf16)
{
    Vector sums[2][AHEAD];
    CLEAR(sums, pair, vectors)
    for (int i = 0; i < 2; i++)
        add_values((const float *const *)weights[i], cached[i].values, cached[i].count, d, round_to_vectors(head), sums,
                   pair, vectors, bf16);
    for (int r = 0; r < pair; r++) {
        float all[AHEAD * VECTOR];
        for (int v = 0; v < vectors; v++) *(Vector *)(all + v * VECTOR) = sums[r][v] / norms[r];
        /* the last vector may reach past the head */
        memcpy(attended[r] + d, all, (size_t)(head - d < vectors * VECTOR ? head - d : vectors * VECTOR) * sizeof *all);
    }
}

/* Attention of one query head, or of two that share a KV head, over a prompt (0) and a response (1). */
INLINE void attend_heads(const float *q, const KvHead cached[2], float *attended, float *scratch,
                         int64_t prompt_capacity, int64_t capacity, int64_t head, const int pair, const int bf16)
{
    float scale = 1.0f / sqrtf((float)head), norms[2];
    const float *queries[2] = {q, q + head};
    float *to[2] = {attended, attended + head};
    float *scores[2][2] = {{scratch, scratch + capacity},
                           {scratch + prompt_capacity, scratch + capacity + prompt_capacity}};
    for (int i = 0; i < 2; i++) score_keys(queries, cached + i, scale, scores[i], head, pair, bf16);
    /* one softmax over both */
    for (int r = 0; r < pair; r++) {
        float top = largest_score(scores[1][r], cached[1].count, largest_score(scores[0][r], cached[0].count, -INFINITY));
        norms[r] = softmax_weights(scores[0][r], cached[0].count, top);
        norms[r] += softmax_weights(scores[1][r], cached[1].count, top);
    }
    /* columns in passes of 4, 2 and 1 vectors: sizes known to the compiler keep the sums in registers */
    int64_t vectors = round_to_vectors(head) / VECTOR, v = 0;
    for (; v < vectors; ) {
        int64_t d = v * VECTOR, left = vectors - v;
        if (left >= AHEAD) attend_columns(cached, scores, norms, to, head, d, pair, AHEAD, bf16), v += AHEAD;
        else if (left >= 2) attend_columns(cached, scores, norms, to, head, d, pair, 2, bf16), v += 2;
        else attend_columns(cached, scores, norms, to, head, d, pair, 1, bf16), v++;
    }
}

/* Head `number` of the keys and values of a layer, of which `count` tokens are attended to. */
INLINE KvHead kv_head(float *keys, void *values, int64_t number, int64_t capacity, int64_t head, int64_t count,
                      const int bf16)
{
    int64_t bytes = bf16 ? sizeof(Bfloat16) : sizeof(float);
    return (KvHead){keys + number * capacity * head,
                    (char *)values + number * capacity * round_to_vectors(head) * bytes, count};
}

/* Write one head of a value as token `at` of a row of the cache. */
INLINE void write_value(const float *value, void *values, int64_t at, int64_t head, const int bf16)
{
    float *full = (float *)values + at * round_to_vectors(head);
    Bfloat16 *narrow = (Bfloat16 *)values + at * round_to_vectors(head);
    if (bf16) { EACH for (int64_t d = 0; d < head; d++) narrow[d] = to_bfloat16(value[d]); }
    else memcpy(full, value, (size_t)head * sizeof *value);
}

/* RoPE, write into the KV cache, and attention for one token of a step, in layer `number`. */
INLINE void attend_row(const Model *m, const Layer *layer, const Memory *memory, int64_t number, const Row *row,
                       const float *qkv, float eps, const Scratch *w, float *attended, const int bf16)
{
    int64_t head = m->head, repeats = m->heads / m->kv, capacity = memory->prompt_capacity + memory->response_capacity;
    const float *c = m->cosine + row->position * head + head / 2, *s = m->sine + row->position * head + head / 2;
    const float *key = qkv + m->heads * head, *value = key + m->kv * head;
    for (int64_t k = 0; k < m->kv; k++, key += head, value += head) {
        int64_t prompt = (number * memory->prompt_rows + row->prompt_row) * m->kv + k;
        int64_t response = (number * memory->slots + (row->slot < 0 ? 0 : row->slot)) * m->kv + k;
        KvHead cached[2] = {
            kv_head(memory->prompt_keys, memory->prompt_values, prompt, memory->prompt_capacity, head,
                    row->prompt_length, bf16),
            kv_head(memory->keys, memory->values, response, memory->response_capacity, head, row->response_length,
                    bf16)};
        /* the token's own key and value come first: it attends to itself too */
        KvHead own = cached[row->slot >= 0];
        rope(key, layer->norm_k, eps, c, s, w->queries, head);
        write_key(w->queries, own.keys, own.count - 1, head);
        write_value(value, own.values, own.count - 1, head, bf16);
        /* query heads of this KV head in pairs, so that each key and value is loaded once for two */
        for (int64_t r = 0; r < repeats; r += 2, qkv += 2 * head, attended += 2 * head) {
            int pair = r + 2 <= repeats;
            rope(qkv, layer->norm_q, eps, c, s, w->queries, head);
            if (pair) rope(qkv + head, layer->norm_q, eps, c, s, w->queries + head, head);
            if (pair) attend_heads(w->queries, cached, attended, w->scores, memory->prompt_capacity, capacity, head, 2, bf16);
            else attend_heads(w->queries, cached, attended, w->scores, memory->prompt_capacity, capacity, head, 1, bf16);
        }
        if (repeats % 2) qkv -= head, attended -= head;
    }
}

/* Layers ------------------------------------------------------------------------------------------ */

/* Add the bias to the result of a product, and round to bfloat16 where the factors are. */
INLINE void finish_product(float *y, const float *bias, int64_t bf16, int64_t outer)
{
    if (bias) { EACH for (int64_t i = 0; i < outer; i++) y[i] += bias[i]; }
    if (bf16) { EACH for (int64_t i = 0; i < outer; i++) y[i] = from_bfloat16(to_bfloat16(y[i])); }
}

/* `size` numbers of w->in in the dtype of the products. */
INLINE const char *as_factors(const Model *m, const Scratch *w, int64_t size)
{
    if (!m->bf16) return (const char *)w->in;
    EACH for (int64_t i = 0; i < size; i++) w->narrow[i] = to_bfloat16(w->in[i]);
    return (const char *)w->narrow;
}

/* w->out [rows, round_to_vectors(outer)] = w->in [rows, inner] times the weight, plus the bias. */
INLINE void multiply(const Model *m, const Scratch *w, const void *weight, const float *bias, int64_t rows,
                     int64_t inner, int64_t outer)
{
    matmul(as_factors(m, w, rows * inner), weight, w->out, m->bf16, rows, inner, outer);
    for (int64_t n = 0; n < rows; n++) finish_product(w->out + n * round_to_vectors(outer), bias, m->bf16, outer);
}

/* The residual: w->states += w->out. */
INLINE void add_out(const Scratch *w, int64_t rows, int64_t size)
{
    for (int64_t n = 0; n < rows; n++)
        EACH for (int64_t i = 0; i < size; i++) w->states[n * size + i] += w->out[n * round_to_vectors(size) + i];
}

INLINE void run_layer(const Model *m, float eps, const Memory *memory, const Scratch *w, int64_t number, int64_t rows)
{
    const Layer *layer = m->layer + number;
    int64_t hidden = m->hidden, attended = m->heads * m->head;
    /* norm and QKV projection */
    rms(w->states, layer->norm_1, eps, w->in, NULL, rows, hidden);
    multiply(m, w, layer->qkv, layer->qkv_bias, rows, hidden, qkv_size(m));
    /* Attention token by token and in order: a token of a prompt attends to the keys that those before it have written. */
    for (int64_t n = 0; n < rows; n++) {
        const float *qkv = w->out + n * round_to_vectors(qkv_size(m));
        if (m->bf16) attend_row(m, layer, memory, number, w->rows + n, qkv, eps, w, w->in + n * attended, 1);
        else attend_row(m, layer, memory, number, w->rows + n, qkv, eps, w, w->in + n * attended, 0);
    }
    multiply(m, w, layer->out, layer->out_bias, rows, attended, hidden);
    add_out(w, rows, hidden);
    /* MLP */
    rms(w->states, layer->norm_2, eps, w->in, NULL, rows, hidden);
    multiply(m, w, layer->gate_up, layer->gate_up_bias, rows, hidden, 2 * m->inner);
    for (int64_t n = 0; n < rows; n++)
        swiglu(w->out + n * round_to_vectors(2 * m->inner), w->in + n * m->inner, 1, m->inner);
    multiply(m, w, layer->down, layer->down_bias, rows, m->inner, hidden);
    add_out(w, rows, hidden);
}

/* A row of the embedding table; where it is the packed unembedding, its numbers lie VECTOR apart. */
INLINE void embed(const Model *m, int64_t token, float *state)
{
    const float *panel = (const float *)m->unembedding + token / VECTOR * VECTOR * m->hidden + token % VECTOR;
    if (m->embedding) memcpy(state, m->embedding + token * m->hidden, (size_t)m->hidden * sizeof *state);
    else for (int64_t i = 0; i < m->hidden; i++) state[i] = panel[i * VECTOR];
}

/* w->in [rows, hidden] = final hidden states of w->rows, after the last norm. */
static void run_model(const Model *m, float eps, const Memory *memory, const Scratch *w, int64_t rows)
{
    for (int64_t n = 0; n < rows; n++) embed(m, w->rows[n].token, w->states + n * m->hidden);
    for (int64_t number = 0; number < m->layers; number++) run_layer(m, eps, memory, w, number, rows);
    rms(w->states, m->norm, eps, w->in, NULL, rows, m->hidden);
}

/* Prefill and decoding ---------------------------------------------------------------------------- */

/* Read `count` tokens of prompts, at most memory.rows, each after those before it in its prompt, and store their final
 * hidden states [count, hidden]. rows: structures `Row`. */
void read_prompts(const int64_t *model, float eps, const int64_t *memory, const int64_t *rows, float *states,
                  int64_t count)
{
    const Model *m = (const Model *)model;
    Scratch w = scratch_of(m, (const Memory *)memory);
    memcpy(w.rows, rows, (size_t)count * sizeof *w.rows);
    run_model(m, eps, (const Memory *)memory, &w, count);
    memcpy(states, w.in, (size_t)(count * m->hidden) * sizeof *states);
}

/* logits [rows, round_to_vectors(vocabulary)] of final hidden states in the dtype of the products. */
void head_logits(const int64_t *model, const void *states, float *logits, int64_t rows)
{
    const Model *m = (const Model *)model;
    matmul(states, m->unembedding, logits, m->bf16, rows, m->hidden, m->vocabulary);
}

/* Draw a token for each live slot from w->in, each under its own sampling parameters. */
INLINE void draw_tokens(const Model *m, const Scratch *w, Slot *slots, const Params *params, const int64_t *live,
                        int64_t count, int64_t stride, int64_t *ids, float *logprobs)
{
    const char *states = as_factors(m, w, count * m->hidden);
    int64_t bytes = m->hidden * (int64_t)(m->bf16 ? sizeof(Bfloat16) : sizeof(float)); /* per row */
    for (int64_t first = 0; first < count; first += LOGIT_ROWS) {
        int64_t rows = count - first < LOGIT_ROWS ? count - first : LOGIT_ROWS;
        matmul(states + first * bytes, m->unembedding, w->logits, m->bf16, rows, m->hidden, m->vocabulary);
        for (int64_t n = 0; n < rows; n++) {
            int64_t number = live[first + n];
            Slot *slot = slots + number;
            const Params *p = params + slot->params;
            DrawParams draw_params = {(float)p->temperature, (float)p->top_p, p->top_k};
            int64_t at = number * stride + slot->drawn;
            const float *row = w->logits + n * round_to_vectors(m->vocabulary);
            /* the random number depends on the sample and the token's index alone */
            float point = uniform(slot->seed, slot->drawn++);
            slot->token = ids[at] = draw_one(row, point, &draw_params, logprobs + at, w->masses, m->vocabulary);
        }
    }
}

/* Decode the live slots until one of them ends, for at most `steps` steps.
 *
 * slots: structures `Slot`; params: structures `Params`; live [count]: indices of slots. ids and logprobs [slots, stride]:
 * the responses. progress: the number of steps done, then that of responses that have ended, then their positions in
 * `live`. */
void decode(const int64_t *model, float eps, const int64_t *memory, int64_t *slots, const int64_t *params,
            const int64_t *live, int64_t count, int64_t stride, int64_t *ids, float *logprobs, int64_t steps,
            int64_t *progress)
{
    const Model *m = (const Model *)model;
    Scratch w = scratch_of(m, (const Memory *)memory);
    Slot *responses = (Slot *)slots;
    for (progress[0] = progress[1] = 0; progress[0] < steps && !progress[1]; progress[0]++) {
        /* each slot reads the token it drew last, which is not in its cache yet */
        for (int64_t n = 0; n < count; n++) {
            const Slot *s = responses + live[n];
            int64_t position = s->prompt_length + s->drawn - 1;
            w.rows[n] = (Row){s->token, position, s->prompt_row, s->prompt_length, live[n], s->drawn};
        }
        run_model(m, eps, (const Memory *)memory, &w, count);
        draw_tokens(m, &w, responses, (const Params *)params, live, count, stride, ids, logprobs);
        for (int64_t n = 0; n < count; n++) {
            const Slot *s = responses + live[n];
            const Params *p = (const Params *)params + s->params;
            if (p->stops[s->token] || s->drawn >= p->max_tokens) progress[2 + progress[1]++] = n;
        }
    }
}
