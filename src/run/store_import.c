// store_import.c: log.jsonl -> run store, exactly once each row (see store.h).
//
//     logs(folder): head, offset, run          head: hash of the log's first line, so that a log that was replaced is seen
//
//     offset ----[ whole lines ]----> end      a line that is still being written is left for the next import
//
// A "start" row opens a run, "resume" goes on with it. One transaction takes at most BATCH_BYTES of log, so that neither the
// write-ahead log nor a reader's wait grows with the length of a run.
#include "base/file.h"
#include "base/memory.h"
#include "run/store_inside.h"
#include <inttypes.h>
#include <string.h>

enum { BATCH_BYTES = 4 << 20, DEPTH = 6 };

typedef struct {
    hone_store *store;
    const char *folder;                // as the store keeps it
    const char *path;                  // of the log
    int64_t run, offset, rows;
    char head[17];
    sqlite3_stmt *add_step, *add_event, *touch;
    bool known;                        // the log was read before
} import;

static const char *text_of(const json_t *row, const char *key) { return json_string_value(json_object_get(row, key)); }

static hone_status open_statements(import *in)
{
    hone_buffer sql = { 0 }, holes = { 0 };
    hone_status status = hone_buffer_print(&sql, "INSERT OR REPLACE INTO steps(run, step");
    for (int m = 0; m < HONE_METRIC_COUNT && !status; m++) {
        status = hone_buffer_print(&sql, ", %s", hone_metric_table[m].name);
        if (!status) status = hone_buffer_print(&holes, ", ?");
    }
    if (!status) status = hone_buffer_print(&sql, ") VALUES(?, ?%s)", holes.data);
    if (!status) status = hone_store_prepare(in->store, &in->add_step, sql.data, "");
    if (!status) status = hone_store_prepare(in->store, &in->add_event, "INSERT INTO events(run, event, step, time, row) VALUES(?, ?, ?, ?, ?)", "");
    if (!status) status = hone_store_prepare(in->store, &in->touch, "UPDATE runs SET updated = ?, event = ? WHERE id = ?", "");
    hone_buffer_release(&sql);
    hone_buffer_release(&holes);
    return status;
}

static void close_statements(import *in)
{
    sqlite3_finalize(in->add_step);
    sqlite3_finalize(in->add_event);
    sqlite3_finalize(in->touch);
}

static hone_status run_again(import *in, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    hone_status status = code == SQLITE_DONE ? HONE_OK : hone_store_fail(in->store, "write");
    sqlite3_reset(statement);
    return status;
}

// The value of a key as JSON text, NULL where it is absent. hone_free() it.
static hone_status dump(const json_t *row, const char *key, char **text)
{
    const json_t *value = json_object_get(row, key);
    *text = value ? hone_json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    return value && !*text ? hone_fail("out of memory for %s of a run", key) : HONE_OK;
}

static hone_status open_run(import *in, const json_t *row, bool anew)
{
    hone_store *store = in->store;
    sqlite3_stmt *statement;
    hone_status status = HONE_OK;
    if (anew) {
        status = hone_store_prepare(store, &statement, "INSERT INTO runs(folder, began) VALUES(?, ?)", "tt", in->folder, text_of(row, "time") ? text_of(row, "time") : "");
        if (!status) status = hone_store_step_once(store, statement);
        in->run = sqlite3_last_insert_rowid(store->db);
    }
    char *recipe = NULL, *plan = NULL, *machine = NULL;
    if (!status) status = dump(row, "recipe", &recipe);
    if (!status) status = dump(row, "plan", &plan);
    if (!status) status = dump(row, "machine", &machine);
    if (!status) status = hone_store_prepare(store, &statement, "UPDATE runs SET hone = coalesce(?, hone), source = coalesce(?, source), recipe = coalesce(?, recipe), plan = coalesce(?, plan),"
        " machine = coalesce(?, machine), data_hash = coalesce(?, data_hash), program_hash = coalesce(?, program_hash), peak = ?, result = NULL WHERE id = ?", "ttttttt" "di", text_of(row, "hone"), text_of(row, "from"), recipe, plan, machine, text_of(row, "data_hash"),
        text_of(row, "program_hash"), json_number_value(json_object_get(row, "peak_flops_per_second")), in->run);
    if (!status) status = hone_store_step_once(store, statement);
    hone_free(recipe);
    hone_free(plan);
    hone_free(machine);
    return status;
}

// What stands behind the step that a run goes on from will come again.
static hone_status rewind_to(import *in, int64_t step)
{
    sqlite3_stmt *statement;
    static const char *const sql[] = { "DELETE FROM steps WHERE run = ? AND step > ?",
        "DELETE FROM events WHERE run = ? AND step > ? AND event IN ('eval', 'sample', 'save', 'overflow')",
        "UPDATE runs SET generation = generation + 1 WHERE id = ? AND ? >= 0" };
    hone_status status = HONE_OK;
    for (int i = 0; i < 3 && !status; i++) {
        status = hone_store_prepare(in->store, &statement, sql[i], "ii", in->run, step);
        if (!status) status = hone_store_step_once(in->store, statement);
    }
    return status;
}

// The number in ".../step-N", the checkpoint that a resume names.
static int64_t step_of(const char *from)
{
    const char *at = from ? strstr(from, "step-") : NULL, *last = NULL;
    for (; at; at = strstr(at + 1, "step-")) last = at;
    return last ? strtoll(last + 5, NULL, 10) : 0;
}

static hone_status add_step(import *in, const json_t *row, int64_t step)
{
    int bad = sqlite3_bind_int64(in->add_step, 1, in->run);
    bad |= sqlite3_bind_int64(in->add_step, 2, step);
    for (int m = 0; m < HONE_METRIC_COUNT; m++) {
        const json_t *value = json_object_get(row, hone_metric_table[m].name);
        if (json_is_number(value)) bad |= sqlite3_bind_double(in->add_step, m + 3, json_number_value(value));
        else bad |= sqlite3_bind_null(in->add_step, m + 3);
    }
    return bad ? hone_store_fail(in->store, "write") : run_again(in, in->add_step);
}

static hone_status add_event(import *in, const json_t *row, const char *event, int64_t step)
{
    char *text = hone_json_dumps(row, JSON_COMPACT);
    if (!text) return hone_fail("out of memory for an event of a run");
    int bad = sqlite3_bind_int64(in->add_event, 1, in->run);
    bad |= sqlite3_bind_text(in->add_event, 2, event, -1, SQLITE_STATIC);
    bad |= step >= 0 ? sqlite3_bind_int64(in->add_event, 3, step) : sqlite3_bind_null(in->add_event, 3);
    bad |= sqlite3_bind_text(in->add_event, 4, text_of(row, "time"), -1, SQLITE_STATIC);
    bad |= sqlite3_bind_text(in->add_event, 5, text, -1, SQLITE_STATIC);
    hone_status status = bad ? hone_store_fail(in->store, "write") : run_again(in, in->add_event);
    hone_free(text);
    return status;
}

static hone_status note_result(import *in, const json_t *row)
{
    char *text = hone_json_dumps(row, JSON_COMPACT);
    if (!text) return HONE_FAILED;
    sqlite3_stmt *statement;
    hone_status status = hone_store_prepare(in->store, &statement, "UPDATE runs SET result = ? WHERE id = ?", "ti", text, in->run);
    if (!status) status = hone_store_step_once(in->store, statement);
    hone_free(text);
    return status;
}

static hone_status take_row(import *in, const json_t *row)
{
    const char *event = text_of(row, "event");
    if (!event) return HONE_OK; // not a row of hone's
    bool start = strcmp(event, "start") == 0, resume = strcmp(event, "resume") == 0;
    const json_t *number = json_object_get(row, "step");
    int64_t step = json_is_integer(number) ? json_integer_value(number) : -1;
    hone_status status = HONE_OK;
    if (start || in->run == 0) status = open_run(in, row, true);
    else if (resume) status = open_run(in, row, false);
    if (!status && resume) status = rewind_to(in, step_of(text_of(row, "from")));
    if (!status && strcmp(event, "step") == 0 && step >= 0) status = add_step(in, row, step);
    else if (!status && !start && !resume) status = add_event(in, row, event, step);
    if (!status && strcmp(event, "end") == 0) status = note_result(in, row);
    in->rows++;
    if (status) return status;
    // A row that only remarks something leaves the state of the run as it is.
    bool state = start || resume || !strcmp(event, "step") || !strcmp(event, "stop") || !strcmp(event, "end") || !strcmp(event, "failed");
    int bad = sqlite3_bind_text(in->touch, 1, text_of(row, "time"), -1, SQLITE_STATIC);
    bad |= sqlite3_bind_text(in->touch, 2, state ? event : "step", -1, SQLITE_STATIC);
    bad |= sqlite3_bind_int64(in->touch, 3, in->run);
    return bad ? hone_store_fail(in->store, "write") : run_again(in, in->touch);
}

// Did the last parse fail for want of memory? A message about what the line holds, which may hold these words, begins with its place.
static bool starved(const import *in)
{
    static const char words[] = ": out of memory";
    size_t n = strlen(in->path);
    return strncmp(hone_error(), in->path, n) == 0 && strncmp(hone_error() + n, words, sizeof words - 1) == 0;
}

static hone_status take_lines(import *in, const char *text, size_t size)
{
    hone_status status = HONE_OK;
    for (size_t at = 0; at < size && !status;) {
        const char *newline = memchr(text + at, '\n', size - at);
        if (!newline) break;
        size_t length = (size_t)(newline - (text + at));
        json_t *row = NULL;
        // A line that is no JSON (a disk that was full, an editor) is passed over: the rest of the log still counts.
        if (length > 0 && hone_json_parse(in->path, text + at, length, &row) == HONE_FAILED) status = starved(in) ? HONE_FAILED : HONE_OK;
        else if (json_is_object(row)) status = take_row(in, row);
        json_decref(row);
        at += length + 1;
        in->offset += (int64_t)length + 1;
    }
    return status;
}

// Where the log was left. A log with another head is another log: its runs are kept, reading begins anew.
static hone_status find_place(import *in, const hone_map *map)
{
    const uint8_t *newline = memchr(map->data, '\n', map->size);
    size_t length = newline ? (size_t)(newline - map->data) : 0;
    snprintf(in->head, sizeof in->head, "%016" PRIx64, hone_hash64(map->data, length));
    sqlite3_stmt *find;
    hone_status status = hone_store_prepare(in->store, &find, "SELECT head, offset, run FROM logs WHERE folder = ?", "t", in->folder);
    if (status) return status;
    int code = sqlite3_step(find);
    const char *head = code == SQLITE_ROW ? (const char *)sqlite3_column_text(find, 0) : NULL;
    if (code == SQLITE_ROW && !head) status = hone_store_fail(in->store, "read");
    else if (code == SQLITE_ROW && strcmp(head, in->head) == 0 && sqlite3_column_int64(find, 1) <= (int64_t)map->size) {
        in->offset = sqlite3_column_int64(find, 1);
        in->run = sqlite3_column_int64(find, 2);
    } else if (code != SQLITE_ROW && code != SQLITE_DONE) {
        status = hone_store_fail(in->store, "read");
    }
    sqlite3_finalize(find);
    return status;
}

static hone_status take_batch(import *in, const hone_map *map)
{
    size_t left = map->size - (size_t)in->offset, size = left < BATCH_BYTES ? left : BATCH_BYTES;
    const char *text = (const char *)map->data + in->offset;
    while (size < left && !memchr(text, '\n', size)) size = 2 * size < left ? 2 * size : left; // one very long line
    hone_status status = take_lines(in, text, size);
    sqlite3_stmt *note;
    if (!status) status = hone_store_prepare(in->store, &note, "INSERT OR REPLACE INTO logs(folder, head, offset, run) VALUES(?, ?, ?, ?)", "ttii",
                                             in->folder, in->head, in->offset, in->run);
    if (!status) status = hone_store_step_once(in->store, note);
    return status;
}

static hone_status import_map(import *in, const hone_map *map)
{
    hone_status status = HONE_OK;
    for (int64_t before = -1; !status && in->offset != before && in->offset < (int64_t)map->size;) {
        if ((status = hone_store_exec(in->store, "BEGIN IMMEDIATE"))) break;
        if (!(status = find_place(in, map))) { // within the transaction: another importer may have come first
            before = in->offset;
            if (!in->add_step) status = open_statements(in);
            if (!status && in->offset < (int64_t)map->size) status = take_batch(in, map);
        }
        if (status) sqlite3_exec(in->store->db, "ROLLBACK", NULL, NULL, NULL); // the message is set
        else status = hone_store_exec(in->store, "COMMIT");
    }
    return status;
}

hone_status hone_store_import(hone_store *store, const char *run_folder, int64_t *rows)
{
    import in = { .store = store };
    char *folder = hone_store_relative(store, run_folder), *path = hone_path_join(run_folder, "log.jsonl");
    in.folder = folder;
    in.path = path;
    hone_map map = { 0 };
    hone_status status = folder && path ? hone_map_open(&map, path) : HONE_FAILED;
    if (!status && map.size > 0) status = import_map(&in, &map);
    close_statements(&in);
    hone_map_close(&map);
    hone_free(folder);
    hone_free(path);
    if (rows) *rows = in.rows;
    return status;
}

static hone_status import_below(hone_store *store, const char *dir, int depth, int64_t *logs, int64_t *rows)
{
    char **names;
    int64_t count;
    hone_status status = hone_dir_list(dir, &names, &count);
    if (status) return status;
    for (int64_t i = 0; i < count; i++) {
        char *inner = status ? NULL : hone_path_join(dir, names[i]);
        if (!status && !inner) status = HONE_FAILED;
        if (!status && strcmp(names[i], "log.jsonl") == 0) {
            int64_t taken = 0;
            status = hone_store_import(store, dir, &taken);
            *rows += taken;
            ++*logs;
        } else if (!status && depth > 0 && names[i][0] != '.' && hone_dir_exists(inner)) {
            status = import_below(store, inner, depth - 1, logs, rows);
        }
        hone_free(inner);
        hone_free(names[i]);
    }
    hone_free(names);
    return status;
}

hone_status hone_store_import_all(hone_store *store, const char *dir, int64_t *logs, int64_t *rows)
{
    *logs = *rows = 0;
    return import_below(store, dir, DEPTH, logs, rows);
}
