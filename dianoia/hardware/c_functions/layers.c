/* The work of a decoder layer between its matrix products, each part in one pass over memory. Float32.
 *
 * Every function works on `rows` contiguous rows with the one thread that calls it, in a fixed order, so the results are the
 * same bits every time. `norm` pointers may be NULL where a model has no such norm. Gradients have the prefix `d`.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define EACH _Pragma("omp simd")
#define SUM(s) _Pragma(SUM_(omp simd reduction(+ : s)))
#define SUM_(text) #text
#define INLINE static inline __attribute__((always_inline))

/* Bounds of the argument of exp. They are variables and not constants: with constants GCC also computes, for every number,
 * what follows for the bounds themselves, and x / (1 + e^88) is a denormal, which takes a hundred cycles. */
float exp_lowest = -87.0f, exp_highest = 88.0f;

/* exp with an error of about two units in the last place, in a form that compilers vectorise (polynomial of Cephes).
 *
 * x = whole log 2 + r, so exp(x) = 2^whole exp(r); log 2 is subtracted in two parts, which keeps r exact. */
INLINE float exponential(float x)
{
    x = x < exp_lowest ? exp_lowest : x > exp_highest ? exp_highest : x; /* not fminf: a NaN stays one */
    float whole = x * 1.44269504088896341f + 12582912.0f - 12582912.0f; /* adding 1.5 2^23 rounds to an integer */
    float r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t bits; float scale; } power = {((int32_t)whole + 127) << 23}; /* 2^whole by its exponent bits */
    return p * power.scale;
}

/* RMS norm ---------------------------------------------------------------------------------------- */

INLINE float inverse_rms(const float *x, int64_t size, float eps)
{
    float sum = 0;
    SUM(sum)
    for (int64_t i = 0; i < size; i++) sum += x[i] * x[i];
    return 1.0f / sqrtf(sum / (float)size + eps);
}

/* y = x / rms(x) * weight; `inverse` [rows], if not NULL, receives 1 / rms. */
void rms(const float *x, const float *weight, float eps, float *y, float *inverse, int64_t rows, int64_t size)
{
    for (int64_t n = 0; n < rows; n++, x += size, y += size) {
        float r = inverse_rms(x, size, eps);
        if (inverse) inverse[n] = r;
        EACH for (int64_t i = 0; i < size; i++) y[i] = x[i] * r * weight[i];
    }
}

/* Gradient of the norm of one row: from `dy` to `dx`, which may be the same memory; adds to `dweight`. */
INLINE void rms_gradient(const float *x, const float *weight, float r, const float *dy, float *dx, float *dweight,
                     int64_t size)
{
    float dot = 0;
    SUM(dot)
    for (int64_t i = 0; i < size; i++) dot += dy[i] * weight[i] * x[i];
    float share = dot * r * r / (float)size;
    EACH for (int64_t i = 0; i < size; i++) {
        float d = dy[i];
        dweight[i] += d * x[i] * r;
        dx[i] = r * (d * weight[i] - x[i] * share);
    }
}

/* dx = dresidual + the gradient of `rms`. Adds to dweight, which must begin at zero. */
void rms_backward(const float *x, const float *weight, const float *inverse, const float *dy,
                  const float *dresidual, float *dx, float *dweight, int64_t rows, int64_t size)
{
    for (int64_t n = 0; n < rows; n++, x += size, dy += size, dx += size, dresidual += size) {
        rms_gradient(x, weight, inverse[n], dy, dx, dweight, size);
        EACH for (int64_t i = 0; i < size; i++) dx[i] += dresidual[i];
    }
}

/* Queries, keys, values --------------------------------------------------------------------------- */

/* RoPE of one head, after its norm if it has one. cosine, sine [head / 2]: of the angles of its position. */
INLINE void rope(const float *x, const float *norm, float eps, const float *cosine, const float *sine, float *y,
                 int64_t head)
{
    int64_t half = head / 2;
    float r = norm ? inverse_rms(x, head, eps) : 1.0f;
    EACH for (int64_t i = 0; i < half; i++) {
        float left = x[i] * r * (norm ? norm[i] : 1.0f);
        float right = x[i + half] * r * (norm ? norm[i + half] : 1.0f);
        y[i] = left * cosine[i] - right * sine[i];
        y[i + half] = right * cosine[i] + left * sine[i];
    }
}

/* Norm and RoPE of queries and keys, from `qkv` [rows, heads + 2 kv, head]; values stay where they are. `cosine` and `sine`
 * are [rows, head]. Their second half is read: in the sampler's tables the first half of the sine is negated. */
void rope_qkv(const float *qkv, const float *norm_q, const float *norm_k, float eps, const float *cosine,
            const float *sine, float *queries, float *keys, int64_t rows, int64_t heads, int64_t kv, int64_t head)
{
    for (int64_t n = 0; n < rows; n++, qkv += kv * head) {
        const float *c = cosine + n * head + head / 2, *s = sine + n * head + head / 2;
        for (int64_t h = 0; h < heads; h++, qkv += head, queries += head)
            rope(qkv, norm_q, eps, c, s, queries, head);
        for (int64_t k = 0; k < kv; k++, qkv += head, keys += head) rope(qkv, norm_k, eps, c, s, keys, head);
    }
}

/* Gradient of `rope`: rotate `dy` back, then the gradient of the norm. */
INLINE void rope_backward(const float *x, const float *norm, float eps, const float *c, const float *s,
                      const float *dy, float *dx, float *dnorm, int64_t head)
{
    int64_t half = head / 2;
    EACH for (int64_t i = 0; i < half; i++) {
        float left = dy[i], right = dy[i + half];
        dx[i] = left * c[i] + right * s[i];
        dx[i + half] = right * c[i] - left * s[i];
    }
    if (norm) rms_gradient(x, norm, inverse_rms(x, head, eps), dx, dx, dnorm, head);
}

/* Gradient of `rope_qkv`: fills `dqkv` in the layout of `qkv`; adds to dnorm_q and dnorm_k, which must begin at zero. */
void rope_qkv_backward(const float *qkv, const float *norm_q, const float *norm_k, float eps, const float *cosine,
                     const float *sine, const float *dqueries, const float *dkeys, const float *dvalues,
                     float *dqkv, float *dnorm_q, float *dnorm_k, int64_t rows, int64_t heads, int64_t kv,
                     int64_t head)
{
    for (int64_t n = 0; n < rows; n++) {
        const float *c = cosine + n * head + head / 2, *s = sine + n * head + head / 2;
        for (int64_t h = 0; h < heads; h++, qkv += head, dqkv += head, dqueries += head)
            rope_backward(qkv, norm_q, eps, c, s, dqueries, dqkv, dnorm_q, head);
        for (int64_t k = 0; k < kv; k++, qkv += head, dqkv += head, dkeys += head)
            rope_backward(qkv, norm_k, eps, c, s, dkeys, dqkv, dnorm_k, head);
        memcpy(dqkv, dvalues, (size_t)(kv * head) * sizeof *dqkv);
        qkv += kv * head, dqkv += kv * head, dvalues += kv * head;
    }
}

/* Feed-forward ------------------------------------------------------------------------------------ */

/* SwiGLU: y = silu(gate) up, from gate and up in `both` [rows, 2 inner]. */
void swiglu(const float *both, float *y, int64_t rows, int64_t inner)
{
    for (int64_t n = 0; n < rows; n++, both += 2 * inner, y += inner)
        EACH for (int64_t i = 0; i < inner; i++)
            y[i] = both[i] / (1.0f + exponential(-both[i])) * both[inner + i];
}

/* Gradient of `swiglu`: fills `dboth` in the layout of `both`. */
void swiglu_backward(const float *both, const float *dy, float *dboth, int64_t rows, int64_t inner)
{
    for (int64_t n = 0; n < rows; n++, both += 2 * inner, dboth += 2 * inner, dy += inner)
        EACH for (int64_t i = 0; i < inner; i++) {
            float gate = both[i], open = 1.0f / (1.0f + exponential(-gate));
            dboth[inner + i] = dy[i] * gate * open;
            dboth[i] = dy[i] * both[inner + i] * open * (1.0f + gate * (1.0f - open));
        }
}

/* Head -------------------------------------------------------------------------------------------- */

/* Scores of one row: see `score`. One pass for the maximum, one for the sums; the entropy is log(sum) minus the mean of the
 * scaled logits. An impossible token (minus infinity) has weight 0, and 0 times minus infinity must not become a NaN. */
INLINE void score_row(const float *logits, int64_t id, float scale, float *normal, float *logprob, float *entropy,
                      int64_t vocabulary)
{
    float top = -INFINITY, sum = 0, mean = 0;
    _Pragma("omp simd reduction(max : top)")
    for (int64_t i = 0; i < vocabulary; i++) top = logits[i] > top ? logits[i] : top;
    _Pragma("omp simd reduction(+ : sum, mean)")
    for (int64_t i = 0; i < vocabulary; i++) {
        float below = (logits[i] - top) * scale, weight = exponential(below);
        sum += weight;
        mean += weight * (below < -1e30f ? -1e30f : below);
    }
    float log_sum = logf(sum);
    *normal = top * scale + log_sum;
    *logprob = (logits[id] - top) * scale - log_sum;
    *entropy = log_sum - mean / sum;
}

/* Store the logarithm of the normaliser, the log-probability of `ids`, and the entropy, of logits times `scale`: all [rows]. */
void score(const float *logits, const int64_t *ids, float scale, float *normal, float *logprobs, float *entropies,
           int64_t rows, int64_t vocabulary)
{
    for (int64_t n = 0; n < rows; n++)
        score_row(logits + n * vocabulary, ids[n], scale, normal + n, logprobs + n, entropies + n, vocabulary);
}

/* Replace the logits by their gradient: (1 at the token - probability) times the gradient of the log-probability. */
void score_backward(float *logits, const int64_t *ids, float scale, const float *normal, const float *grad,
                    int64_t rows, int64_t vocabulary)
{
    for (int64_t n = 0; n < rows; n++, logits += vocabulary) {
        float pull = grad[n] * scale, base = normal[n];
        EACH for (int64_t i = 0; i < vocabulary; i++)
            logits[i] = -pull * exponential(logits[i] * scale - base);
        logits[ids[n]] += pull;
    }
}
