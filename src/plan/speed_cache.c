// speed_cache.c: what was measured, kept for the next plan or run on this machine.
//
//     ~/.cache/hone/speed-<hash of machine>.json
//     { "machine": { cpu, isa, cores, threads, backend, op_table, build },
//       "seconds": { "<kind>": seconds, ... }, "peak_flops_per_second": {"f32": ...}, "watts": ... }
//
// `build` is the hash of the running program: other kernels, other times. Kinds of many recipes share the file, since
// models that differ in layers, learning rate or accumulation run the same kinds.
#include "plan/speed.h"
#include "base/cpu.h"
#include "base/file.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_KINDS = 4096 };     // then the file begins anew

static json_t *describe_machine(const hone_job *job)
{
    hone_isa isa = HONE_ISA_PORTABLE;
    int threads = (int)job->recipe->threads;
    uint64_t build = 0;
    if (threads <= 0) hone_cpu_threads(&threads);
    hone_cpu_isa(&isa);
    hone_file_hash("/proc/self/exe", &build);
    return json_pack("{s:s, s:s, s:i, s:i, s:s, s:o, s:o}", "cpu", hone_cpu()->model, "isa", hone_isa_name[isa], "cores", hone_cpu()->cores,
                     "threads", threads, "backend", job->recipe->backend, "op_table", json_sprintf("%016" PRIx64, hone_op_table_hash()),
                     "build", json_sprintf("%016" PRIx64, build));
}

// The folder of caches by the XDG base directory specification; NULL where there is none.
static char *cache_folder(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0] == '/') return hone_path_join(cache, "hone");
    return home && hone_dir_exists(home) ? hone_path_join(home, ".cache/hone") : NULL;   // a HOME that is not there is not made
}

// *machine and *path: the caller's; both NULL where there is no cache.
static void find_file(const hone_job *job, json_t **machine, char **path)
{
    char *folder = cache_folder(), *text = NULL;
    *path = NULL;
    *machine = folder ? describe_machine(job) : NULL;
    if (*machine && (text = hone_json_dumps(*machine, JSON_COMPACT)))
        *path = hone_format("%s/speed-%016" PRIx64 ".json", folder, hone_hash64(text, strlen(text)));
    hone_free(text);
    hone_free(folder);
}

static json_t *read_file(const char *path, const json_t *machine)
{
    json_t *all = NULL;
    if (!path || !hone_file_exists(path) || hone_json_load(path, &all) || !json_equal(json_object_get(all, "machine"), machine)) {
        json_decref(all);
        return NULL;
    }
    return all;
}

static double number(const json_t *object, const char *key)
{
    double x = json_number_value(json_object_get(object, key));
    return x > 0 ? x : 0;
}

void hone_speed_load(hone_speed *speed)
{
    json_t *machine;
    char *path;
    find_file(speed->job, &machine, &path);
    json_t *all = read_file(path, machine), *seconds = json_object_get(all, "seconds");
    for (int64_t k = 0; k < speed->n_kind; k++) speed->kind[k].seconds = number(seconds, speed->kind[k].key);
    double peak = number(json_object_get(all, "peak_flops_per_second"), hone_dtype_name(hone_job_product(speed->job->recipe)));
    if (speed->peak_flops == 0) speed->peak_flops = peak;
    speed->watts = number(all, "watts");
    json_decref(all);
    json_decref(machine);
    hone_free(path);
    hone_error_clear();
}

void hone_speed_save(const hone_speed *speed)
{
    json_t *machine;
    char *path;
    find_file(speed->job, &machine, &path);
    json_t *all = read_file(path, machine), *seconds = json_object_get(all, "seconds"), *peak = json_object_get(all, "peak_flops_per_second");
    if (machine && (!json_is_object(seconds) || !json_is_object(peak) || json_object_size(seconds) > MOST_KINDS)) {
        json_decref(all);
        all = json_pack("{s:O, s:o, s:o}", "machine", machine, "seconds", seconds = json_object(), "peak_flops_per_second", peak = json_object());
    }
    for (int64_t k = 0; k < speed->n_kind && all; k++)
        if (speed->kind[k].seconds > 0) json_object_set_new(seconds, speed->kind[k].key, json_real(speed->kind[k].seconds));
    const char *product = hone_dtype_name(hone_job_product(speed->job->recipe));
    if (all && speed->peak_flops > number(peak, product)) json_object_set_new(peak, product, json_real(speed->peak_flops)); // other load only slows down
    if (all && speed->watts > 0) json_object_set_new(all, "watts", json_real(speed->watts));
    char *folder = cache_folder();
    if (all && path && folder && !hone_dir_create(folder)) hone_json_save(path, all);
    json_decref(all);
    json_decref(machine);
    hone_free(folder);
    hone_free(path);
    hone_error_clear();
}
