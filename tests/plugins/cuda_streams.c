// cuda_streams.c: see cuda_streams.h.
#include "plugins/cuda_streams.h"
#include <stdlib.h>
#include <string.h>

enum { STREAMS = 64 };
static stub_stream *streams[STREAMS];
static stub_graph pending;                  // what was asked outside of captures and may not have been done yet
static int64_t era = 1, capacity;
static stub_graph *capturing;
static int64_t captures;                    // the last one's number
static int waits;

// --- the record ----------------------------------------------------------------------------------------------------------

static void print_range(FILE *out, char way, const void *data, int64_t bytes)
{
    if (data && bytes > 0) fprintf(out, " %c %llx %lld", way, (unsigned long long)(uintptr_t)data, (long long)bytes);
}

static void print_view(FILE *out, char way, const hone_cuda_view *v)
{
    if (v->data) print_range(out, way, v->data, hone_dtype_size(v->dtype, v->rows * v->cols));
}

static void print_command(FILE *out, const stub_command *c)
{
    static const char *const name[STUB_KINDS] = { "launch", "copy", "set", "multiply", "graph", "record", "wait" };
    fprintf(out, "%s %d %d", name[c->kind], c->stream, c->event);
    if (c->kind == STUB_LAUNCH) {
        for (size_t i = 0; i < sizeof c->call.in / sizeof *c->call.in; i++) print_view(out, 'r', &c->call.in[i]);
        for (size_t i = 0; i < sizeof c->call.out / sizeof *c->call.out; i++) print_view(out, 'w', &c->call.out[i]);
    }
    if (c->kind == STUB_MULTIPLY) {
        print_range(out, 'r', c->gemm.a, hone_dtype_size(c->gemm.of, c->gemm.n * c->gemm.k));
        print_range(out, 'r', c->gemm.b, hone_dtype_size(c->gemm.of, c->gemm.m * c->gemm.k));
        print_range(out, 'w', c->gemm.d, hone_dtype_size(c->gemm.to, c->gemm.n * c->gemm.m));
    }
    if (c->kind == STUB_COPY) print_range(out, 'r', c->from, (int64_t)c->bytes);
    if (c->kind == STUB_COPY || c->kind == STUB_SET) print_range(out, 'w', c->to, (int64_t)c->bytes);
    fputc('\n', out);
}

void stub_note(const char *what, int stream, const void *data, size_t bytes)
{
    const char *path = getenv("CUDA_STUB_RECORD");
    FILE *out = path ? fopen(path, "a") : NULL;
    if (!out) return;
    fprintf(out, "%s %d 0", what, stream);
    print_range(out, 'w', data, (int64_t)bytes);
    fputc('\n', out);
    fclose(out);
}

static void write_down(const stub_command *c, int stream)
{
    const char *path = getenv("CUDA_STUB_RECORD");
    FILE *out = path ? fopen(path, "a") : NULL;
    stub_command numbered = *c;
    if (!out) return;
    numbered.stream = stream;
    if (c->kind != STUB_GRAPH) print_command(out, &numbered);
    for (int64_t i = 0; c->kind == STUB_GRAPH && i < c->graph->count; i++) print_command(out, &c->graph->list[i]);
    fclose(out);
}

// --- carrying out --------------------------------------------------------------------------------------------------------

typedef struct run { stub_graph *of; int64_t head[STREAMS]; bool early; } run;

// The first command of a stream that is not done, NULL: there is none.
static stub_command *head_of(run *r, int stream)
{
    int64_t *h = &r->head[stream];
    while (*h < r->of->count && (r->of->list[*h].stream != stream || r->of->list[*h].state == DONE)) ++*h;
    return *h < r->of->count ? &r->of->list[*h] : NULL;
}

static void begin_copy(stub_command *c)
{
    c->seen = malloc(c->bytes + 1);
    memcpy(c->seen, c->from, c->bytes);
    memset(c->to, 0xff, c->bytes);
    c->state = BEGUN;
}

static void end_copy(stub_command *c)
{
    if (!memcmp(c->seen, c->from, c->bytes)) memcpy(c->to, c->seen, c->bytes);
    else fprintf(stderr, "stub: what a copy of %zu bytes reads changed under way\n", c->bytes);
    free(c->seen);
    c->state = DONE;
}

// What takes no time: records, waits that are over, copies, which begin.
static bool step(run *r, int stream)
{
    stub_command *c = head_of(r, stream);
    if (!c || c->state == BEGUN) return false;
    if (c->kind == STUB_COPY) {
        begin_copy(c);
        return true;
    }
    const bool over = c->kind == STUB_RECORD || (c->kind == STUB_WAIT && (c->record < 0 || r->of->list[c->record].state == DONE));
    if (over) c->state = DONE;
    return over;
}

static bool is_work(const stub_command *c) { return c->kind == STUB_LAUNCH || c->kind == STUB_SET || c->kind == STUB_MULTIPLY || c->kind == STUB_GRAPH; }

// The copy that holds a stream up: its own, or what its wait comes down to.
static stub_command *holding_up(run *r, int stream)
{
    stub_command *c = head_of(r, stream);
    while (c && c->kind == STUB_WAIT) c = head_of(r, r->of->list[c->record].stream);
    return c && c->state == BEGUN ? c : NULL;
}

static void carry_out(stub_graph *list, int until);

static bool work_once(run *r)
{
    for (int s = 0; s < STREAMS; s++) {
        stub_command *c = head_of(r, s);
        if (!c || !is_work(c)) continue;
        if (c->kind == STUB_GRAPH) carry_out(c->graph, -1);
        else stub_work(c);
        c->state = DONE;
        return true;
    }
    return false;
}

static bool end_one(run *r, int until)
{
    stub_command *c = until >= 0 ? holding_up(r, until) : NULL;
    for (int s = 0; s < STREAMS && !c; s++) c = until < 0 || r->early ? holding_up(r, s) : NULL;
    if (c) end_copy(c);
    return c != NULL;
}

// until: all of this stream, -1: all.
static void carry_out(stub_graph *list, int until)
{
    const char *copies = getenv("CUDA_STUB_COPIES");
    run r = { .of = list, .early = copies && !strcmp(copies, "early") };
    for (int64_t i = 0; list != &pending && i < list->count; i++) list->list[i].state = WAITING;
    for (;;) {
        bool moved = true, left = false;
        while (moved) {
            moved = false;
            for (int s = STREAMS - 1; s >= 0; s--) moved |= step(&r, s);
        }
        for (int s = 0; s < STREAMS; s++) left |= (until < 0 || s == until) && head_of(&r, s);
        if (!left) return;
        if (r.early && end_one(&r, until)) continue;
        if (!work_once(&r) && !end_one(&r, until)) abort();  // an order of commands is always there: the one in which they were asked
    }
}

void stub_finish(const stub_stream *stream)
{
    carry_out(&pending, stream ? stream->number : -1);
    for (int64_t i = 0; i < pending.count; i++)
        if (pending.list[i].state != DONE) return;
    pending.count = 0;
    era++;
}

// --- asking --------------------------------------------------------------------------------------------------------------

stub_stream *stub_stream_new(void)
{
    stub_stream *s = calloc(1, sizeof *s);
    while (s->number < STREAMS && streams[s->number]) s->number++;
    if (s->number == STREAMS) abort();
    return streams[s->number] = s;
}

void stub_stream_free(stub_stream *stream)
{
    stub_finish(stream);
    streams[stream->number] = NULL;
    free(stream);
}

static int64_t append(stub_graph *to, const stub_command *c, int stream)
{
    if (to != &pending) to->list = realloc(to->list, (size_t)(to->count + 1) * sizeof *c);
    else if (to->count == capacity) to->list = realloc(to->list, (size_t)(capacity = 2 * capacity + 64) * sizeof *c);
    to->list[to->count] = *c;
    to->list[to->count].stream = stream;
    return to->count++;
}

static int64_t ask(stub_stream *stream, const stub_command *c)
{
    if (stream->capture) return append(capturing, c, stream->number);
    write_down(c, stream->number);
    return append(&pending, c, stream->number);
}

int stub_ask(stub_stream *stream, const stub_command *command)
{
    ask(stream, command);
    return 0;
}

int stub_record(stub_event *event, stub_stream *stream)
{
    event->capture = stream->capture;
    event->era = era;
    event->record = ask(stream, &(stub_command){ .kind = STUB_RECORD, .event = event->number });
    return 0;
}

int stub_wait(stub_stream *stream, stub_event *event)
{
    const char *drop = getenv("CUDA_STUB_DROP");
    waits = drop ? waits + 1 : 0;
    if (drop && waits == atoi(drop)) return 0;
    const int64_t now = capturing ? captures : 0;
    if (event->capture != stream->capture && (stream->capture || event->capture != now)) return STUB_ISOLATION;
    stream->capture = event->capture;         // draws the stream into the capture
    const bool is_known = event->record >= 0 && (event->capture || event->era == era);
    ask(stream, &(stub_command){ .kind = STUB_WAIT, .event = event->number, .record = is_known ? event->record : -1 });
    return 0;
}

// --- captures ------------------------------------------------------------------------------------------------------------

bool stub_is_capturing(void) { return capturing != NULL; }

int stub_capture_begin(stub_stream *stream)
{
    if (capturing) return STUB_INVALID;
    capturing = calloc(1, sizeof *capturing);
    capturing->origin = stream->number;
    stream->capture = ++captures;
    return 0;
}

// Does the first stream end behind all that the others were asked? Backwards: what it waited for is known, and what that waited for.
static bool is_joined(const stub_graph *g)
{
    int64_t known[STREAMS];
    for (int s = 0; s < STREAMS; s++) known[s] = s == g->origin ? g->count : -1;
    for (int64_t i = g->count - 1; i >= 0; i--) {
        const stub_command *c = &g->list[i];
        if (i > known[c->stream] && c->kind != STUB_RECORD && c->kind != STUB_WAIT) return false;
        if (i <= known[c->stream] && c->kind == STUB_WAIT && c->record > known[g->list[c->record].stream]) known[g->list[c->record].stream] = c->record;
    }
    return true;
}

int stub_capture_end(stub_stream *stream, stub_graph **graph)
{
    if (!capturing || stream->number != capturing->origin) return STUB_INVALID;
    *graph = capturing;
    capturing = NULL;
    for (int i = 0; i < STREAMS; i++)
        if (streams[i]) streams[i]->capture = 0;
    return is_joined(*graph) ? 0 : STUB_UNJOINED;
}

stub_graph *stub_graph_copy(const stub_graph *graph)
{
    stub_graph *copy = calloc(1, sizeof *copy);
    *copy = *graph;
    copy->list = malloc((size_t)(graph->count + 1) * sizeof *copy->list);
    if (graph->count) memcpy(copy->list, graph->list, (size_t)graph->count * sizeof *copy->list);
    return copy;
}

void stub_graph_free(stub_graph *graph)
{
    free(graph->list);
    free(graph);
}
