// store.c: opening the run store, its tables, and the few calls that the other halves share. See store.h.
//
// SQLite's memory comes from base/memory.h. Its files do not pass base/file.h: nothing but SQLite may order its writes,
// and nothing in the database is lost for good, because the logs hold all of it.
#include "base/file.h"
#include "base/memory.h"
#include "run/store_inside.h"
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, BUSY_MS = 2000, HEADER_BYTES = 16 };

const hone_metric_about hone_metric_table[HONE_METRIC_COUNT] = {
#define METRIC(name, title, unit, charted) { #name, title, unit, charted },
#include "run/metrics.def"
#undef METRIC
};

// --- SQLite's memory: a block carries its size in front, which SQLite asks for --------------------------------------------

static int round_up(int size) { return (size + 7) & ~7; }

static void *take(int size)
{
    char *block = hone_alloc((size_t)size + HEADER_BYTES, 1);
    if (!block) return NULL;
    memcpy(block, &size, sizeof size);
    return block + HEADER_BYTES;
}

static void give(void *pointer) { hone_free((char *)pointer - HEADER_BYTES); }

static void *resize(void *pointer, int size)
{
    char *block = hone_realloc((char *)pointer - HEADER_BYTES, (size_t)size + HEADER_BYTES, 1);
    if (!block) return NULL;
    memcpy(block, &size, sizeof size);
    return block + HEADER_BYTES;
}

static int size_of(void *pointer)
{
    int size;
    memcpy(&size, (char *)pointer - HEADER_BYTES, sizeof size);
    return size;
}

static int begin(void *unused) { return (void)unused, SQLITE_OK; }
static void end(void *unused) { (void)unused; }

static void configure(void)
{
    static const sqlite3_mem_methods methods = { take, give, resize, size_of, round_up, begin, end, NULL };
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_initialize();
}

// --- calls ------------------------------------------------------------------------------------------------------------

hone_status hone_store_fail(const hone_store *store, const char *what)
{
    int code = store->db ? sqlite3_errcode(store->db) : SQLITE_NOMEM;
    const char *remedy = "";
    switch (code & 0xff) {
    case SQLITE_CORRUPT: case SQLITE_NOTADB: remedy = "; it is damaged: remove it (with its -wal and -shm), `hone runs import` makes it anew from the logs"; break;
    case SQLITE_BUSY: case SQLITE_LOCKED: remedy = "; another program holds it: close that one, `hone runs import` catches up"; break;
    case SQLITE_FULL: remedy = "; free some space there"; break;
    case SQLITE_CANTOPEN: case SQLITE_READONLY: case SQLITE_IOERR: case SQLITE_PERM: remedy = "; check that its folder is there and may be written"; break;
    default: break;
    }
    return hone_fail("%s: cannot %s: %s%s", store->path, what, store->db ? sqlite3_errmsg(store->db) : "out of memory", remedy);
}

hone_status hone_store_prepare(hone_store *store, sqlite3_stmt **statement, const char *sql, const char *format, ...)
{
    *statement = NULL;
    if (sqlite3_prepare_v2(store->db, sql, -1, statement, NULL)) return hone_store_fail(store, "read");
    va_list args;
    va_start(args, format);
    int bad = 0;
    for (int i = 1; format[i - 1]; i++) {
        if (format[i - 1] == 'i') bad |= sqlite3_bind_int64(*statement, i, va_arg(args, int64_t));
        else if (format[i - 1] == 'd') bad |= sqlite3_bind_double(*statement, i, va_arg(args, double));
        else bad |= sqlite3_bind_text(*statement, i, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
    }
    va_end(args);
    if (!bad) return HONE_OK;
    hone_status status = hone_store_fail(store, "read");
    sqlite3_finalize(*statement);
    *statement = NULL;
    return status;
}

hone_status hone_store_step_once(hone_store *store, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    hone_status status = code == SQLITE_DONE || code == SQLITE_ROW ? HONE_OK : hone_store_fail(store, "write");
    sqlite3_finalize(statement);
    return status;
}

hone_status hone_store_exec(hone_store *store, const char *sql)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) ? hone_store_fail(store, "write") : HONE_OK;
}

char *hone_store_relative(const hone_store *store, const char *folder)
{
    char real[PATH_MAX];
    const char *from = realpath(folder, real) ? real : folder;
    size_t root = strlen(store->root);
    if (strncmp(from, store->root, root) == 0 && from[root] == '/') from += root + 1;
    else if (strcmp(from, store->root) == 0) from = ".";
    return hone_strdup(from);
}

// --- opening ----------------------------------------------------------------------------------------------------------

// Stores of an older hone lack the columns of newer metrics.
static hone_status add_columns(hone_store *store)
{
    hone_status status = HONE_OK;
    for (int m = 0; m < HONE_METRIC_COUNT && !status; m++) {
        sqlite3_stmt *find;
        status = hone_store_prepare(store, &find, "SELECT 1 FROM pragma_table_info('steps') WHERE name = ?", "t", hone_metric_table[m].name);
        if (status) break;
        int found = sqlite3_step(find);
        sqlite3_finalize(find);
        if (found == SQLITE_ROW) continue;
        if (found != SQLITE_DONE) return hone_store_fail(store, "read");
        char sql[128];
        snprintf(sql, sizeof sql, "ALTER TABLE steps ADD COLUMN %s REAL", hone_metric_table[m].name);
        status = hone_store_exec(store, sql);
    }
    return status;
}

static hone_status make_tables(hone_store *store)
{
    static const char *const sql =
        "CREATE TABLE IF NOT EXISTS runs(id INTEGER PRIMARY KEY, folder TEXT NOT NULL, began TEXT NOT NULL, updated TEXT, event TEXT,"
        " generation INTEGER NOT NULL DEFAULT 0, hone TEXT, source TEXT, recipe TEXT, plan TEXT, machine TEXT, data_hash TEXT,"
        " program_hash TEXT, result TEXT, peak REAL);"
        "CREATE INDEX IF NOT EXISTS runs_folder ON runs(folder);"
        "CREATE TABLE IF NOT EXISTS logs(folder TEXT PRIMARY KEY, head TEXT NOT NULL, offset INTEGER NOT NULL, run INTEGER NOT NULL);"
        "CREATE TABLE IF NOT EXISTS steps(run INTEGER NOT NULL, step INTEGER NOT NULL, PRIMARY KEY(run, step)) WITHOUT ROWID;"
        "CREATE TABLE IF NOT EXISTS events(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, event TEXT NOT NULL, step INTEGER, time TEXT, row TEXT);"
        "CREATE INDEX IF NOT EXISTS events_run ON events(run, event, id);"
        "CREATE VIEW IF NOT EXISTS evaluations AS SELECT run, step, time, row->>'loss' AS loss, row->>'standard_error' AS standard_error,"
        " row->>'bits_per_byte' AS bits_per_byte, row->>'perplexity' AS perplexity FROM events WHERE event = 'eval';"
        "CREATE VIEW IF NOT EXISTS checkpoints AS SELECT run, step, time, row->>'bytes' AS bytes, row->>'seconds' AS seconds"
        " FROM events WHERE event = 'save';";
    hone_status status = hone_store_exec(store, "BEGIN IMMEDIATE");
    if (!status) status = hone_store_exec(store, sql);
    if (!status) status = add_columns(store);
    if (!status) status = hone_store_exec(store, "PRAGMA user_version=1");
    if (!status) return hone_store_exec(store, "COMMIT");
    sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL); // the message is set
    return status;
}

static hone_status check_version(hone_store *store, int64_t *version)
{
    sqlite3_stmt *ask;
    hone_status status = hone_store_prepare(store, &ask, "PRAGMA user_version", "");
    if (status) return status;
    if (sqlite3_step(ask) != SQLITE_ROW) status = hone_store_fail(store, "read");
    else *version = sqlite3_column_int64(ask, 0);
    sqlite3_finalize(ask);
    if (!status && *version > VERSION)
        return hone_fail("%s: is of a newer hone (version %lld, this one knows %d); use that one, or another folder", store->path, (long long)*version, VERSION);
    return status;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return !slash ? hone_strdup(".") : slash == path ? hone_strdup("/") : hone_format("%.*s", (int)(slash - path), path);
}

static hone_status find_root(hone_store *store, const char *path)
{
    char *folder = folder_of(path);
    if (!folder) return HONE_FAILED;
    char real[PATH_MAX];
    store->root = hone_strdup(realpath(folder, real) ? real : folder);
    hone_free(folder);
    return store->root ? HONE_OK : HONE_FAILED;
}

// A medium that cannot be written has no place for the shared index of the write-ahead log: then the file is read as it lies.
static hone_status open_to_read(hone_store *store)
{
    sqlite3_stmt *probe;
    if (sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK
        && sqlite3_prepare_v2(store->db, "SELECT count(*) FROM sqlite_schema", -1, &probe, NULL) == SQLITE_OK) {
        int code = sqlite3_step(probe);
        sqlite3_finalize(probe);
        if (code == SQLITE_ROW) return HONE_OK;
    }
    if (!store->db || (sqlite3_errcode(store->db) & 0xff) != SQLITE_CANTOPEN) return hone_store_fail(store, "open");
    hone_buffer uri = { 0 };
    hone_status status = hone_buffer_print(&uri, "file:");
    for (const char *at = store->path; *at && !status; at++) // what means something else in a URI is escaped
        status = hone_buffer_print(&uri, strchr("?#%", *at) ? "%%%02X" : "%c", (unsigned char)*at);
    if (!status) status = hone_buffer_print(&uri, "?immutable=1");
    sqlite3_close(store->db);
    store->db = NULL;
    if (!status && sqlite3_open_v2(uri.data, &store->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL))
        status = hone_store_fail(store, "open");
    hone_buffer_release(&uri);
    return status;
}

hone_status hone_store_open(hone_store **out, const char *path, bool write)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure);
    *out = NULL;
    hone_store *store = hone_alloc(1, sizeof *store);
    if (!store) return HONE_FAILED;
    hone_status status = (store->path = hone_strdup(path)) ? find_root(store, path) : HONE_FAILED;
    if (!status && !write && !hone_file_exists(path))
        status = hone_fail("%s: there is no run store; runs make it in the folder that holds theirs: name that one, or `hone runs import DIR`", path);
    int64_t version = 0;
    if (!status && !write) status = open_to_read(store);
    else if (!status && sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL))
        status = hone_store_fail(store, "open");
    if (!status) sqlite3_busy_timeout(store->db, BUSY_MS);
    if (!status) status = check_version(store, &version);
    if (!status) status = hone_store_exec(store, "PRAGMA cache_size=-128");
    if (!status && write) status = hone_store_exec(store, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=256");
    if (!status && write) status = make_tables(store);
    if (!status && !write && version == 0) status = hone_fail("%s: is not a run store of hone", path);
    if (status) hone_store_close(store);
    else *out = store;
    return status;
}

void hone_store_close(hone_store *store)
{
    if (!store) return;
    sqlite3_close(store->db);
    hone_free(store->path);
    hone_free(store->root);
    hone_free(store);
}

char *hone_store_path_in(const char *dir) { return hone_path_join(dir, "runs.db"); }

hone_status hone_store_path_for(const char *output_dir, char **path)
{
    char real[PATH_MAX]; // "." and "run/.." too have a folder around them
    char *folder = folder_of(realpath(output_dir, real) ? real : output_dir);
    *path = folder ? hone_store_path_in(folder) : NULL;
    hone_free(folder);
    return *path ? HONE_OK : HONE_FAILED;
}
