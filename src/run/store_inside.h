// store_inside.h: inside run/ only: the database between store.c (opening), store_import.c and store_query.c.
#pragma once
#include "run/store.h"
#include <sqlite3.h>

struct hone_store {
    sqlite3 *db;
    char *path, *root;            // of the database; its folder, as realpath says
};

// The message of the last call that failed, with what to do.
hone_status hone_store_fail(const hone_store *store, const char *what);
// One statement, prepared and bound: format has i (int64_t), d (double), t (const char *, may be NULL) for each parameter.
hone_status hone_store_prepare(hone_store *store, sqlite3_stmt **statement, const char *sql, const char *format, ...);
hone_status hone_store_step_once(hone_store *store, sqlite3_stmt *statement);   // runs one that returns no row; finalizes it
hone_status hone_store_exec(hone_store *store, const char *sql);
// The folder of a run as the store keeps it. hone_free() it.
char *hone_store_relative(const hone_store *store, const char *folder);
