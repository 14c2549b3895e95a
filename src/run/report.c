// report.c: see report.h.
#include "run/report.h"
#include "base/file.h"
#include "base/units.h"
#include "run/compare.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COURSE = 12 };

typedef struct { int64_t *step; double *loss, *rate, *memory; int64_t count, capacity; bool failed; } course;

static void keep(void *context, int64_t step, const double value[HONE_METRIC_COUNT])
{
    course *c = context;
    if (c->count == c->capacity) {
        int64_t capacity = c->capacity ? 2 * c->capacity : 1024;
        void *grown[4] = { hone_realloc(c->step, (size_t)capacity, 8), hone_realloc(c->loss, (size_t)capacity, 8),
                           hone_realloc(c->rate, (size_t)capacity, 8), hone_realloc(c->memory, (size_t)capacity, 8) };
        if (grown[0]) c->step = grown[0];
        if (grown[1]) c->loss = grown[1];
        if (grown[2]) c->rate = grown[2];
        if (grown[3]) c->memory = grown[3];
        if (!grown[0] || !grown[1] || !grown[2] || !grown[3]) { c->failed = true; return; }
        c->capacity = capacity;
    }
    c->step[c->count] = step;
    c->loss[c->count] = value[HONE_METRIC_loss];
    c->rate[c->count] = value[HONE_METRIC_tokens_per_second];
    c->memory[c->count++] = value[HONE_METRIC_resident_bytes];
}

static void release(course *c)
{
    hone_free(c->step);
    hone_free(c->loss);
    hone_free(c->rate);
    hone_free(c->memory);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

// Reorders its argument.
static double median(double *value, int64_t count)
{
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++)
        if (!isnan(value[i])) value[n++] = value[i];
    if (n == 0) return NAN;
    qsort(value, (size_t)n, sizeof *value, by_value);
    return value[n / 2];
}

static double most(const double *value, int64_t count)
{
    double best = NAN;
    for (int64_t i = 0; i < count; i++) best = fmax(best, value[i]);
    return best;
}

static double number(const json_t *run, const char *key)
{
    const json_t *value = hone_run_value(run, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static json_t *real_or_null(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *predicted_measured(const json_t *run, course *c)
{
    double peak = number(run, "result.peak_resident_bytes"), elapsed = number(run, "result.elapsed_seconds"), time_s = isnan(elapsed) ? number(run, "last.elapsed_seconds") : elapsed;
    double energy = number(run, "result.energy_kwh"), price = number(run, "recipe.price_per_hour"), co2 = number(run, "recipe.gco2_per_kwh");
    const struct { const char *what, *unit, *predicted; double measured; } rows[] = {
        { "process memory", "bytes", "plan.process_bytes", isnan(peak) ? most(c->memory, c->count) : peak },
        { "tokens a second", "tokens", "plan.tokens_per_second", median(c->rate, c->count) },
        { "time", "s", "plan.seconds", time_s },
        { "steps", "count", "steps", number(run, "step") },
        { "energy", "kWh", "plan.energy_kwh", energy },
        { "cost", "money", "plan.money", price > 0 ? price * time_s / 3600 : NAN },
        { "CO2", "g", "plan.co2_g", co2 > 0 ? co2 * energy : NAN },
    };
    json_t *out = json_array();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double predicted = number(run, rows[i].predicted);
        if (i > 3 && !(predicted > 0) && !isfinite(rows[i].measured)) continue;   // not every run has these
        json_array_append_new(out, json_pack("{s:s, s:s, s:o, s:o}", "what", rows[i].what, "unit", rows[i].unit, "predicted",
                                             real_or_null(predicted > 0 ? predicted : NAN), "measured", real_or_null(rows[i].measured)));
    }
    return out;
}

static void add_result(json_t *rows, const char *what, const char *unit, double value, const char *note)
{
    if (isfinite(value)) json_array_append_new(rows, json_pack("{s:s, s:s, s:f, s:s}", "what", what, "unit", unit, "value", value, "note", note));
}

static json_t *results(const json_t *run)
{
    char note[64];
    json_t *rows = json_array();
    add_result(rows, "loss", "nats", number(run, "last.loss"), "");
    snprintf(note, sizeof note, "+- %.4f at step %lld", number(run, "held_out.standard_error"), (long long)number(run, "held_out.step"));
    add_result(rows, "held-out loss", "nats", number(run, "held_out.loss"), hone_run_value(run, "held_out.loss") ? note : "");
    snprintf(note, sizeof note, "at step %lld", (long long)number(run, "best.step"));
    if (number(run, "best.step") != number(run, "held_out.step")) add_result(rows, "best held-out loss", "nats", number(run, "best.loss"), note);
    add_result(rows, "held-out perplexity", "", number(run, "held_out.perplexity"), "");
    add_result(rows, "held-out bits per byte", "bits", number(run, "held_out.bits_per_byte"), "");
    add_result(rows, "trained tokens", "tokens", number(run, "last.trained_tokens"), "");
    add_result(rows, "epochs", "", number(run, "last.epochs"), "");
    add_result(rows, "share of peak", "share", number(run, "last.share_of_peak"), "of this machine's measured FLOP/s");
    add_result(rows, "waited for checkpoints", "s", number(run, "result.save_wait_seconds"), "");
    add_result(rows, "parameters", "count", number(run, "plan.parameters"), "");
    return rows;
}

// A dozen steps, the first and the last among them, and the evaluation that is newest at each.
static json_t *course_of(const course *c, const json_t *evals)
{
    json_t *rows = json_array();
    for (int64_t i = 0, before = -1; i < COURSE && c->count > 0; i++) {
        int64_t at = i * (c->count - 1) / (COURSE - 1);
        if (at == before) continue;
        size_t e;
        json_t *row = json_pack("{s:I, s:o}", "step", (json_int_t)c->step[at], "loss", real_or_null(c->loss[at])), *eval;
        json_array_foreach(evals, e, eval) {
            int64_t step = json_integer_value(json_object_get(eval, "step"));
            if (step <= c->step[at] && (before < 0 || step > c->step[before])) json_object_set(row, "held_out", json_object_get(eval, "loss"));
        }
        json_array_append_new(rows, row);
        before = at;
    }
    return rows;
}

static json_t *checkpoints_of(const json_t *saves)
{
    size_t i;
    json_t *save, *rows = json_array();
    json_array_foreach(saves, i, save)
        json_array_append_new(rows, json_pack("{s:O*, s:O*, s:O*}", "step", json_object_get(save, "step"), "bytes", json_object_get(save, "bytes"),
                                              "seconds", json_object_get(save, "seconds")));
    return rows;
}

static json_t *remarks_of(const json_t *events)
{
    static const char *const told[] = { "eval", "save", "sample", "end" };
    json_t *kinds = json_object(), *rows = json_array(), *event, *kind;
    size_t i;
    json_array_foreach(events, i, event) {
        const char *name = json_string_value(json_object_get(event, "event"));
        bool known = !name;
        for (size_t k = 0; k < sizeof told / sizeof *told && !known; k++) known = strcmp(name, told[k]) == 0;
        if (known) continue;
        json_int_t count = json_integer_value(json_object_get(json_object_get(kinds, name), "count"));
        json_object_set_new(kinds, name, json_pack("{s:s, s:I, s:O}", "event", name, "count", count + 1, "last", event));
    }
    const char *key;
    json_object_foreach(kinds, key, kind) json_array_append(rows, kind);
    json_decref(kinds);
    return rows;
}

hone_status hone_report_of_run(hone_store *store, const json_t *run, json_t **out)
{
    course c = { 0 };
    json_t *events = NULL, *evals = NULL, *saves = NULL;
    int64_t id = json_integer_value(json_object_get(run, "id"));
    *out = NULL;
    hone_status status = hone_store_steps(store, id, -1, keep, &c);
    if (!status && c.failed) status = HONE_FAILED;
    if (!status) status = hone_store_events(store, id, NULL, 0, &events);
    if (!status) status = hone_store_events(store, id, "eval", 0, &evals);
    if (!status) status = hone_store_events(store, id, "save", 0, &saves);
    if (!status) {
        json_t *walk = course_of(&c, evals); // before medians reorder
        *out = json_pack("{s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:o, s:o, s:o, s:o, s:o}", "name", json_object_get(run, "name"),
                         "folder", json_object_get(run, "folder"), "state", json_object_get(run, "state"), "started", json_object_get(run, "started"),
                         "updated", json_object_get(run, "updated"), "machine", json_object_get(run, "machine"), "recipe", json_object_get(run, "recipe"),
                         "predicted_measured", predicted_measured(run, &c), "results", results(run), "course", walk,
                         "checkpoints", checkpoints_of(saves), "events", remarks_of(events));
        if (!*out) status = hone_fail("out of memory while a report was made");
    }
    json_decref(events);
    json_decref(evals);
    json_decref(saves);
    release(&c);
    return status;
}

hone_status hone_report_of_folder(const char *run_folder, json_t **out)
{
    hone_store *store;
    json_t *runs = NULL;
    *out = NULL;
    hone_status status = hone_store_open(&store, ":memory:", true);
    if (status) return status;
    status = hone_store_import(store, run_folder, NULL);
    if (!status) status = hone_store_runs(store, &runs);
    if (!status && json_array_size(runs) == 0) status = hone_fail("%s/log.jsonl: holds no run", run_folder);
    if (!status) status = hone_report_of_run(store, json_array_get(runs, json_array_size(runs) - 1), out);
    if (!status) json_object_set_new(*out, "folder", json_string(run_folder));
    json_decref(runs);
    hone_store_close(store);
    return status;
}

// --- print ------------------------------------------------------------------------------------------------------------

static hone_units shown(const json_t *value, const char *unit)
{
    hone_units out;
    double x = json_number_value(value);
    if (!json_is_number(value)) snprintf(out.s, sizeof out.s, "-");
    else if (!strcmp(unit, "bytes")) out = hone_units_bytes(x);
    else if (!strcmp(unit, "s")) out = hone_units_time(x);
    else if (!strcmp(unit, "tokens") || !strcmp(unit, "count")) out = hone_units_grouped((int64_t)llround(x));
    else if (!strcmp(unit, "share")) snprintf(out.s, sizeof out.s, "%.1f %%", 100 * x);
    else if (!strcmp(unit, "nats")) snprintf(out.s, sizeof out.s, "%.4f", x);
    else if (!strcmp(unit, "money")) snprintf(out.s, sizeof out.s, "%.2f", x);
    else if (!strcmp(unit, "kWh")) out = hone_units_energy(x);
    else if (!strcmp(unit, "g")) out = hone_units_mass(x);
    else snprintf(out.s, sizeof out.s, "%.4g", x);
    return out;
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

// One row of a table: `widths[i]` columns each on a terminal (negative: left), bars in Markdown.
static hone_status print_row(hone_buffer *out, hone_report_form form, int n, const int *widths, const char *const *cell)
{
    hone_status status = hone_buffer_print(out, form == HONE_REPORT_MARKDOWN ? "|" : " ");
    for (int i = 0; i < n && !status; i++)
        status = form == HONE_REPORT_MARKDOWN ? hone_buffer_print(out, " %s |", cell[i]) : hone_buffer_print(out, " %*s ", widths[i], cell[i]);
    while (form == HONE_REPORT_TERMINAL && out->size && out->data[out->size - 1] == ' ') out->data[--out->size] = '\0';
    return status ? status : hone_buffer_print(out, "\n");
}

static hone_status print_head(hone_buffer *out, hone_report_form form, const char *title, int n, const int *widths, const char *const *cell)
{
    hone_status status = hone_buffer_print(out, form == HONE_REPORT_MARKDOWN ? "\n## %s\n\n" : "\n%s\n", title);
    if (!status) status = print_row(out, form, n, widths, cell);
    if (form != HONE_REPORT_MARKDOWN) return status;
    for (int i = 0; i < n && !status; i++) status = hone_buffer_print(out, "%s", widths[i] < 0 ? "|---" : "|---:");
    return status ? status : hone_buffer_print(out, "|\n");
}

static hone_status print_predictions(const json_t *report, hone_report_form form, hone_buffer *out)
{
    static const int widths[] = { -22, 14, 14, 9 };
    hone_status status = print_head(out, form, "Predicted and measured", 4, widths, (const char *[]){ "", "predicted", "measured", "off by" });
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(report, "predicted_measured"), i, row) {
        const json_t *a = json_object_get(row, "predicted"), *b = json_object_get(row, "measured");
        char difference[32] = "";
        if (json_is_number(a) && json_is_number(b)) snprintf(difference, sizeof difference, "%+.1f %%", 100 * (json_number_value(b) / json_number_value(a) - 1));
        hone_units x = shown(a, text(row, "unit")), y = shown(b, text(row, "unit"));
        if (!status) status = print_row(out, form, 4, widths, (const char *[]){ text(row, "what"), x.s, y.s, difference });
    }
    return status;
}

static hone_status print_results(const json_t *report, hone_report_form form, hone_buffer *out)
{
    static const int widths[] = { -22, 14, -40 };
    hone_status status = print_head(out, form, "What it came to", 3, widths, (const char *[]){ "", "value", "" });
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(report, "results"), i, row) {
        hone_units value = shown(json_object_get(row, "value"), text(row, "unit"));
        if (!status) status = print_row(out, form, 3, widths, (const char *[]){ text(row, "what"), value.s, text(row, "note") });
    }
    return status;
}

static hone_status print_course(const json_t *report, hone_report_form form, hone_buffer *out)
{
    static const int widths[] = { 10, 12, 12 };
    hone_status status = print_head(out, form, "Course", 3, widths, (const char *[]){ "step", "loss", "held out" });
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(report, "course"), i, row) {
        hone_units step = shown(json_object_get(row, "step"), "count"), loss = shown(json_object_get(row, "loss"), "nats"), held = shown(json_object_get(row, "held_out"), "nats");
        if (!status) status = print_row(out, form, 3, widths, (const char *[]){ step.s, loss.s, json_object_get(row, "held_out") ? held.s : "" });
    }
    return status;
}

static hone_status print_rest(const json_t *report, hone_report_form form, hone_buffer *out)
{
    static const int widths[] = { 10, 12, 12 }, event_widths[] = { -16, 6, -60 };
    hone_status status = HONE_OK;
    size_t i;
    json_t *row;
    const json_t *saves = json_object_get(report, "checkpoints"), *events = json_object_get(report, "events");
    if (json_array_size(saves)) status = print_head(out, form, "Checkpoints", 3, widths, (const char *[]){ "step", "size", "written in" });
    json_array_foreach(saves, i, row) {
        char seconds[32];
        snprintf(seconds, sizeof seconds, "%.2f s", json_number_value(json_object_get(row, "seconds")));
        hone_units step = shown(json_object_get(row, "step"), "count"), bytes = shown(json_object_get(row, "bytes"), "bytes");
        if (!status) status = print_row(out, form, 3, widths, (const char *[]){ step.s, bytes.s, seconds });
    }
    if (json_array_size(events) && !status) status = print_head(out, form, "Events", 3, event_widths, (const char *[]){ "event", "times", "last" });
    json_array_foreach(events, i, row) {
        const json_t *last = json_object_get(row, "last");
        char where[256];
        snprintf(where, sizeof where, "%.19s step %lld %.200s", text(last, "time"), (long long)json_integer_value(json_object_get(last, "step")), text(last, "error"));
        hone_units count = shown(json_object_get(row, "count"), "count");
        if (!status) status = print_row(out, form, 3, event_widths, (const char *[]){ text(row, "event"), count.s, where });
    }
    return status;
}

hone_status hone_report_print(const json_t *report, hone_report_form form, hone_buffer *out)
{
    const json_t *machine = json_object_get(report, "machine");
    const char *cpu = text(machine, "cpu");
    hone_status status = hone_buffer_print(out, form == HONE_REPORT_MARKDOWN ? "# %s\n\n`%s`, %s, %.10s %.5s to %.10s %.5s UTC\n" : "%s  %s  %s  %.10s %.5s to %.10s %.5s UTC\n",
                                           text(report, "name"), text(report, "folder"), text(report, "state"), text(report, "started"),
                                           *text(report, "started") ? text(report, "started") + 11 : "", text(report, "updated"),
                                           *text(report, "updated") ? text(report, "updated") + 11 : "");
    if (!status && *cpu) status = hone_buffer_print(out, form == HONE_REPORT_MARKDOWN ? "\n%s, %lld threads, %s\n" : "  %s, %lld threads, %s\n", cpu,
                                                    (long long)json_integer_value(json_object_get(machine, "threads")), text(machine, "instructions"));
    if (!status) status = print_predictions(report, form, out);
    if (!status) status = print_results(report, form, out);
    if (!status) status = print_course(report, form, out);
    return status ? status : print_rest(report, form, out);
}
