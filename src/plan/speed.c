// speed.c: nodes to kinds, kinds to seconds (see speed.h).
#include "plan/speed.h"
#include "graph/offload.h"
#include "base/file.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const timed[] = { "micro", "update", "score" };
enum { TIMED = sizeof timed / sizeof *timed };

static hone_status print_operands(hone_buffer *out, const hone_operand *operand, int n)
{
    static const char *const form[HONE_FORM_COUNT] = { "", "packed", "packed_t", "streamed" };
    hone_status status = HONE_OK;
    for (int i = 0; i < n && !status; i++) {
        const hone_operand *o = &operand[i];
        if (!o->present) status = hone_buffer_print(out, " -");
        else status = hone_buffer_print(out, " %s[", hone_dtype_name(o->dtype));
        for (int d = 0; o->present && d < o->rank && !status; d++) status = hone_buffer_print(out, "%s%" PRId64, d ? "," : "", o->dim[d]);
        if (o->present && !status) status = hone_buffer_print(out, "]%s", form[o->form]);
    }
    return status;
}

static bool reads_ranges(const hone_op_info *info)
{
    for (int i = 0; i < info->n_in; i++)
        if (strcmp(info->in[i].name, "lo") == 0) return true;
    return false;
}

// seen: rows that a row of these data may look back on. What attention costs hangs on it, within a third of an octave.
static hone_status describe(const hone_graph *graph, const hone_node *node, double seen, hone_buffer *out)
{
    const hone_op_info *info = hone_op_get(node->op);
    hone_args args;
    hone_args_describe(graph, node, &args);
    out->size = 0;
    hone_status status = hone_buffer_print(out, "%s", info->name);
    if (!status) status = print_operands(out, args.in, node->n_in);
    if (!status) status = hone_buffer_print(out, " >");
    if (!status) status = print_operands(out, args.out, node->n_out);
    if (!status && reads_ranges(info)) status = hone_buffer_print(out, " seen 2^%.1f", round(3 * log2(seen)) / 3);
    return status ? status : hone_buffer_print(out, " #%016" PRIx64, hone_hash64(&args.attr, offsetof(hone_attr, scale))); // factors cost nothing
}

static hone_status find_kind(hone_speed *speed, const char *key, int32_t *kind)
{
    for (*kind = 0; *kind < speed->n_kind; (*kind)++)
        if (strcmp(speed->kind[*kind].key, key) == 0) return HONE_OK;
    if (hone_grow(&speed->kind, speed->n_kind, &speed->capacity, sizeof *speed->kind)) return HONE_FAILED;
    speed->kind[speed->n_kind] = (hone_speed_kind){ .key = hone_strdup(key) };
    return speed->kind[speed->n_kind].key ? (speed->n_kind++, HONE_OK) : HONE_FAILED;
}

// Mean rows that a row may see, over the micro-batch that comes next; T / 2 with whole rows of one text.
static hone_status look_at_ranges(hone_job *job, double *seen)
{
    int64_t N = job->rows * job->T, row = job->train.now.row;
    int32_t *lo = hone_alloc((size_t)N, sizeof *lo), *hi = hone_alloc((size_t)N, sizeof *hi);
    hone_batch batch = { .lo = lo, .hi = hi };
    hone_status status = lo && hi ? hone_mixture_next(&job->train, job->rows, &batch) : HONE_FAILED;
    hone_mixture_seek(&job->train, row);
    *seen = 0;
    for (int64_t n = 0; n < N && !status; n++) *seen += (double)(hi[n] - lo[n]) / (double)N;
    hone_free(lo);
    hone_free(hi);
    return status;
}

static hone_status find_kinds(hone_speed *speed, int which, double seen, hone_buffer *key)
{
    const hone_program *program = &speed->job->graph->program[which];
    int32_t *kind = speed->kind_of[which] = hone_alloc((size_t)program->count + 1, sizeof *kind);
    hone_status status = kind ? HONE_OK : HONE_FAILED;
    for (int64_t n = 0; n < program->count && !status; n++) {
        status = describe(speed->job->graph, &program->node[n], seen, key);
        if (!status && hone_is_move(&program->node[n])) status = hone_buffer_print(key, " in %s", speed->job->recipe->offload);
        if (!status) status = find_kind(speed, key->data, &kind[n]);
    }
    return status;
}

hone_status hone_speed_open(hone_speed *speed, hone_job *job)
{
    hone_buffer key = { 0 };
    double seen;
    *speed = (hone_speed){ .job = job };
    hone_status status = look_at_ranges(job, &seen);
    for (int p = 0; p < job->graph->n_program && !status; p++)
        for (int i = 0; i < TIMED && !status; i++)
            if (strcmp(job->graph->program[p].name, timed[i]) == 0) status = find_kinds(speed, p, seen, &key);
    key.size = 0;
    if (!status) status = hone_buffer_print(&key, "read %" PRId64 " x %" PRId64 " of %" PRId64, job->rows, job->T, job->train.n_sources);
    if (!status) status = find_kind(speed, key.data, &speed->rows_kind);
    hone_buffer_release(&key);
    if (status) hone_speed_close(speed);
    return status;
}

void hone_speed_close(hone_speed *speed)
{
    for (int64_t k = 0; k < speed->n_kind; k++) hone_free(speed->kind[k].key);
    hone_free(speed->kind);
    for (int p = 0; p < HONE_PROGRAMS; p++) hone_free(speed->kind_of[p]);
    *speed = (hone_speed){ 0 };
}

// Moves run beside the nodes. *again: of these, what runs a second time; *waited: for moves.
static double time_program(const hone_speed *speed, const char *name, double *again, double *waited)
{
    const hone_graph *graph = speed->job->graph;
    double sum = *again = *waited = 0;
    for (int p = 0; p < graph->n_program; p++) {
        const hone_program *program = &graph->program[p];
        if (strcmp(program->name, name) || !speed->kind_of[p]) continue;
        double *seconds = hone_alloc((size_t)program->count + 1, sizeof *seconds);
        if (!seconds) return NAN;
        for (int64_t n = 0; n < program->count; n++) {
            double one = speed->kind[speed->kind_of[p][n]].seconds;
            seconds[n] = one > 0 ? one : NAN;
            sum += seconds[n];
            if (program->node[n].phase == HONE_PHASE_RECOMPUTE) *again += seconds[n];
        }
        if (!isnan(sum)) sum = hone_offload_time(graph, program, seconds, waited);
        hone_free(seconds);
    }
    return sum;
}

double hone_speed_program_s(const hone_speed *speed, const char *name)
{
    double again, waited;
    return time_program(speed, name, &again, &waited);
}

double hone_speed_recompute_s(const hone_speed *speed)
{
    double again, waited;
    time_program(speed, "micro", &again, &waited);
    return again;
}

double hone_speed_waited_s(const hone_speed *speed)
{
    double again, micro, update;
    time_program(speed, "micro", &again, &micro);
    time_program(speed, "update", &again, &update);
    return (double)speed->job->accumulation * micro + update;
}

double hone_speed_moves_s(const hone_speed *speed)
{
    double sum = 0;
    for (int p = 0; p < speed->job->graph->n_program; p++) {
        const hone_program *program = &speed->job->graph->program[p];
        const double runs = strcmp(program->name, "micro") ? 1 : (double)speed->job->accumulation;
        for (int64_t n = 0; speed->kind_of[p] && n < program->count; n++)
            if (hone_is_copy(&program->node[n])) sum += runs * speed->kind[speed->kind_of[p][n]].seconds;
    }
    return sum;
}

bool hone_speed_known(const hone_speed *speed) { return hone_speed_step_s(speed) + hone_speed_program_s(speed, "score") > 0; }

double hone_speed_step_s(const hone_speed *speed)
{
    double read = speed->kind[speed->rows_kind].seconds;
    return (double)speed->job->accumulation * ((read > 0 ? read : NAN) + hone_speed_program_s(speed, "micro")) + hone_speed_program_s(speed, "update");
}
