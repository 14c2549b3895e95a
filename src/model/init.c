// init.c: what stands in a model's tensors before the first step: random weights and constants.
//
// Matrices and embeddings are normal(0, init_std), norms one, biases zero, as transformers initialises each family. A
// number is a function of (seed, parameter name, index), so any split over threads or ranks draws the same.
#include "model/decoder.h"
#include "base/file.h"
#include "base/rng.h"
#include <math.h>
#include <string.h>

// Box-Muller: two uniforms u in (0, 1], v in [0, 1) give two independent normals.
static void two_normals(const uint32_t bits[2], float std, float out[2])
{
    float u = ((float)(bits[0] >> 8) + 1.0f) * 0x1p-24f, v = (float)(bits[1] >> 8) * 0x1p-24f;
    float radius = std * sqrtf(-2.0f * logf(u)), angle = 6.28318530717958648f * v;
    out[0] = radius * cosf(angle);
    out[1] = radius * sinf(angle);
}

static void fill_normal(float *out, int64_t count, float std, uint64_t seed, const char *name)
{
    uint32_t stream = (uint32_t)hone_hash64(name, strlen(name));
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (count + 3) / 4; block++) {
        uint32_t bits[4];
        float normal[4];
        hone_rng_block(seed, HONE_RNG_INIT, stream, (uint64_t)block, bits);
        two_normals(bits, std, normal);
        two_normals(bits + 2, std, normal + 2);
        int64_t left = count - block * 4;
        memcpy(out + block * 4, normal, (size_t)(left < 4 ? left : 4) * sizeof *out);
    }
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), e = strlen(end);
    return n >= e && !strcmp(name + n - e, end);
}

// GPT-2 (Radford et al. 2019, section 2.3) scales what is added to the residual stream by 1 / sqrt(2 L); the others do
// not.
static float std_of(const hone_model *model, const char *name)
{
    const hone_config *config = &model->config;
    bool residual = ends_with(name, ".o") || ends_with(name, ".down");
    double std = residual && model->zero_outputs ? 0 : config->init_std;
    return (float)(residual && config->init_scaled ? std / sqrt(2.0 * (double)config->layers) : std);
}

// Value embeddings start at half of what they are (as in the speed-runs), skips whole; gains of norms at one.
static float start_of_vector(const hone_model *model, const char *name)
{
    if (ends_with(name, ".b")) return 0;
    if (ends_with(name, ".value_gain")) return 0.5f;
    if (ends_with(name, ".skip_gain")) return 1;
    return 1.0f - (float)model->config.norm_base;   // of norms, q_norm and k_norm
}

// The padding token's row of a table.
static void clear_padding(const hone_model *model, hone_tid table, hone_place_fn data, void *context)
{
    const hone_tensor *t = hone_at(model->graph, table);
    if (!hone_is_kept_narrow(t)) memset((float *)data(context, table) + model->config.pad * t->dim[1], 0, (size_t)t->dim[1] * sizeof(float));
}

void hone_model_init(const hone_model *model, uint64_t seed, hone_place_fn data, void *context)
{
    const hone_config *c = &model->config;
    for (int64_t i = 0; i < model->n_param; i++) {
        const hone_tensor *t = hone_at(model->graph, model->param[i]);
        float *w = data(context, model->param[i]);
        int64_t count = hone_tensor_count(t);
        if (hone_is_kept_narrow(t)) continue;   // a frozen matrix comes from a file; until then it is zeros
        HONE_ASSERT(t->dtype == HONE_f32, "%s is %s", t->name, hone_dtype_name(t->dtype));
        if (t->rank == 2) {
            fill_normal(w, count, std_of(model, t->name), seed, t->name);
        } else {
            const float value = start_of_vector(model, t->name);
            for (int64_t k = 0; k < count; k++) w[k] = value;
        }
    }
    // transformers keeps the padding row at zero in the families whose embedding knows it (all but those with learned positions).
    if (c->pad >= 0 && c->pad < c->vocab && model->positions == HONE_NONE) {
        clear_padding(model, model->embed, data, context);
        for (int64_t k = 0; k < c->value_embeddings; k++) clear_padding(model, model->block[k].values, data, context);
    }
    hone_model_fill_constants(model, data, context);
}

// f_j = theta^(-2j/D), rounded where transformers rounds. Linear scaling divides by the factor. Llama 3 divides the slow
// ones (wavelength beyond original/low), keeps the fast ones (below original/high) and blends between.
void hone_config_rope_frequencies(const hone_config *config, float *freq)
{
    int64_t D = hone_config_rotated(config);
    for (int64_t j = 0; j < D / 2; j++) {
        float exponent = (float)(2 * j) / (float)D;
        float f = 1.0f / (float)pow(config->rope_theta, exponent);
        float factor = (float)config->rope_factor;
        if (config->rope == HONE_ROPE_LINEAR) {
            f /= factor;
        } else if (config->rope == HONE_ROPE_LLAMA3) {
            double original = (double)config->rope_original, low = config->rope_low, high = config->rope_high;
            float wave = (float)(2.0 * 3.14159265358979324) / f;
            float smooth = ((float)original / wave - (float)low) / (float)(high - low);
            if ((double)wave > original / low) f /= factor;
            else if ((double)wave >= original / high) f = (1.0f - smooth) * f / factor + smooth * f;
        }
        freq[j] = f;
    }
}

void hone_model_fill_constants(const hone_model *model, hone_place_fn data, void *context)
{
    if (model->rope_freq != HONE_NONE) hone_config_rope_frequencies(&model->config, data(context, model->rope_freq));
    if (model->rope_local != HONE_NONE) {
        hone_config local = model->config;
        local.rope = HONE_ROPE_PLAIN;
        local.rope_theta = local.rope_local;
        hone_config_rope_frequencies(&local, data(context, model->rope_local));
    }
    if (model->score_count != HONE_NONE) *(int32_t *)data(context, model->score_count) = (int32_t)model->score_rows;
}
