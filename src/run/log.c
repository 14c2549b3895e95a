// log.c: see log.h.
#include "run/log.h"
#include "base/file.h"
#include "base/memory.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

hone_status hone_log_open(hone_log *log, const char *folder)
{
    *log = (hone_log){ .path = hone_path_join(folder, "log.jsonl") };
    return log->path ? HONE_OK : HONE_FAILED;
}

void hone_log_close(hone_log *log)
{
    hone_tensorboard_close(&log->tensorboard);
    hone_wandb_close(&log->wandb);
    hone_free(log->path);
    *log = (hone_log){ 0 };
}

// The first row must be written: it tells that the folder can be. Later ones may be lost to a full disk: that costs a
// warning and is counted, and the run goes on.
static hone_status append(hone_log *log, const char *text, size_t size)
{
    char gap[80];
    if (log->lost) {
        int n = snprintf(gap, sizeof gap, "{\"event\":\"log_gap\",\"rows_lost\":%lld}\n", (long long)log->lost);
        if (hone_file_append(log->path, gap, (size_t)n)) { log->lost++; return HONE_OK; }
        log->lost = 0;
    }
    hone_status status = hone_file_append(log->path, text, size);
    if (!status || !log->rows) { log->rows++; return status; }
    if (log->lost++ == 0) hone_warn("%s; the run goes on without these rows", hone_error());
    return HONE_OK;
}

hone_status hone_log_add(hone_log *log, const char *event, json_t *row)
{
    char when[32];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    json_t *line = json_pack("{s:s, s:s}", "event", event, "time", when);
    char *text = line && row && json_object_update(line, row) == 0 ? hone_json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text) hone_tensorboard_add(&log->tensorboard, event, row);
    if (text) hone_wandb_add(&log->wandb, event, row);
    json_decref(line);
    json_decref(row);
    if (!text) return hone_fail("%s: out of memory for a row \"%s\"", log->path, event);
    size_t size = strlen(text);
    text[size] = '\n'; // in place of the terminator: one write for the whole line
    hone_status status = append(log, text, size + 1);
    hone_free(text);
    return status;
}
