// store_query.c: reading the run store (see store.h).
#include "base/memory.h"
#include "run/store_inside.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SILENT_S = 900 };   // without a word for so long, a run on another machine is not called running

static json_t *parse_column(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    json_error_t error;
    hone_error_clear();
    json_t *value = text ? hone_json_scan(text, strlen(text), JSON_ALLOW_NUL | JSON_DECODE_ANY, &error) : NULL;
    return value ? value : *hone_error() ? NULL : json_null();
}

static hone_status out_of_memory(const hone_store *store) { return hone_fail("out of memory while reading %s", store->path); }

static json_t *text_column(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    return text ? json_string(text) : json_null();
}

static const char *name_of(const char *folder)
{
    const char *slash = strrchr(folder, '/');
    return slash ? slash + 1 : folder;
}

// "2026-01-31T12:00:00Z" -> seconds since 1970, -1 where it is none.
static double seconds_of(const char *time)
{
    struct tm utc = { 0 };
    return time && strptime(time, "%Y-%m-%dT%H:%M:%SZ", &utc) ? (double)timegm(&utc) : -1;
}

// The process that a run last ran in: gone? Only this machine can say.
static const char *state_of(const char *event, const json_t *machine, const char *updated)
{
    if (event && strcmp(event, "end") == 0) return "ended";
    if (event && strcmp(event, "stop") == 0) return "stopped";
    if (event && strcmp(event, "failed") == 0) return "failed";
    char here[256] = "";
    gethostname(here, sizeof here - 1);
    const char *there = json_string_value(json_object_get(machine, "name"));
    int64_t pid = json_integer_value(json_object_get(machine, "pid"));
    if (there && strcmp(here, there) == 0 && pid > 0) return kill((pid_t)pid, 0) == 0 || errno == EPERM ? "running" : "died";
    double last = seconds_of(updated);
    return last > 0 && difftime(time(NULL), (time_t)last) < SILENT_S ? "running" : "silent";
}

// {metric: value} of the newest step.
static hone_status add_last(hone_store *store, json_t *run, int64_t id)
{
    hone_buffer sql = { 0 };
    sqlite3_stmt *row = NULL;
    hone_status status = hone_buffer_print(&sql, "SELECT step");
    for (int m = 0; m < HONE_METRIC_COUNT && !status; m++) status = hone_buffer_print(&sql, ", %s", hone_metric_table[m].name);
    if (!status) status = hone_buffer_print(&sql, " FROM steps WHERE run = ? ORDER BY step DESC LIMIT 1");
    if (!status) status = hone_store_prepare(store, &row, sql.data, "i", id);
    hone_buffer_release(&sql);
    if (status) return status;
    json_t *last = json_object();
    int code = sqlite3_step(row), bad = 0;
    if (code == SQLITE_ROW) {
        bad |= json_object_set_new(run, "step", json_integer(sqlite3_column_int64(row, 0)));
        for (int m = 0; m < HONE_METRIC_COUNT; m++)
            if (sqlite3_column_type(row, m + 1) != SQLITE_NULL) bad |= json_object_set_new(last, hone_metric_table[m].name, json_real(sqlite3_column_double(row, m + 1)));
    } else if (code != SQLITE_DONE) {
        status = hone_store_fail(store, "read");
    }
    sqlite3_finalize(row);
    bad |= json_object_set_new(run, "last", last);
    return status ? status : bad ? out_of_memory(store) : HONE_OK;
}

static hone_status add_held_out(hone_store *store, json_t *run, int64_t id)
{
    static const char *const names[] = { "held_out", "best" };
    static const char *const sql[] = { "SELECT row FROM events WHERE run = ? AND event = 'eval' ORDER BY id DESC LIMIT 1",
                                       "SELECT row FROM events WHERE run = ? AND event = 'eval' ORDER BY row->>'loss' LIMIT 1" };
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *row;
        hone_status status = hone_store_prepare(store, &row, sql[i], "i", id);
        if (status) return status;
        int code = sqlite3_step(row);
        const int bad = code == SQLITE_ROW ? json_object_set_new(run, names[i], parse_column(row, 0)) : 0;
        sqlite3_finalize(row);
        if (bad) return out_of_memory(store);
        if (code != SQLITE_ROW && code != SQLITE_DONE) return hone_store_fail(store, "read");
    }
    return HONE_OK;
}

static hone_status describe(hone_store *store, sqlite3_stmt *row, json_t *run)
{
    int64_t id = sqlite3_column_int64(row, 0);
    const char *folder = (const char *)sqlite3_column_text(row, 1), *event = (const char *)sqlite3_column_text(row, 4);
    if (!folder) return hone_store_fail(store, "read");
    json_t *recipe = parse_column(row, 8), *machine = parse_column(row, 10), *max_steps = json_object_get(recipe, "max_steps");
    const char *state = state_of(event, machine, (const char *)sqlite3_column_text(row, 3));
    int bad = json_object_set_new(run, "id", json_integer(id));
    bad |= json_object_set_new(run, "name", json_string(name_of(strcmp(folder, ".") ? folder : store->root)));
    bad |= json_object_set_new(run, "folder", json_string(folder));
    bad |= json_object_set_new(run, "state", json_string(state));
    bad |= json_object_set_new(run, "started", text_column(row, 2));
    bad |= json_object_set_new(run, "updated", text_column(row, 3));
    bad |= json_object_set_new(run, "generation", json_integer(sqlite3_column_int64(row, 5)));
    bad |= json_object_set_new(run, "hone", text_column(row, 6));
    bad |= json_object_set_new(run, "from", text_column(row, 7));
    json_t *plan = parse_column(row, 9), *steps = json_object_get(plan, "steps");
    bad |= json_object_set(run, "steps", steps ? steps : max_steps ? max_steps : json_null());
    bad |= json_object_set_new(run, "recipe", recipe);
    bad |= json_object_set_new(run, "plan", plan);
    bad |= json_object_set_new(run, "machine", machine);
    bad |= json_object_set_new(run, "data_hash", text_column(row, 11));
    bad |= json_object_set_new(run, "program_hash", text_column(row, 12));
    bad |= json_object_set_new(run, "result", parse_column(row, 13));
    bad |= json_object_set_new(run, "peak_flops_per_second", json_real(sqlite3_column_double(row, 14)));
    if (bad) return out_of_memory(store);
    hone_status status = add_last(store, run, id);
    return status ? status : add_held_out(store, run, id);
}

hone_status hone_store_runs(hone_store *store, json_t **out)
{
    sqlite3_stmt *row;
    *out = NULL;
    hone_status status = hone_store_prepare(store, &row, "SELECT id, folder, began, updated, event, generation, hone, source, recipe, plan, machine,"
                                            " data_hash, program_hash, result, peak FROM runs ORDER BY id", "");
    if (status) return status;
    json_t *runs = json_array();
    int code = SQLITE_DONE;
    while (!status && (code = sqlite3_step(row)) == SQLITE_ROW) {
        json_t *run = json_object();
        status = describe(store, row, run);
        if (json_array_append_new(runs, run) && !status) status = out_of_memory(store);
    }
    if (!status && code != SQLITE_DONE) status = hone_store_fail(store, "read");
    sqlite3_finalize(row);
    if (status) json_decref(runs);
    else *out = runs;
    return status;
}

hone_status hone_store_find(hone_store *store, const char *which, json_t **out)
{
    json_t *runs, *run, *found = NULL;
    *out = NULL;
    hone_status status = hone_store_runs(store, &runs);
    if (status) return status;
    char *folder = hone_store_relative(store, which), *end;
    long long number = strtoll(which[0] == '#' ? which + 1 : which, &end, 10);
    size_t i;
    json_array_foreach(runs, i, run) { // the newest that fits best: a number, a folder, a name
        const char *place = json_string_value(json_object_get(run, "folder"));
        if (*which && !*end && json_integer_value(json_object_get(run, "id")) == number) { found = run; break; }
        if (folder && (strcmp(place, folder) == 0 || strcmp(name_of(place), which) == 0)) found = run;
    }
    if (found) *out = json_incref(found);
    else if (!folder) status = HONE_FAILED;
    else status = hone_fail("%s: has no run %s; `hone runs` lists them by number and name", store->path, which);
    hone_free(folder);
    json_decref(runs);
    return status;
}

hone_status hone_store_events(hone_store *store, int64_t run, const char *kind, int64_t limit, json_t **out)
{
    sqlite3_stmt *row;
    *out = NULL;
    hone_status status = hone_store_prepare(store, &row, "SELECT row FROM (SELECT id, row FROM events WHERE run = ? AND (? IS NULL OR event = ?)"
                                            " ORDER BY id DESC LIMIT ?) ORDER BY id", "itti", run, kind, kind, limit > 0 ? limit : INT64_C(-1));
    if (status) return status;
    json_t *rows = json_array();
    int code = SQLITE_DONE;
    while (!status && (code = sqlite3_step(row)) == SQLITE_ROW)
        if (json_array_append_new(rows, parse_column(row, 0))) status = out_of_memory(store);
    if (!status && code != SQLITE_DONE) status = hone_store_fail(store, "read");
    sqlite3_finalize(row);
    if (status) json_decref(rows);
    else *out = rows;
    return status;
}

hone_status hone_store_steps(hone_store *store, int64_t run, int64_t after,
                             void (*each)(void *context, int64_t step, const double value[HONE_METRIC_COUNT]), void *context)
{
    hone_buffer sql = { 0 };
    sqlite3_stmt *row = NULL;
    hone_status status = hone_buffer_print(&sql, "SELECT step");
    for (int m = 0; m < HONE_METRIC_COUNT && !status; m++) status = hone_buffer_print(&sql, ", %s", hone_metric_table[m].name);
    if (!status) status = hone_buffer_print(&sql, " FROM steps WHERE run = ? AND step > ? ORDER BY step");
    if (!status) status = hone_store_prepare(store, &row, sql.data, "ii", run, after);
    hone_buffer_release(&sql);
    if (status) return status;
    int code;
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        double value[HONE_METRIC_COUNT];
        for (int m = 0; m < HONE_METRIC_COUNT; m++) value[m] = sqlite3_column_type(row, m + 1) == SQLITE_NULL ? NAN : sqlite3_column_double(row, m + 1);
        each(context, sqlite3_column_int64(row, 0), value);
    }
    if (code != SQLITE_DONE) status = hone_store_fail(store, "read");
    sqlite3_finalize(row);
    return status;
}
