// cpu.c: asks the processor (CPUID, XGETBV) and the system (sysfs, affinity, cgroup) once, at first use.
//
// An instruction set counts only if the processor has it AND the system saves its registers on a switch of tasks (XCR0):
// ymm bits 1-2, zmm bits 5-7, AMX tiles bits 17-18.
#include "base/cpu.h"
#include "base/cgroup.h"
#include <cpuid.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const hone_isa_name[HONE_ISA_COUNT] = {
#define INSTRUCTION_SET(id, name, ...) #name,
#include "base/isa.def"
#undef INSTRUCTION_SET
};

static hone_cpu_info info;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint64_t xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool bit(uint32_t word, int n) { return word >> n & 1; }

// Linux wants to be asked before a process uses tile registers (8 KiB more to save at a switch); the answer is for all threads.
static bool tiles_granted(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static void read_features(void)
{
    uint32_t a, b, c, d, b7 = 0, c7 = 0, d7 = 0, a71 = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    uint64_t saved = bit(c, 27) ? xcr0() : 0; // OSXSAVE
    bool ymm = (saved & 0x6) == 0x6, zmm = ymm && (saved & 0xe0) == 0xe0, tiles = (saved & 0x60000) == 0x60000;
    bool fma = bit(c, 12), f16c = bit(c, 29);
    if (__get_cpuid_count(7, 0, &a, &b7, &c7, &d7) && a >= 1) {
        uint32_t x, y, z;
        __get_cpuid_count(7, 1, &a71, &x, &y, &z);
    }
    info.avx2 = ymm && fma && f16c && bit(b7, 5);
    info.avx512 = zmm && info.avx2 && bit(b7, 16) && bit(b7, 17) && bit(b7, 30) && bit(b7, 31); // F, DQ, BW, VL
    info.avx512_vnni = info.avx512 && bit(c7, 11);
    info.avx512_bf16 = info.avx512 && bit(a71, 5);
    info.avx512_fp16 = info.avx512 && bit(d7, 23);
    info.avx_vnni = info.avx2 && bit(a71, 4);
    tiles = tiles && bit(d7, 24) && tiles_granted(); // AMX-TILE
    info.amx_bf16 = tiles && bit(d7, 22);
    info.amx_int8 = tiles && bit(d7, 25);
}

static void choose_sets(void)
{
#define INSTRUCTION_SET(id, name, there, ...) info.has[HONE_ISA_##id] = (there);
#include "base/isa.def"
#undef INSTRUCTION_SET
    for (int isa = 0; isa < HONE_ISA_COUNT; isa++)
        if (info.has[isa]) info.best = (hone_isa)isa;
}

static void read_model(void)
{
    uint32_t word[12] = { 0 };
    char text[sizeof word + 1];
    for (uint32_t i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &word[4 * i], &word[4 * i + 1], &word[4 * i + 2], &word[4 * i + 3])) break;
    memcpy(text, word, sizeof word);
    text[sizeof word] = 0;
    char *start = text, *end;
    while (*start == ' ') start++;
    for (end = start + strlen(start); end > start && end[-1] == ' '; end--) end[-1] = 0;
    snprintf(info.model, sizeof info.model, "%s", *start ? start : "unknown");
}

// One line of /sys/devices/system/cpu/cpu0/cache/indexN/name.
static bool read_cache_line(int index, const char *name, char line[32])
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool ok = fgets(line, 32, file) != NULL;
    fclose(file);
    return ok;
}

static int64_t at_least_0(long value) { return value > 0 ? value : 0; }

static void read_caches(void)
{
    char level[32], type[32], size[32];
    for (int i = 0; read_cache_line(i, "level", level) && read_cache_line(i, "type", type); i++) {
        if (type[0] == 'I' || !read_cache_line(i, "size", size)) continue;
        char *unit;
        int64_t bytes = strtoll(size, &unit, 10) * (*unit == 'K' ? 1024 : *unit == 'M' ? 1 << 20 : 1);
        if (level[0] == '1') info.l1d_bytes = bytes;
        if (level[0] == '2') info.l2_bytes = bytes;
        if (level[0] == '3') info.l3_bytes = bytes;
    }
    if (!info.l1d_bytes) info.l1d_bytes = at_least_0(sysconf(_SC_LEVEL1_DCACHE_SIZE));
    if (!info.l2_bytes) info.l2_bytes = at_least_0(sysconf(_SC_LEVEL2_CACHE_SIZE));
    if (!info.l3_bytes) info.l3_bytes = at_least_0(sysconf(_SC_LEVEL3_CACHE_SIZE));
}

static void read_cores(void)
{
    enum { MOST = 1 << 16 }; // bits; sched_getaffinity refuses a set smaller than the kernel's
    static uint8_t storage[MOST / 8];
    cpu_set_t *set = (cpu_set_t *)(void *)storage;
    info.cores = sched_getaffinity(0, sizeof storage, set) == 0 ? CPU_COUNT_S(sizeof storage, set)
                                                                 : (int)sysconf(_SC_NPROCESSORS_ONLN);
    double quota = hone_cgroup_cpus(); // 1.5 cores: two threads use it all, one cannot
    if (quota > 0 && ceil(quota) < info.cores) info.cores = (int)ceil(quota);
    if (info.cores < 1) info.cores = 1;
}

static void read_all(void)
{
    read_model();
    read_features();
    choose_sets();
    read_caches();
    read_cores();
}

const hone_cpu_info *hone_cpu(void)
{
    pthread_once(&once, read_all);
    return &info;
}

hone_isa hone_isa_next(hone_isa isa)
{
    const hone_cpu_info *cpu = hone_cpu();
    do isa++;
    while (isa < HONE_ISA_COUNT && !cpu->has[isa]);
    return isa;
}

hone_status hone_cpu_isa(hone_isa *isa)
{
    const char *forced = getenv("HONE_ISA");
    hone_isa best = hone_cpu()->best;
    *isa = best;
    if (!forced || !*forced) return HONE_OK;
    for (int i = 0; i < HONE_ISA_COUNT; i++) {
        if (strcmp(forced, hone_isa_name[i]) != 0) continue;
        if (!info.has[i])
            return hone_fail("HONE_ISA=%s: this machine (%s) lacks it; unset HONE_ISA: the best it has is %s", forced, info.model, hone_isa_name[best]);
        *isa = (hone_isa)i;
        return HONE_OK;
    }
    return hone_fail("HONE_ISA=%s: unknown; use"
#define INSTRUCTION_SET(id, name, ...) " " #name
#include "base/isa.def"
#undef INSTRUCTION_SET
                     , forced);
}

hone_status hone_cpu_threads(int *threads)
{
    const char *forced = getenv("HONE_THREADS");
    *threads = hone_cpu()->cores;
    if (!forced || !*forced) return HONE_OK;
    char *end;
    long value = strtol(forced, &end, 10);
    if (*end || value < 1 || value > 4096) return hone_fail("HONE_THREADS=%s: must be a number from 1 to 4096", forced);
    *threads = (int)value;
    return HONE_OK;
}

static double read_clock(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double hone_clock_s(void) { return read_clock(CLOCK_MONOTONIC); }
double hone_wall_s(void) { return read_clock(CLOCK_REALTIME); }
double hone_thread_cpu_s(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
