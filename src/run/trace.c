// trace.c: see trace.h.
#include "run/trace.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/units.h"
#include <stdlib.h>
#include <string.h>

enum { PHASES = HONE_PHASE_UPDATE + 1, NAMELESS_LAYER = -1 };
static const char *const phase_name[PHASES] = { "forward", "recompute", "backward", "update" };

typedef struct { double seconds, flops, bytes; int64_t runs; } tally;
typedef struct { hone_op op; hone_phase phase; tally sum; } op_row;

void hone_trace_open(hone_trace *trace, hone_session *session) { *trace = (hone_trace){ .session = session, .began_s = hone_clock_s() }; }

void hone_trace_close(hone_trace *trace)
{
    hone_free(trace->event);
    *trace = (hone_trace){ 0 };
}

static void note(hone_trace *trace, double start_s, double seconds, int program, int64_t node)
{
    if (trace->failed || hone_grow(&trace->event, trace->count, &trace->capacity, sizeof *trace->event)) {
        trace->failed = true;
        return;
    }
    trace->event[trace->count++] = (hone_trace_event){ start_s - trace->began_s, seconds, program, (int32_t)node };
}

hone_status hone_trace_run(hone_trace *trace, const char *name, int64_t from, int64_t to)
{
    hone_session *s = trace->session;
    int which = 0;
    while (which < s->graph->n_program && strcmp(s->graph->program[which].name, name)) which++;
    HONE_ASSERT(which < s->graph->n_program, "no program %s in this graph", name);
    s->caches_valid = false; // training programs write over what decoding keeps
    const hone_program *program = &s->graph->program[which];
    if (to < 0) to = program->count;
    double begin = hone_clock_s(), start = begin;
    for (int64_t n = from; n < to; n++) {
        hone_session_run_node(s, which, n);
        if (s->backend->synchronize) s->backend->synchronize(s->self);
        double end = hone_clock_s();
        note(trace, start, end - start, which, n);
        start = end;
    }
    hone_status status = hone_session_settle(s);
    note(trace, begin, hone_clock_s() - begin, which, -1);
    return status;
}

void hone_trace_step(hone_trace *trace, double start_s, double seconds)
{
    note(trace, start_s, seconds, -1, -1);
    trace->steps++;
    trace->step_s += seconds;
}

// --- sums -------------------------------------------------------------------------------------------------------------

static const hone_node *node_of(const hone_trace *trace, const hone_trace_event *e) { return &trace->session->graph->program[e->program].node[e->node]; }

static void add(tally *t, const hone_trace *trace, const hone_trace_event *e)
{
    const hone_node *node = node_of(trace, e);
    t->seconds += e->seconds;
    t->flops += hone_node_flops(trace->session->graph, node);
    t->bytes += (double)hone_layout_node_bytes(&trace->session->layout, node);
    t->runs++;
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const op_row *)a)->sum.seconds, y = ((const op_row *)b)->sum.seconds;
    return x > y ? -1 : x < y;
}

typedef struct {
    op_row *op; int n_op;                     // by op and phase, slowest first
    tally phase[PHASES], all;
    tally *layer; int layers;                 // (layers + 1,): the last is what belongs to none
} sums;

static void release(sums *s)
{
    hone_free(s->op);
    hone_free(s->layer);
}

static hone_status sum_up(const hone_trace *trace, sums *s)
{
    *s = (sums){ 0 };
    if (trace->failed) return hone_fail("out of memory while steps were traced");
    for (int64_t i = 0; i < trace->count; i++)
        if (trace->event[i].node >= 0 && node_of(trace, &trace->event[i])->layer >= s->layers) s->layers = node_of(trace, &trace->event[i])->layer + 1;
    s->op = hone_alloc(HONE_OP_COUNT * PHASES, sizeof *s->op);
    s->layer = hone_alloc((size_t)s->layers + 1, sizeof *s->layer);
    if (!s->op || !s->layer) { release(s); return HONE_FAILED; }
    s->n_op = HONE_OP_COUNT * PHASES;
    for (int64_t i = 0; i < trace->count; i++) {
        const hone_trace_event *e = &trace->event[i];
        if (e->node < 0) continue;
        const hone_node *node = node_of(trace, e);
        op_row *row = &s->op[(int)node->op * PHASES + (int)node->phase];
        row->op = node->op;
        row->phase = node->phase;
        add(&row->sum, trace, e);
        add(&s->phase[node->phase], trace, e);
        add(&s->layer[node->layer < 0 ? s->layers : node->layer], trace, e);
        add(&s->all, trace, e);
    }
    qsort(s->op, (size_t)s->n_op, sizeof *s->op, by_seconds);
    while (s->n_op > 0 && s->op[s->n_op - 1].sum.runs == 0) s->n_op--;
    return HONE_OK;
}

// --- table ------------------------------------------------------------------------------------------------------------

static hone_status print_tally(hone_buffer *out, const char *name, const tally *t, const hone_trace *trace, double peak_flops, double peak_bandwidth)
{
    double steps = (double)trace->steps, rate = t->flops / t->seconds, moved = t->bytes / t->seconds;
    char flops[32] = "", peak[16] = "", band[16] = "";
    if (t->flops > 0) snprintf(flops, sizeof flops, "%.1f", rate * 1e-9);
    if (t->flops > 0 && peak_flops > 0) snprintf(peak, sizeof peak, "%.0f %%", 100 * rate / peak_flops);
    if (peak_bandwidth > 0) snprintf(band, sizeof band, "%.0f %%", 100 * moved / peak_bandwidth);
    return hone_buffer_print(out, "    %-26s %6.0f %10.2f %6.1f %% %9s %7s %8.1f %7s\n", name, (double)t->runs / steps, 1e3 * t->seconds / steps,
                             100 * t->seconds / trace->step_s, flops, peak, moved * 1e-9, band);
}

static hone_status print_title(hone_buffer *out, const char *title)
{
    return hone_buffer_print(out, "  %-28s %6s %10s %8s %9s %7s %8s %7s\n", title, "runs", "ms", "share", "GFLOP/s", "peak", "GB/s", "band");
}

static hone_status print_layers(const sums *s, const hone_trace *trace, double peak_flops, double peak_bandwidth, hone_buffer *out)
{
    hone_status status = print_title(out, "by layer");
    char name[32];
    for (int l = 0; l <= s->layers && !status; l++) {
        if (s->layer[l].runs == 0) continue;
        if (l < s->layers) snprintf(name, sizeof name, "layer %d", l);
        else snprintf(name, sizeof name, "embedding, head, update");
        status = print_tally(out, name, &s->layer[l], trace, peak_flops, peak_bandwidth);
    }
    return status;
}

hone_status hone_trace_print(const hone_trace *trace, double peak_flops, double peak_bandwidth, hone_buffer *out)
{
    sums s;
    char name[64];
    hone_status status = sum_up(trace, &s);
    if (status) return status;
    double steps = (double)trace->steps, rest = trace->step_s - s.all.seconds;
    status = hone_buffer_print(out, "  profile of %lld steps, %.2f ms a step", (long long)trace->steps, 1e3 * trace->step_s / steps);
    if (!status && peak_flops > 0) status = hone_buffer_print(out, "; peak %s", hone_units_flops(peak_flops).s);
    if (!status && peak_bandwidth > 0) status = hone_buffer_print(out, ", memory %.1f GB/s", peak_bandwidth * 1e-9);
    if (!status) status = hone_buffer_print(out, "\n");
    if (!status) status = print_title(out, "by phase");
    for (int p = 0; p < PHASES && !status; p++)
        if (s.phase[p].runs) status = print_tally(out, phase_name[p], &s.phase[p], trace, peak_flops, peak_bandwidth);
    if (!status) status = hone_buffer_print(out, "    %-26s %6s %10.2f %6.1f %%\n", "outside of ops", "", 1e3 * rest / steps, 100 * rest / trace->step_s);
    if (!status) status = print_title(out, "by op");
    for (int i = 0; i < s.n_op && !status; i++) {
        snprintf(name, sizeof name, "%s, %s", hone_op_get(s.op[i].op)->name, phase_name[s.op[i].phase]);
        status = print_tally(out, name, &s.op[i].sum, trace, peak_flops, peak_bandwidth);
    }
    if (!status) status = print_layers(&s, trace, peak_flops, peak_bandwidth, out);
    release(&s);
    return status;
}

hone_status hone_trace_json(const hone_trace *trace, json_t **out)
{
    sums s;
    *out = NULL;
    hone_status status = sum_up(trace, &s);
    if (status) return status;
    double steps = (double)trace->steps;
    json_t *phases = json_object(), *ops = json_array();
    for (int p = 0; p < PHASES; p++)
        if (s.phase[p].runs) json_object_set_new(phases, phase_name[p], json_real(s.phase[p].seconds / steps));
    for (int i = 0; i < s.n_op; i++) {
        const tally *t = &s.op[i].sum;
        json_array_append_new(ops, json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "op", hone_op_get(s.op[i].op)->name, "phase", phase_name[s.op[i].phase],
                                             "seconds", t->seconds / steps, "runs", (double)t->runs / steps, "flops_per_second", t->flops / t->seconds,
                                             "bytes_per_second", t->bytes / t->seconds));
    }
    *out = json_pack("{s:I, s:f, s:o, s:o}", "steps", (json_int_t)trace->steps, "seconds", trace->step_s / steps, "phases", phases, "ops", ops);
    release(&s);
    return *out ? HONE_OK : hone_fail("out of memory while a profile was written");
}

// --- Chrome's trace format: complete events ("ph": "X"), microseconds ----------------------------------------------------

static hone_status write_event(hone_writer *file, const hone_trace *trace, const hone_trace_event *e, bool first)
{
    char text[256] = "";
    hone_buffer line = { 0 };
    hone_status status = hone_buffer_print(&line, "%s{\"ph\":\"X\",\"pid\":1,\"ts\":%.3f,\"dur\":%.3f,", first ? "" : ",\n", 1e6 * e->start_s, 1e6 * e->seconds);
    if (!status && e->program < 0) status = hone_buffer_print(&line, "\"tid\":1,\"name\":\"step\"}");
    else if (!status && e->node < 0) status = hone_buffer_print(&line, "\"tid\":2,\"name\":\"%s\"}", trace->session->graph->program[e->program].name);
    else if (!status) {
        const hone_node *node = node_of(trace, e);
        hone_node_print(trace->session->graph, node, text, sizeof text);
        json_t *args = json_pack("{s:s, s:i, s:f, s:f}", "node", text, "layer", node->layer, "gflops_per_second",
                                 hone_node_flops(trace->session->graph, node) / e->seconds * 1e-9, "gb_per_second", (double)hone_layout_node_bytes(&trace->session->layout, node) / e->seconds * 1e-9);
        char *dump = args ? hone_json_dumps(args, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
        status = dump ? hone_buffer_print(&line, "\"tid\":3,\"name\":\"%s\",\"cat\":\"%s\",\"args\":%s}", hone_op_get(node->op)->name, phase_name[node->phase], dump) : HONE_FAILED;
        hone_free(dump);
        json_decref(args);
    }
    if (!status) status = hone_writer_write(file, line.data, line.size);
    hone_buffer_release(&line);
    return status;
}

hone_status hone_trace_write_chrome(const hone_trace *trace, const char *path)
{
    static const char head[] = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n", tail[] = "\n]}\n";
    hone_writer file;
    if (trace->failed) return hone_fail("%s: out of memory while steps were traced", path);
    hone_status status = hone_writer_open(&file, path);
    if (status) return status;
    status = hone_writer_write(&file, head, sizeof head - 1);
    for (int64_t i = 0; i < trace->count && !status; i++) status = write_event(&file, trace, &trace->event[i], i == 0);
    if (!status) status = hone_writer_write(&file, tail, sizeof tail - 1);
    if (!status) return hone_writer_commit(&file);
    hone_writer_abort(&file);
    return status;
}
