// cmd_runs.c: the words of hone runs: what all runs under a folder did (run/store.h).
#include "base/file.h"
#include "base/units.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "run/compare.h"
#include "run/store.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIR_OPTION(dir) { "dir", HONE_CLI_TEXT, &(dir), "DIR", "the folder that holds the runs, or a run store (default: here)" }

// Where the verbs look: --dir, a folder with a store or the store itself.
static hone_status open_store(const char *dir, bool write, hone_store **store)
{
    bool folder = write || hone_dir_exists(dir) || !hone_file_exists(dir);
    char *path = folder ? hone_store_path_in(dir) : hone_strdup(dir);
    hone_status status = path ? hone_store_open(store, path, write) : HONE_FAILED;
    hone_free(path);
    return status;
}

static double number(const json_t *run, const char *key) { return json_number_value(hone_run_value(run, key)); }
static const char *text(const json_t *run, const char *key)
{
    const char *value = json_string_value(hone_run_value(run, key));
    return value ? value : "-";
}

// --- list -------------------------------------------------------------------------------------------------------------

static void print_number(int width, int digits, const json_t *run, const char *key)
{
    if (hone_run_value(run, key)) printf("  %*.*f", width, digits, number(run, key));
    else printf("  %*s", width, "-");
}

static void print_run(const json_t *run, int name_width, const hone_cli_texts *columns)
{
    int64_t step = (int64_t)number(run, "step"), steps = (int64_t)number(run, "steps");
    char done[48];
    snprintf(done, sizeof done, steps > 0 ? "%lld/%lld" : "%lld", (long long)step, (long long)steps);
    printf("%4lld  %-*s  %-7s  %.16s  %13s", (long long)number(run, "id"), name_width, text(run, "name"), text(run, "state"), text(run, "started"), done);
    print_number(7, 4, run, "last.loss");
    print_number(8, 4, run, "held_out.loss");
    print_number(9, 4, run, "held_out.bits_per_byte");
    printf("  %7s", hone_units_grouped((int64_t)number(run, "last.tokens_per_second")).s);
    printf("  %8s  %7s", hone_units_time(number(run, "last.elapsed_seconds")).s, hone_units_count(number(run, "plan.parameters")).s);
    for (int i = 0; i < columns->count; i++) {
        hone_buffer value = { 0 };
        if (hone_run_print_value(hone_run_value(run, columns->text[i]), &value) == HONE_OK) printf("  %*s", (int)strlen(columns->text[i]), value.data);
        hone_buffer_release(&value);
    }
    printf("\n");
}

static const char *sort_key;
static int by_key(const void *a, const void *b)
{
    const json_t *x = hone_run_value(*(json_t *const *)a, sort_key), *y = hone_run_value(*(json_t *const *)b, sort_key);
    if (!x || !y) return x ? -1 : y ? 1 : 0; // without a value: last
    if (json_is_string(x) && json_is_string(y)) return strcmp(json_string_value(x), json_string_value(y));
    double p = json_number_value(x), q = json_number_value(y);
    return p < q ? -1 : p > q;
}

static hone_status keep_matching(json_t *runs, char **filter, int filters)
{
    hone_status status = HONE_OK;
    for (size_t i = json_array_size(runs); i-- > 0 && !status;)
        for (int f = 0; f < filters && !status; f++) {
            bool matches = true;
            status = hone_run_matches(json_array_get(runs, i), filter[f], &matches);
            if (!status && !matches) { json_array_remove(runs, i); break; }
        }
    return status;
}

static hone_status sorted(const json_t *runs, const char *key, json_t ***out)
{
    size_t count = json_array_size(runs);
    json_t **list = hone_alloc(count, sizeof *list);
    if (!list) return HONE_FAILED;
    for (size_t i = 0; i < count; i++) list[i] = json_array_get(runs, i);
    sort_key = key;
    qsort(list, count, sizeof *list, by_key);
    *out = list;
    return HONE_OK;
}

static hone_status print_list(const json_t *runs, const char *key, const hone_cli_texts *columns)
{
    json_t **list;
    hone_status status = sorted(runs, key, &list);
    if (status) return status;
    size_t count = json_array_size(runs);
    int width = 4;
    for (size_t i = 0; i < count; i++) {
        int n = (int)strlen(text(list[i], "name"));
        if (n > width) width = n;
    }
    printf("   #  %-*s  state    started (UTC)              step     loss  held out  bits/byte    tok/s      time   params", width, "name");
    for (int i = 0; i < columns->count; i++) printf("  %s", columns->text[i]);
    printf("\n");
    for (size_t i = 0; i < count; i++) print_run(list[i], width, columns);
    hone_free(list);
    return HONE_OK;
}

hone_status hone_cmd_runs_list(int argc, char **argv)
{
    const char *dir = ".", *sort = "id";
    hone_cli_texts columns = { 0 };
    bool json = false, done;
    const hone_cli_option options[] = {
        DIR_OPTION(dir),
        { "sort", HONE_CLI_TEXT, &sort, "KEY", "order by this key, smallest first (default: id)" },
        { "column", HONE_CLI_TEXTS, &columns, "KEY", "show this key as well; may be given several times" },
        { "json", HONE_CLI_FLAG, &json, NULL, "print a JSON array of all that is known" }, { 0 } };
    const hone_cli_command command = { "runs list", "[options] [KEY=VALUE ...]",
        "The runs under a folder: how they stand, what they came to. KEY=VALUE (or != < <= > >=) keeps those that fit; a key is\n"
        "any of a recipe, a metric, or a path: state=ended, learning_rate=1e-3, held_out.loss<3, recipe.model.hidden_size=384.",
        "hone runs --dir build/demo state=ended --sort held_out.loss", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    hone_store *store;
    json_t *runs;
    if ((status = open_store(dir, false, &store))) return status;
    if (!(status = hone_store_runs(store, &runs))) {
        if (!(status = keep_matching(runs, argv, argc))) status = json ? hone_cli_print_json(runs) : print_list(runs, sort, &columns);
        json_decref(runs);
    }
    hone_store_close(store);
    return status;
}

// --- show -------------------------------------------------------------------------------------------------------------

static void print_map(const char *title, const json_t *map, const char *prefix)
{
    const char *key;
    json_t *value;
    if (title) printf("  %s\n", title);
    json_object_foreach((json_t *)(uintptr_t)map, key, value) {
        if (json_is_object(value) && json_object_size(value) > 0) {
            char *inner = hone_format("%s%s.", prefix, key);
            if (inner) print_map(NULL, value, inner);
            hone_free(inner);
            continue;
        }
        hone_buffer shown = { 0 };
        if (hone_run_print_value(value, &shown) == HONE_OK) printf("    %s%-*s %s\n", prefix, 30 - (int)strlen(prefix), key, shown.data);
        hone_buffer_release(&shown);
    }
}

static void print_event(const json_t *row)
{
    const char *event = text(row, "event");
    printf("    %.19s  %-12s", text(row, "time"), event);
    if (json_object_get(row, "step")) printf("  step %lld", (long long)json_integer_value(json_object_get(row, "step")));
    if (json_object_get(row, "loss")) printf("  loss %.4f", json_number_value(json_object_get(row, "loss")));
    if (json_object_get(row, "bytes")) printf("  %s in %.1f s", hone_units_bytes(json_number_value(json_object_get(row, "bytes"))).s, json_number_value(json_object_get(row, "seconds")));
    if (json_object_get(row, "text")) printf("  %.70s", text(row, "text"));
    if (json_object_get(row, "error")) printf("  %s", text(row, "error"));
    printf("\n");
}

static hone_status print_show(hone_store *store, const json_t *run)
{
    json_t *events;
    hone_status status = hone_store_events(store, json_integer_value(json_object_get(run, "id")), NULL, 12, &events);
    if (status) return status;
    printf("run %lld  %s  %s  began %s\n", (long long)number(run, "id"), text(run, "folder"), text(run, "state"), text(run, "started"));
    print_map("last step", json_object_get(run, "last"), "");
    print_map("held out", json_object_get(run, "held_out"), "");
    print_map("recipe", json_object_get(run, "recipe"), "");
    print_map("machine", json_object_get(run, "machine"), "");
    printf("  identity\n    %-30s %s\n    %-30s %s\n    %-30s %s\n", "hone", text(run, "hone"), "data", text(run, "data_hash"), "programs", text(run, "program_hash"));
    size_t i;
    json_t *row;
    if (json_array_size(events)) printf("  newest events\n");
    json_array_foreach(events, i, row) print_event(row);
    json_decref(events);
    return HONE_OK;
}

hone_status hone_cmd_runs_show(int argc, char **argv)
{
    const char *dir = ".";
    bool json = false, done;
    const hone_cli_option options[] = { DIR_OPTION(dir),
                                        { "json", HONE_CLI_FLAG, &json, NULL, "print one JSON object, all events in it" }, { 0 } };
    const hone_cli_command command = { "runs show", "[options] RUN", "All that is known of a run: its number, its name or its folder.", "hone runs show --dir build/demo run", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("runs show: one RUN is expected; hone runs lists them");
    hone_store *store;
    json_t *run = NULL, *events;
    if ((status = open_store(dir, false, &store))) return status;
    status = hone_store_find(store, argv[0], &run);
    if (!status && !json) status = print_show(store, run);
    else if (!status && !(status = hone_store_events(store, json_integer_value(json_object_get(run, "id")), NULL, 0, &events))) {
        json_object_set_new(run, "events", events);
        status = hone_cli_print_json(run);
    }
    json_decref(run);
    hone_store_close(store);
    return status;
}

// --- diff -------------------------------------------------------------------------------------------------------------

static hone_status print_diff(const json_t *a, const json_t *b, const json_t *rows)
{
    size_t i;
    json_t *row;
    const char *section = "";
    hone_status status = HONE_OK;
    printf("%-40s  %-28s  %s\n", "", text(a, "name"), text(b, "name"));
    json_array_foreach(rows, i, row) {
        const json_t *x = json_object_get(row, "a"), *y = json_object_get(row, "b");
        hone_buffer left = { 0 }, right = { 0 };
        status = hone_run_print_value(x, &left);
        if (!status) status = hone_run_print_value(y, &right);
        if (!status) {
            const char *now = text(row, "section");
            if (strcmp(now, section)) printf("%s\n", section = now);
            printf("  %-38s  %-28s  %s", text(row, "key"), left.data, right.data);
            if (json_is_number(x) && json_is_number(y) && json_number_value(x) != 0 && strcmp(now, "result") == 0)
                printf("  %+.2f%%", 100 * (json_number_value(y) / json_number_value(x) - 1));
            printf("\n");
        }
        hone_buffer_release(&left);
        hone_buffer_release(&right);
        if (status) return status;
    }
    if (json_array_size(rows) == 0) printf("no difference\n");
    return HONE_OK;
}

hone_status hone_cmd_runs_diff(int argc, char **argv)
{
    const char *dir = ".";
    bool json = false, done;
    const hone_cli_option options[] = { DIR_OPTION(dir),
                                        { "json", HONE_CLI_FLAG, &json, NULL, "print a JSON array" }, { 0 } };
    const hone_cli_command command = { "runs diff", "[options] A B", "Where two runs differ: recipe, program, data, machine, and what they came to.",
                                       "hone runs diff --dir runs 1 2", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 2) return hone_fail_usage("runs diff: two runs are expected; hone runs lists them");
    hone_store *store;
    json_t *a = NULL, *b = NULL, *rows = NULL;
    if ((status = open_store(dir, false, &store))) return status;
    if (!(status = hone_store_find(store, argv[0], &a))) status = hone_store_find(store, argv[1], &b);
    if (!status) status = hone_run_diff(a, b, &rows);
    if (!status) status = json ? hone_cli_print_json(rows) : print_diff(a, b, rows);
    json_decref(a);
    json_decref(b);
    json_decref(rows);
    hone_store_close(store);
    return status;
}

// --- import -----------------------------------------------------------------------------------------------------------

hone_status hone_cmd_runs_import(int argc, char **argv)
{
    bool done;
    const hone_cli_option options[] = { { 0 } };
    const hone_cli_command command = { "runs import", "[DIR]",
        "Brings the run store of a folder up to date with every log.jsonl below it: after runs were copied there, or after the\n"
        "store was locked, damaged or removed.", "hone runs import build/demo", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc > 1) return hone_fail_usage("runs import: one DIR at most");
    const char *dir = argc ? argv[0] : ".";
    if (!hone_dir_exists(dir)) return hone_fail("%s: is not a folder", dir);
    hone_store *store;
    int64_t logs, rows;
    if ((status = open_store(dir, true, &store))) return status;
    if (!(status = hone_store_import_all(store, dir, &logs, &rows))) printf("%lld logs, %lld new rows\n", (long long)logs, (long long)rows);
    hone_store_close(store);
    return status;
}
