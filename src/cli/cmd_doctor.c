// cmd_doctor.c: hone doctor: what this machine has, what hone will use of it, and the most it can do (plan/peak.h).
#include "backend/cuda/library.h"
#include "base/cgroup.h"
#include "base/cpu.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "plan/peak.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <yaml.h>
#include <zlib.h>
#include <zstd.h>

enum { LIBRARIES = 7 };
typedef struct { const char *name; char version[32]; } library;

typedef struct {
    const hone_cpu_info *cpu;
    hone_isa isa;                                // what kernels will use
    int threads, online;
    int64_t total_bytes, available_bytes, group_bytes;
    double flops[HONE_ISA_COUNT][2];             // FLOP/s of 1 thread, of all
    double bandwidth;
    library library[LIBRARIES];
    char cuda[256], cublaslt[640];
} report;

// Versions of what is loaded now, not of the headers at build time.
static void find_libraries(library *out)
{
    static const char *const names[LIBRARIES] = { "jansson", "libyaml", "pcre2", "utf8proc", "xxhash", "zlib", "zstd" };
    char pcre2[64] = "unknown";
    pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    pcre2[strcspn(pcre2, " ")] = 0; // a date follows
    unsigned xx = XXH_versionNumber();
    char xxhash[32];
    snprintf(xxhash, sizeof xxhash, "%u.%u.%u", xx / 10000, xx / 100 % 100, xx % 100);
    const char *const versions[LIBRARIES] = { jansson_version_str(), yaml_get_version_string(), pcre2, utf8proc_version(), xxhash,
                                              zlibVersion(), ZSTD_versionString() };
    for (int i = 0; i < LIBRARIES; i++) {
        out[i].name = names[i];
        snprintf(out[i].version, sizeof out[i].version, "%s", versions[i]);
    }
}

static hone_status examine(report *r)
{
    r->cpu = hone_cpu();
    hone_status status = hone_cpu_isa(&r->isa);
    if (!status) status = hone_cpu_threads(&r->threads);
    if (status) return status;
    r->online = (int)sysconf(_SC_NPROCESSORS_ONLN);
    r->total_bytes = hone_memory_total_bytes();
    r->available_bytes = hone_memory_available_bytes();
    r->group_bytes = hone_cgroup_memory_free_bytes();
    for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa)) {
        r->flops[isa][0] = hone_peak_flops(1, isa, HONE_f32);
        r->flops[isa][1] = r->threads > 1 ? hone_peak_flops(r->threads, isa, HONE_f32) : r->flops[isa][0];
    }
    r->bandwidth = hone_peak_bandwidth(r->threads);
    find_libraries(r->library);
    hone_cuda_describe(r->cuda, r->cublaslt);
    return HONE_OK;
}

// Instruction sets by name, `each` called for those that are there.
static void each_set(const hone_cpu_info *cpu, void (*each)(const char *name, void *context), void *context)
{
    const struct { const char *name; bool has; } sets[] = {
        { "avx2", cpu->avx2 }, { "avx512", cpu->avx512 }, { "avx512_vnni", cpu->avx512_vnni }, { "avx512_bf16", cpu->avx512_bf16 },
        { "avx512_fp16", cpu->avx512_fp16 }, { "avx_vnni", cpu->avx_vnni }, { "amx_bf16", cpu->amx_bf16 }, { "amx_int8", cpu->amx_int8 },
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (sets[i].has) each(sets[i].name, context);
}

// "48 KiB", "2 MiB", "23.4 GiB", "unknown" for 0.
static const char *size_text(int64_t bytes, char text[32])
{
    if (bytes <= 0) snprintf(text, 32, "unknown");
    else if (bytes < 1 << 20) snprintf(text, 32, "%.0f KiB", (double)bytes / 0x1p10);
    else if (bytes < 1 << 30) snprintf(text, 32, "%.0f MiB", (double)bytes / 0x1p20);
    else snprintf(text, 32, "%.1f GiB", (double)bytes / 0x1p30);
    return text;
}

static void print_name(const char *name, void *context)
{
    (void)context;
    printf(" %s", name);
}

static void print_text(const report *r)
{
    const hone_cpu_info *cpu = r->cpu;
    char a[32], b[32], c[32];
    printf("hone %s on this machine\n", HONE_VERSION);
    printf("  processor     %s\n", cpu->model);
    printf("  cores         %d of %d that are online; hone uses %d thread%s%s\n", cpu->cores, r->online, r->threads,
           r->threads == 1 ? "" : "s", getenv("HONE_THREADS") ? " (HONE_THREADS)" : "; HONE_THREADS=n changes that");
    printf("  caches        L1d %s and L2 %s a core, L3 %s\n", size_text(cpu->l1d_bytes, a), size_text(cpu->l2_bytes, b), size_text(cpu->l3_bytes, c));
    printf("  instructions ");
    each_set(cpu, print_name, NULL);
    printf("%s\n", cpu->avx2 ? "" : " none that hone has kernels for beyond the x86-64 baseline");
    printf("  kernels       %s%s\n", hone_isa_name[r->isa],
           getenv("HONE_ISA") ? " (HONE_ISA)" : "; HONE_ISA=NAME (below) forces a lower set");
    printf("  memory        %s, %s available%s", size_text(r->total_bytes, a), size_text(r->available_bytes, b),
           r->group_bytes == INT64_MAX ? ", no cgroup limit\n" : ", ");
    if (r->group_bytes != INT64_MAX) printf("%s free below the cgroup's limit\n", size_text(r->group_bytes, c));
    printf("\n  peaks, GFLOP/s       f32, 1 thread    f32, all    bf16    int8    (f32 measured, the others by the instructions' rates)\n");
    for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa)) {
        const double one = r->flops[isa][0] / 1e9, all = r->flops[isa][1] / 1e9;
        printf("    %-12s%s%17.0f%12.0f%8.0f%8.0f\n", hone_isa_name[isa], isa == r->isa ? " used" : "     ", one, all,
               all * hone_isa_rate(isa, HONE_bf16), all * hone_isa_rate(isa, HONE_int8));
    }
    if (r->bandwidth > 0) printf("  measured memory bandwidth (triad, %d thread%s)  %.1f GB/s\n", r->threads, r->threads == 1 ? "" : "s", r->bandwidth / 1e9);
    else printf("  memory bandwidth not measured: %s\n", hone_error());
    printf("\n  cuda          %s\n  cuBLASLt      %s\n", r->cuda, r->cublaslt);
    printf("\n  libraries    ");
    for (int i = 0; i < LIBRARIES; i++) printf(" %s %s%s", r->library[i].name, r->library[i].version, i + 1 < LIBRARIES ? "," : "\n");
}

static void append_name(const char *name, void *array) { json_array_append_new(array, json_string(name)); }

static hone_status print_json(const report *r)
{
    json_t *sets = json_array(), *peaks = json_array(), *libraries = json_object();
    each_set(r->cpu, append_name, sets);
    for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa))
        json_array_append_new(peaks, json_pack("{s:s, s:f, s:f}", "isa", hone_isa_name[isa], "one_thread_flops", r->flops[isa][0],
                                               "all_threads_flops", r->flops[isa][1]));
    for (int i = 0; i < LIBRARIES; i++) json_object_set_new(libraries, r->library[i].name, json_string(r->library[i].version));
    json_t *all = json_pack("{s:s, s:s, s:i, s:i, s:i, s:I, s:I, s:I, s:o, s:s, s:I, s:I, s:o, s:f, s:s, s:s, s:o}", "version", HONE_VERSION,
        "processor", r->cpu->model, "cores", r->cpu->cores, "cores_online", r->online, "threads", r->threads,
        "l1d_bytes", (json_int_t)r->cpu->l1d_bytes, "l2_bytes", (json_int_t)r->cpu->l2_bytes, "l3_bytes", (json_int_t)r->cpu->l3_bytes,
        "instruction_sets", sets, "kernels", hone_isa_name[r->isa], "memory_total_bytes", (json_int_t)r->total_bytes,
        "memory_available_bytes", (json_int_t)r->available_bytes, "f32_peaks", peaks, "bandwidth_bytes_per_s", r->bandwidth,
        "cuda", r->cuda, "cublaslt", r->cublaslt,
        "libraries", libraries);
    hone_status status = hone_cli_print_json(all);
    json_decref(all);
    return status;
}

hone_status hone_cmd_doctor(int argc, char **argv)
{
    bool json = false, done;
    const hone_cli_option options[] = { { "json", HONE_CLI_FLAG, &json, NULL, "print one JSON object" }, { 0 } };
    const hone_cli_command command = { "doctor", "[--json]",
        "Says what this machine has and what hone will use of it, and measures (about two seconds) the most that its\n"
        "processor and memory can do: every 'share of peak' that hone prints is a share of that.",
        "hone doctor", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc > 0) return hone_fail_usage("doctor: %s: this verb takes no operands", argv[0]);
    report r = { 0 };
    if ((status = examine(&r))) return status;
    if (json) return print_json(&r);
    print_text(&r);
    return HONE_OK;
}
