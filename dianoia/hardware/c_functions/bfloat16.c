/* The work of a decoder layer between bfloat16 products: the functions of layers.c, where what enters and leaves a product is
 * bfloat16, that is the upper half of a float32, rounded to nearest even. Sums, norms, RoPE and the residual stream are float32.
 */
#include <stdint.h>

typedef uint16_t Bfloat16;

INLINE float from_bfloat16(Bfloat16 x)
{
    union { uint32_t bits; float value; } all = {(uint32_t)x << 16};
    return all.value;
}

INLINE Bfloat16 to_bfloat16(float x)
{
    union { float value; uint32_t bits; } all = {x};
    /* to nearest, ties to even */
    uint32_t rounded = (all.bits + 0x7FFFu + ((all.bits >> 16) & 1u)) >> 16;
    return (Bfloat16)(x != x ? 0x7FC0u : rounded); /* rounding could turn a NaN into an infinity */
}

INLINE void load_bfloat16(const Bfloat16 *from, float *to, int64_t size)
{
    EACH for (int64_t i = 0; i < size; i++) to[i] = from_bfloat16(from[i]);
}

/* y = x + more; normed = y / rms(y) * weight; `inverse` [rows] = 1 / rms(y). Where `more` is NULL, y is x and not written. */
void add_rms_bfloat16(const float *x, const Bfloat16 *more, const float *weight, float eps, float *y, Bfloat16 *normed,
                  float *inverse, int64_t rows, int64_t size)
{
    for (int64_t n = 0; n < rows; n++, x += size, normed += size) {
        const float *sum = x;
        if (more) {
            EACH for (int64_t i = 0; i < size; i++) y[i] = x[i] + from_bfloat16(more[i]);
            sum = y, y += size, more += size;
        }
        float r = inverse_rms(sum, size, eps);
        inverse[n] = r;
        EACH for (int64_t i = 0; i < size; i++) normed[i] = to_bfloat16(sum[i] * r * weight[i]);
    }
}

/* dx = dresidual + the gradient of the norm, in float32 and in bfloat16. Adds to dweight, which must begin at zero. */
void rms_backward_bfloat16(const float *x, const float *weight, const float *inverse, const Bfloat16 *dy,
                       const float *dresidual, float *dx, Bfloat16 *dx_rounded, float *dweight, int64_t rows, int64_t size)
{
    for (int64_t n = 0; n < rows; n++, x += size, dy += size, dx += size, dx_rounded += size, dresidual += size) {
        load_bfloat16(dy, dx, size);
        rms_gradient(x, weight, inverse[n], dx, dx, dweight, size);
        EACH for (int64_t i = 0; i < size; i++) dx[i] += dresidual[i];
        EACH for (int64_t i = 0; i < size; i++) dx_rounded[i] = to_bfloat16(dx[i]);
    }
}

/* Norm and RoPE of queries and keys, from `qkv` [rows, heads + 2 kv, head], and values in float32. scratch: `head` numbers. */
void rope_qkv_bfloat16(const Bfloat16 *qkv, const float *norm_q, const float *norm_k, float eps, const float *cosine,
                 const float *sine, float *queries, float *keys, float *values, float *scratch, int64_t rows,
                 int64_t heads, int64_t kv, int64_t head)
{
    for (int64_t n = 0; n < rows; n++) {
        const float *c = cosine + n * head + head / 2, *s = sine + n * head + head / 2;
        for (int64_t h = 0; h < heads; h++, qkv += head, queries += head) {
            load_bfloat16(qkv, scratch, head);
            rope(scratch, norm_q, eps, c, s, queries, head);
        }
        for (int64_t k = 0; k < kv; k++, qkv += head, keys += head) {
            load_bfloat16(qkv, scratch, head);
            rope(scratch, norm_k, eps, c, s, keys, head);
        }
        load_bfloat16(qkv, values, kv * head);
        qkv += kv * head, values += kv * head;
    }
}

INLINE void rope_backward_bfloat16(const Bfloat16 *x, const float *norm, float eps, const float *c, const float *s,
                           const float *dy, Bfloat16 *dx, float *dnorm, float *scratch, int64_t head)
{
    float *back = scratch + head;
    load_bfloat16(x, scratch, head);
    rope_backward(scratch, norm, eps, c, s, dy, back, dnorm, head);
    EACH for (int64_t i = 0; i < head; i++) dx[i] = to_bfloat16(back[i]);
}

/* Gradient of `rope_qkv_bfloat16`, for `dqkv` in the layout of `qkv`; dnorm_q, dnorm_k begin at zero. scratch: 2 head. */
void rope_qkv_backward_bfloat16(const Bfloat16 *qkv, const float *norm_q, const float *norm_k, float eps, const float *cosine,
                          const float *sine, const float *dqueries, const float *dkeys, const float *dvalues,
                          Bfloat16 *dqkv, float *dnorm_q, float *dnorm_k, float *scratch, int64_t rows, int64_t heads,
                          int64_t kv, int64_t head)
{
    for (int64_t n = 0; n < rows; n++) {
        const float *c = cosine + n * head + head / 2, *s = sine + n * head + head / 2;
        for (int64_t h = 0; h < heads; h++, qkv += head, dqkv += head, dqueries += head)
            rope_backward_bfloat16(qkv, norm_q, eps, c, s, dqueries, dqkv, dnorm_q, scratch, head);
        for (int64_t k = 0; k < kv; k++, qkv += head, dqkv += head, dkeys += head)
            rope_backward_bfloat16(qkv, norm_k, eps, c, s, dkeys, dqkv, dnorm_k, scratch, head);
        EACH for (int64_t i = 0; i < kv * head; i++) dqkv[i] = to_bfloat16(dvalues[i]);
        qkv += kv * head, dqkv += kv * head, dvalues += kv * head;
    }
}

/* SwiGLU: y = silu(gate) up, from gate and up in `both` [rows, 2 inner]. */
void swiglu_bfloat16(const Bfloat16 *both, Bfloat16 *y, int64_t rows, int64_t inner)
{
    for (int64_t n = 0; n < rows; n++, both += 2 * inner, y += inner)
        EACH for (int64_t i = 0; i < inner; i++) {
            float gate = from_bfloat16(both[i]);
            y[i] = to_bfloat16(gate / (1.0f + exponential(-gate)) * from_bfloat16(both[inner + i]));
        }
}

/* Gradient of `swiglu_bfloat16`, in the layout of `both`. */
void swiglu_backward_bfloat16(const Bfloat16 *both, const Bfloat16 *dy, Bfloat16 *dboth, int64_t rows, int64_t inner)
{
    for (int64_t n = 0; n < rows; n++, both += 2 * inner, dboth += 2 * inner, dy += inner)
        EACH for (int64_t i = 0; i < inner; i++) {
            float gate = from_bfloat16(both[i]), open = 1.0f / (1.0f + exponential(-gate)), pull = from_bfloat16(dy[i]);
            dboth[inner + i] = to_bfloat16(pull * gate * open);
            dboth[i] = to_bfloat16(pull * from_bfloat16(both[inner + i]) * open * (1.0f + gate * (1.0f - open)));
        }
}
