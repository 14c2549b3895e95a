// inspect.c: see inspect.h.
#include "train/inspect.h"
#include "base/half.h"
#include "base/units.h"
#include "train/walk.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static double element(const void *values, hone_dtype dtype, int64_t i)
{
    if (dtype == HONE_f32) return (double)((const float *)values)[i];
    if (dtype == HONE_f64) return ((const double *)values)[i];
    const uint16_t half = ((const uint16_t *)values)[i];
    return (double)(dtype == HONE_f16 ? hone_f16_to_f32(half) : hone_bf16_to_f32(half));
}

static bool is_readable(const hone_tensor *t)
{
    return t->form == HONE_FORM_PLAIN && (t->dtype == HONE_f32 || t->dtype == HONE_f64 || t->dtype == HONE_bf16 || t->dtype == HONE_f16);
}

static bool look(const hone_graph *graph, hone_tid id, const void *values, int64_t rows, bool may_be_low, hone_finding *out, double *largest)
{
    const hone_tensor *t = hone_at(graph, id);
    int64_t row = 1, first = -1;
    *largest = 0;
    for (int d = 1; d < t->rank; d++) row *= t->dim[d];
    *out = (hone_finding){ .count = t->rank ? rows * row : 1, .rank = t->rank };
    for (int64_t i = 0; i < out->count; i++) {
        double v = element(values, t->dtype, i);
        if (isfinite(v)) { *largest = fmax(*largest, fabs(v)); continue; }
        if (may_be_low && v < 0) continue;
        if (first < 0) first = i;
        out->bad++;
    }
    if (first < 0) return false;
    out->found = true;
    out->value = element(values, t->dtype, first);
    snprintf(out->tensor, sizeof out->tensor, "%s", t->name);
    for (int d = t->rank - 1; d >= 0; d--) {
        int64_t dim = d ? t->dim[d] : rows;
        out->index[d] = first % (dim > 0 ? dim : 1);
        first /= dim > 0 ? dim : 1;
    }
    return true;
}

// What is parked is looked at a few rows at a time.
static bool look_at_parked(const hone_session *session, hone_tid id, hone_finding *out)
{
    enum { PIECE_BYTES = 1 << 20 };
    const hone_tensor *t = hone_at(session->graph, id);
    const int64_t rows = t->dim[0], row_bytes = (int64_t)session->layout.bytes[id] / rows, piece = PIECE_BYTES / row_bytes > 0 ? PIECE_BYTES / row_bytes : 1;
    void *values = hone_alloc((size_t)piece, (size_t)row_bytes);
    double largest;
    hone_finding part;
    for (int64_t row = 0; row < rows && values; row += piece) {
        const int64_t n = rows - row < piece ? rows - row : piece;
        if (hone_session_read(session, id, (size_t)(row * row_bytes), (size_t)(n * row_bytes), values)) break;
        if (!look(session->graph, id, values, n, false, &part, &largest)) continue;
        const int64_t bad = out->bad;
        part.index[0] += row;
        part.count = hone_tensor_count(t);
        if (!out->found) *out = part;
        out->bad = bad + part.bad;
    }
    hone_free(values);
    return out->found;
}

bool hone_inspect_tensor(const hone_session *session, hone_tid id, hone_finding *out)
{
    double largest;
    const hone_tensor *t = hone_at(session->graph, id);
    *out = (hone_finding){ 0 };
    if (!is_readable(t)) return false;
    if (t->parked) return look_at_parked(session, id, out);
    return look(session->graph, id, hone_session_data(session, id), t->rank ? t->dim[0] : 1, false, out, &largest);
}

// Before the step: what it starts from.
static bool look_at_state(const hone_loop *loop, hone_finding *out)
{
    const hone_graph *graph = loop->job->graph;
    for (hone_tid id = 0; id < graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(graph, id);
        bool stored = t->cls == HONE_CLASS_param || t->cls == HONE_CLASS_moment;
        bool whole = t->base == HONE_NONE;   // a fused storage is named by its part
        for (hone_tid other = 0; whole && stored && other < graph->n_tensor; other++) whole = hone_at(graph, other)->base != id;
        if (stored && (whole || t->base != HONE_NONE) && hone_inspect_tensor(&loop->job->session, id, out)) return true;
    }
    return false;
}

static void note_largest(hone_largest *list, const char *tensor, int64_t node, double value)
{
    hone_largest new = { .node = node, .value = value };
    snprintf(new.tensor, sizeof new.tensor, "%s", tensor);
    for (int i = 0; i < HONE_LARGEST; i++)   // one entry a tensor: its largest
        if (strcmp(list[i].tensor, tensor) == 0) {
            if (value <= list[i].value) return;
            memmove(list + i, list + i + 1, (size_t)(HONE_LARGEST - 1 - i) * sizeof *list);
            list[HONE_LARGEST - 1] = (hone_largest){ 0 };
        }
    int at = HONE_LARGEST;
    while (at > 0 && value > list[at - 1].value) at--;
    if (at == HONE_LARGEST) return;
    memmove(list + at + 1, list + at, (size_t)(HONE_LARGEST - 1 - at) * sizeof *list);
    list[at] = new;
}

// Runs node n and looks at what it wrote.
static bool run_node(hone_loop *loop, const char *name, int64_t n, hone_finding *out, hone_largest *largest)
{
    static const char *const phase[] = { "forward", "recomputed forward", "backward", "update" };
    hone_session *session = &loop->job->session;
    const hone_program *program = hone_walk_program(session, name);
    const hone_node *node = &program->node[n];
    int which = (int)(program - session->graph->program);
    hone_status status = hone_walk_nodes(session, name, n, n + 1);   // offloading alone fails: the run says so next
    if (hone_is_move(node) || status) return false;
    for (int o = 0; o < node->n_out; o++) {
        const hone_operand *made = &session->args[which][n].out[o];
        double value;
        if (node->out[o] == HONE_NONE || !is_readable(hone_at(session->graph, node->out[o]))) continue;
        bool may_be_low = node->op == HONE_OP_attention && o == 1;   // lse of a row that sees nothing
        bool bad = look(session->graph, node->out[o], hone_session_data(session, node->out[o]), made->rank ? hone_rows(made) : 1, may_be_low, out, &value);
        if (bad) {
            char layer[32] = "", text[200];
            if (node->layer >= 0) snprintf(layer, sizeof layer, ", layer %d", node->layer);
            hone_node_print(session->graph, node, text, sizeof text);
            snprintf(out->node, sizeof out->node, "node %lld of %s (%s%s): %s", (long long)n, name, phase[node->phase], layer, text);
            return true;
        }
        if (largest && node->phase != HONE_PHASE_RECOMPUTE) note_largest(largest, hone_at(session->graph, node->out[o])->name, n, value);
    }
    return false;
}

static bool run_micro(hone_loop *loop, int64_t part, hone_finding *out, hone_largest *largest)
{
    const hone_program *program = hone_walk_program(&loop->job->session, "micro");
    for (int64_t n = 0; n < program->count; n++) {
        if (!run_node(loop, "micro", n, out, largest)) continue;
        if (hone_job_micro_batches(loop->job, loop->step) > 1) {
            char text[sizeof out->node];
            snprintf(text, sizeof text, "micro-batch %lld, %.280s", (long long)part, out->node);
            memcpy(out->node, text, sizeof text);
        }
        return true;
    }
    return false;
}

static bool run_norm(hone_loop *loop, hone_finding *out)
{
    for (int64_t n = 0; n < loop->job->update.n_norm; n++)
        if (run_node(loop, "update", n, out, NULL)) return true;
    return false;
}

hone_status hone_inspect_step(hone_loop *loop, hone_finding *out, double *loss, hone_largest *largest)
{
    const hone_job *job = loop->job;
    int64_t row = job->train.now.row, trained, parts = 0, batches = hone_job_micro_batches(job, loop->step);
    double sum = 0;
    bool found = look_at_state(loop, out);
    hone_status status = hone_loop_count_trained(loop, &trained, &parts);
    for (int64_t a = 0; a < batches && !found && !status; a++) {
        if ((status = hone_loop_fill_inputs(loop, parts))) break;
        found = run_micro(loop, a + 1, out, largest);
        sum += hone_loop_sum_losses(loop, NULL);
    }
    if (!found && !status) found = run_norm(loop, out);
    hone_status dropped = hone_loop_drop_step(loop, row);
    if (!found) *out = (hone_finding){ 0 };
    if (loss) *loss = sum / (double)(parts > 0 ? parts : 1);
    return status ? status : dropped;
}

void hone_finding_print(const hone_finding *f, char *text, size_t size)
{
    char index[96] = "";
    int n = 0;
    for (int d = 0; d < f->rank && n < (int)sizeof index; d++)
        n += snprintf(index + n, sizeof index - (size_t)n, "%s%lld", d ? ", " : "", (long long)f->index[d]);
    char value[32];
    if (!f->found) { snprintf(text, size, "none: every value of every node is finite"); return; }
    snprintf(text, size, "%s, %s at [%s], %s of %s values%s", f->tensor, hone_number_print(f->value, value), index, hone_units_grouped(f->bad).s,
             hone_units_grouped(f->count).s, f->node[0] ? "" : ", before the step");
}

const char *hone_number_print(double value, char text[32])
{
    snprintf(text, 32, "%.6g", isnan(value) ? (double)NAN : value);
    return text;
}
