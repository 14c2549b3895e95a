// power.c: see power.h. intel-rapl:N is package N (AMD's counters appear under the same name); intel-rapl:N:M, its parts,
// are not added again.
#include "base/power.h"
#include "base/file.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

bool hone_power_read(const char *root, double *joules)
{
    bool any = false;
    *joules = 0;
    for (int package = 0; package < 64; package++) {
        char *path = hone_format("%s/intel-rapl:%d/energy_uj", root ? root : "/sys/class/powercap", package), *text;
        size_t size;
        bool there = path && hone_file_exists(path) && hone_file_read(path, &text, &size) == HONE_OK;
        hone_free(path);
        if (!there) break;
        *joules += strtod(text, NULL) * 1e-6;
        any = true;
        hone_free(text);
    }
    if (!any) hone_error_clear();
    return any;
}
