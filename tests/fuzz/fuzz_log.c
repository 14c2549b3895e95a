// log.jsonl: any bytes can be brought into a run store, once: an import that follows takes nothing more, and whoever asks about
// the runs gets an answer.
#include "fuzz/pieces.h"
#include "run/store_inside.h"

static void count(void *context, int64_t step, const double value[HONE_METRIC_COUNT])
{
    (void)step, (void)value;
    ++*(int64_t *)context;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hone_store *store; // kept, and emptied: making its tables takes longer than what is tested
    json_t *runs, *run, *events;
    size_t i;
    int64_t rows, more, steps = 0;
    fuzz_file("log.jsonl", data, size);
    if (!store) FUZZ_HOLDS(hone_store_open(&store, ":memory:", true) == HONE_OK);
    FUZZ_HOLDS(hone_store_exec(store, "DELETE FROM runs; DELETE FROM steps; DELETE FROM events; DELETE FROM logs") == HONE_OK);
    FUZZ_HOLDS(hone_store_import(store, fuzz_folder(), &rows) == HONE_OK);
    if (size % 4) return 0; // the questions take longer than the import
    FUZZ_HOLDS(hone_store_import(store, fuzz_folder(), &more) == HONE_OK && more == 0);
    FUZZ_HOLDS(hone_store_runs(store, &runs) == HONE_OK);
    json_array_foreach(runs, i, run) {
        int64_t id = json_integer_value(json_object_get(run, "id"));
        FUZZ_HOLDS(hone_store_events(store, id, NULL, 0, &events) == HONE_OK && hone_store_steps(store, id, -1, count, &steps) == HONE_OK);
        json_decref(events);
    }
    FUZZ_HOLDS(json_array_size(runs) <= (size_t)rows && steps <= rows);
    json_decref(runs);
    return 0;
}
