// trace.h: where the time of whole training steps goes, node by node: `hone pretrain --profile`.
//
//     step      [ program micro                                  ][ update ]  rest: loading rows, waiting, the host's own
//     nodes       embed | norm | linear | attention | ... | linear_dw |
//
// Instead of hone_session_run() a traced step calls hone_trace_run(), which does the same node by node with a clock between.
// From that: a table by phase, op and layer with the share of the machine's peak and of its memory bandwidth, and a file
// for Chrome's tracing page (chrome://tracing, Perfetto). FLOPs are the op table's; bytes are each operand once, which is
// what must move at least, so a share of bandwidth is a lower bound.
#pragma once
#include "base/json.h"
#include "base/memory.h"
#include "graph/session.h"

typedef struct hone_trace_event {
    double start_s, seconds;
    int32_t program, node;           // node -1: the program as a whole; program -1: the step as a whole
} hone_trace_event;

typedef struct hone_trace {
    hone_session *session;           // borrowed
    hone_trace_event *event; int64_t count, capacity;
    int64_t steps; double step_s;    // traced steps, and their seconds together
    double began_s;                  // clock at the first event
    bool failed;                     // memory ran out: reported by what reads the trace
} hone_trace;

void hone_trace_open(hone_trace *trace, hone_session *session);
void hone_trace_close(hone_trace *trace);
// Nodes [from, to) of a program of training; to < 0: all that are left. Fails as hone_session_run().
hone_status hone_trace_run(hone_trace *trace, const char *program, int64_t from, int64_t to);
void hone_trace_step(hone_trace *trace, double start_s, double seconds);  // behind each traced step

// Peaks in FLOP/s and bytes/s; 0 where unknown.
hone_status hone_trace_print(const hone_trace *trace, double peak_flops, double peak_bandwidth, hone_buffer *out);
// {steps, seconds, phases: {name: seconds}, ops: [{op, phase, seconds, runs, flops_per_second, bytes_per_second}]}, for the log: a step.
hone_status hone_trace_json(const hone_trace *trace, json_t **out);
hone_status hone_trace_write_chrome(const hone_trace *trace, const char *path);
