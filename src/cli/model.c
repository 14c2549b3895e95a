// model.c: see model.h.
#include "cli/model.h"
#include "base/nearest.h"
#include "gen/probe.h"
#include "gen/sampling_default.h"
#include "plan/job.h"
#include "plan/precision.h"
#include <inttypes.h>
#include <string.h>

// First those that auto chooses among, from wide to narrow as hone_precision_pick wants them.
static const struct { const char *name; hone_dtype dtype; } known[] = { { "f32", HONE_f32 }, { "bf16", HONE_bf16 }, { "int8", HONE_int8 }, { "fp16", HONE_f16 } };
enum { KNOWN = sizeof known / sizeof *known, AUTO = KNOWN };

// Index of a precision by name; KNOWN for auto, -1 for none.
static int find_precision(const char *name, const char **names)
{
    int found = name ? -1 : 0;
    for (int i = 0; i < KNOWN; i++) names[i] = known[i].name;
    names[AUTO] = "auto";
    for (int i = 0; name && i <= AUTO; i++)
        if (!strcmp(name, names[i])) found = i;
    return found;
}

// Says on standard error what was taken and why.
static hone_status choose(const hone_runner *runner, const hone_cli_model *how, int *chosen)
{
    double seconds[HONE_PRECISIONS];
    for (int i = 0; i < HONE_PRECISIONS; i++) {
        hone_status status = hone_probe_time(&(hone_probe){ how->backend, how->slots }, &runner->model.config, known[i].dtype, &seconds[i]);
        if (status) return status;
    }
    *chosen = hone_precision_pick(seconds);
    fprintf(stderr, "precision  auto: %s;", known[*chosen].name);
    for (int i = 0; i < HONE_PRECISIONS; i++) fprintf(stderr, "%s %s %.2f ms", i ? "," : how->slots ? " a token of each" : " a short text", known[i].name, 1e3 * seconds[i]);
    fprintf(stderr, "\n");
    return HONE_OK;
}

hone_status hone_cli_open_model(hone_runner *runner, const char *folder, const hone_cli_model *how)
{
    const char *name[KNOWN + 1];
    int product = find_precision(how->precision, name);
    *runner = (hone_runner){ 0 };
    if (product < 0) {
        const char *nearest = hone_nearest(how->precision, name, KNOWN + 1);
        return hone_fail_usage("--precision %s: give f32, bf16, fp16, int8 or auto%s%s", how->precision, nearest ? "; did you mean " : "", nearest ? nearest : "");
    }
    hone_key_enum cache = HONE_kv_cache_auto;
    if (how->cache && hone_key_choose(&hone_key_table[HONE_KEY_kv_cache], "--kv-cache", how->cache, &cache)) return HONE_USAGE;
    hone_status status = hone_runner_open(runner, folder);
    if (!status && product == AUTO) status = choose(runner, how, &product);
    runner->backend = how->backend;
    runner->model.product = known[product < KNOWN ? product : 0].dtype;
    runner->model.cache = hone_job_cache(cache, runner->model.product);
    return status || !how->adapter ? status : hone_runner_add_adapter(runner, how->adapter);
}

static void fill_real(hone_cli_sampling *s, double *value, double otherwise)
{
    if (isnan(*value)) *value = otherwise;
    else s->given = true;
}

hone_status hone_cli_check_sampling(hone_cli_sampling *s, const char *verb)
{
    const hone_sampling greedy = HONE_SAMPLING_GREEDY;
    fill_real(s, &s->how.temperature, greedy.temperature);
    fill_real(s, &s->how.top_p, greedy.top_p);
    fill_real(s, &s->how.min_p, greedy.min_p);
    fill_real(s, &s->how.repetition_penalty, greedy.repetition_penalty);
    if (s->how.top_k == INT64_MIN) s->how.top_k = greedy.top_k;
    else s->given = true;
    s->how.seed = (uint64_t)s->seed;
    for (int i = 0; i < s->stop.count; i++)
        if (!*s->stop.text[i]) return hone_fail_usage("%s: --stop: an empty string would stop everything", verb);
    return hone_sampling_check(&s->how, verb) ? HONE_USAGE : HONE_OK;
}

hone_status hone_cli_default_sampling(hone_cli_sampling *s, const hone_runner *runner)
{
    hone_sampling how;
    bool said;
    if (s->given) return HONE_OK;
    hone_status status = hone_sampling_default(runner->folder, &how, &said);
    if (status || !said) return status;
    how.seed = s->how.seed;
    s->how = how;
    fprintf(stderr, "sampling  temperature %g", how.temperature);
    if (how.top_k > 0) fprintf(stderr, "  top-k %" PRId64, how.top_k);
    if (how.top_p < 1) fprintf(stderr, "  top-p %g", how.top_p);
    if (how.min_p > 0) fprintf(stderr, "  min-p %g", how.min_p);
    if (how.repetition_penalty != 1) fprintf(stderr, "  repetition-penalty %g", how.repetition_penalty);
    fprintf(stderr, "  (the model's generation_config.json)\n");
    return HONE_OK;
}
