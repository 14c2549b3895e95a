// cgroup.c: finds this process' cgroup folders and takes the tightest limit on the way from its own up to the root:
// a limit binds whichever ancestor it stands at.
//
//   /proc/self/cgroup      id:controllers:path      v2 is the line "0::path"
//   /proc/self/mountinfo   where that hierarchy is mounted, and which of its folders is the mount's root
//
// In a container the path often lies outside what is mounted; then the mount's root is the container's own cgroup.
// Nothing allocates: memory.c asks here.
#include "base/cgroup.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 1024 };
typedef void (*visit_fn)(const char *folder, bool v2, void *context);

// Is `word` one of the comma-separated words of `list`?
static bool lists(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ',') && (p[n] == ',' || p[n] == 0 || p[n] == '\n')) return true;
    return false;
}

// Mount point and root of the hierarchy that holds `controller` (v1), or of v2.
static bool find_mount(const char *controller, bool v2, char root[PATH_BYTES], char mount[PATH_BYTES])
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (!file) return false;
    bool found = false;
    char line[4 * PATH_BYTES];
    while (!found && fgets(line, sizeof line, file)) {
        // id parent major:minor ROOT MOUNT options [tags] - TYPE source SUPER_OPTIONS
        char type[64], options[PATH_BYTES];
        const char *dash = strstr(line, " - ");
        if (!dash || sscanf(dash, " - %63s %*s %1023s", type, options) != 2) continue;
        if (strcmp(type, v2 ? "cgroup2" : "cgroup") != 0 || (!v2 && !lists(options, controller))) continue;
        found = sscanf(line, "%*s %*s %*s %1023s %1023s", root, mount) == 2;
    }
    fclose(file);
    return found;
}

static void walk_up(const char *mount, const char *relative, bool v2, visit_fn visit, void *context)
{
    char folder[2 * PATH_BYTES];
    snprintf(folder, sizeof folder, "%s%s", mount, strcmp(relative, "/") == 0 ? "" : relative);
    size_t least = strlen(mount);
    for (;;) {
        visit(folder, v2, context);
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < least) break;
        *slash = 0;
    }
}

static void visit_cgroups(const char *controller, visit_fn visit, void *context)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file) return;
    char line[2 * PATH_BYTES], root[PATH_BYTES], mount[PATH_BYTES];
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        bool v2 = controllers[1] == 0;
        if (!v2 && !lists(controllers + 1, controller)) continue;
        if (!find_mount(controller, v2, root, mount)) continue;
        size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
        bool inside = strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == 0);
        walk_up(mount, inside ? path + n : "/", v2, visit, context);
    }
    fclose(file);
}

// First number in folder/name; false if there is none ("max", no such file).
static bool read_number(const char *folder, const char *name, double *value)
{
    char path[3 * PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool ok = fscanf(file, "%lf", value) == 1;
    fclose(file);
    return ok;
}

static double page_cache_bytes(const char *folder)
{
    char path[3 * PATH_BYTES], key[64];
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    double value, bytes = 0;
    while (fscanf(file, "%63s %lf", key, &value) == 2)
        if (!strcmp(key, "inactive_file") || !strcmp(key, "active_file")) bytes += value;
    fclose(file);
    return bytes;
}

static bool read_limit(const char *folder, bool v2, double *limit)
{
    return read_number(folder, v2 ? "memory.max" : "memory.limit_in_bytes", limit);
}

static void visit_limit(const char *folder, bool v2, void *context)
{
    double limit, *least = context;
    if (read_limit(folder, v2, &limit) && limit < *least) *least = limit;
}

static void visit_room(const char *folder, bool v2, void *context)
{
    double limit, used, *least = context;
    if (!read_limit(folder, v2, &limit)) return;
    if (!read_number(folder, v2 ? "memory.current" : "memory.usage_in_bytes", &used)) return;
    double room = limit - used + page_cache_bytes(folder);
    if (room < *least) *least = room < 0 ? 0 : room;
}

// v1 says "no limit" by a number near 2^63.
static int64_t least_memory(visit_fn visit)
{
    double least = 0x1p62;
    visit_cgroups("memory", visit, &least);
    return least >= 0x1p62 ? INT64_MAX : (int64_t)least;
}

int64_t hone_cgroup_memory_limit_bytes(void) { return least_memory(visit_limit); }
int64_t hone_cgroup_memory_free_bytes(void) { return least_memory(visit_room); }

static void visit_cpu(const char *folder, bool v2, void *context)
{
    double quota, period, *least = context;
    if (v2) { // "quota period" or "max period"
        char path[3 * PATH_BYTES];
        snprintf(path, sizeof path, "%s/cpu.max", folder);
        FILE *file = fopen(path, "re");
        if (!file) return;
        bool ok = fscanf(file, "%lf %lf", &quota, &period) == 2;
        fclose(file);
        if (!ok) return;
    } else if (!read_number(folder, "cpu.cfs_quota_us", &quota) || !read_number(folder, "cpu.cfs_period_us", &period)) {
        return;
    }
    if (quota <= 0 || period <= 0) return; // v1: -1 is no quota
    if (*least == 0 || quota / period < *least) *least = quota / period;
}

double hone_cgroup_cpus(void)
{
    double least = 0;
    visit_cgroups("cpu", visit_cpu, &least);
    return least;
}
