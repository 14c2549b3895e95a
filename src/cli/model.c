// model.c: see model.h.
#include "cli/model.h"
#include "base/nearest.h"
#include <string.h>

hone_status hone_cli_open_model(hone_runner *runner, const char *folder, const hone_cli_model *how)
{
    static const hone_dtype known[] = { HONE_f32, HONE_bf16, HONE_int8 };
    enum { KNOWN = sizeof known / sizeof *known };
    const char *name[KNOWN];
    hone_dtype product = HONE_DTYPE_COUNT;
    *runner = (hone_runner){ 0 };
    for (int i = 0; i < KNOWN; i++) {
        name[i] = hone_dtype_name(known[i]);
        if (!how->precision || !strcmp(how->precision, name[i])) product = known[how->precision ? i : 0];
    }
    if (product == HONE_DTYPE_COUNT) {
        const char *nearest = hone_nearest(how->precision, name, KNOWN);
        return hone_fail_usage("--precision %s: give f32, bf16 or int8%s%s", how->precision, nearest ? "; did you mean " : "", nearest ? nearest : "");
    }
    hone_status status = hone_runner_open(runner, folder);
    runner->backend = how->backend;
    runner->model.product = product;
    return status;
}
