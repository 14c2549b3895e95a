// sampling_default.c: see sampling_default.h.
#include "gen/sampling_default.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

static hone_status read_config(const json_t *config, const char *path, hone_sampling *how)
{
    bool sample = false;
    hone_sampling drawn = HONE_SAMPLING_GREEDY;
    drawn.temperature = 1;
    hone_status status = hone_json_bool(config, "do_sample", path, false, &sample);
    if (!status) status = hone_json_real(config, "temperature", path, false, &drawn.temperature);
    if (!status) status = hone_json_int(config, "top_k", path, false, &drawn.top_k);
    if (!status) status = hone_json_real(config, "top_p", path, false, &drawn.top_p);
    if (!status) status = hone_json_real(config, "min_p", path, false, &drawn.min_p);
    if (!status) status = hone_json_real(config, "repetition_penalty", path, false, &drawn.repetition_penalty);
    if (!status && sample) *how = drawn;
    how->repetition_penalty = drawn.repetition_penalty; // of greedy answers, too
    return status ? status : hone_sampling_check(how, path);
}

hone_status hone_sampling_default(const char *folder, hone_sampling *how, bool *said)
{
    char *path = hone_path_join(folder, "generation_config.json");
    json_t *config = NULL;
    *how = HONE_SAMPLING_GREEDY;
    hone_status status = !path ? HONE_FAILED : hone_file_exists(path) ? hone_json_load(path, &config) : HONE_OK;
    if (!status && config) status = read_config(config, path, how);
    *said = how->temperature > 0 || how->repetition_penalty != 1;
    json_decref(config);
    hone_free(path);
    return status;
}
