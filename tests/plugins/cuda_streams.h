// cuda_streams.h: the stub's streams, events and captures. What is asked of a stream is kept until the host waits for one; then it is carried
// out in the most trying order that events allow:
//
//     compute    runs as far as it can before a copy ends that it has not been told to wait for
//     a copy     begins as soon as it may: what it writes is 0xff from then on, what it reads is remembered;
//                ends as late as it may: where what it reads is not as it was, 0xff stays
//
// So a wait that is missing on either side shows as wrong bits. CUDA_STUB_COPIES=early ends copies at once instead, before anything else
// runs. CUDA_STUB_DROP=N: the N-th wait for an event is none. CUDA_STUB_RECORD=FILE appends a line for each command, those of a graph as
// often as it is launched: what it is, its stream, an event's number, the bytes read (r) and written (w); `sync`, where the host waits for a
// stream; `device` and `pinned`, where it takes memory.
#pragma once
#include "backend/cuda/device.h"
#include <stdio.h>

typedef enum { STUB_LAUNCH, STUB_COPY, STUB_SET, STUB_MULTIPLY, STUB_GRAPH, STUB_RECORD, STUB_WAIT, STUB_KINDS } stub_kind;
typedef struct stub_graph stub_graph;
typedef struct stub_command {
    stub_kind kind;
    hone_cuda_kernel kernel;
    hone_cuda_shape shape;
    hone_cuda_call call;
    hone_cuda_gemm gemm;
    void *to;
    const void *from;
    size_t bytes;
    unsigned char value;
    stub_graph *graph;
    // the scheduler's
    int stream, event;
    int64_t record;             // of a wait: the command that it waits for, -1: none
    enum { WAITING, BEGUN, DONE } state;
    uint8_t *seen;              // of a copy under way: what it read
} stub_command;
struct stub_graph { stub_command *list; int64_t count; int origin; };

typedef struct stub_stream { int number; int64_t capture; } stub_stream;       // capture: the number of the one that it is drawn into, 0: none
typedef struct stub_event { int number; int64_t record, era, capture; } stub_event;    // era: of the list that `record` counts in

enum { STUB_INVALID = 1, STUB_UNJOINED = 904, STUB_ISOLATION = 905 };
void stub_work(const stub_command *command);            // the driver's: carries out a launch, a product, a set
stub_stream *stub_stream_new(void);
void stub_stream_free(stub_stream *stream);
int stub_ask(stub_stream *stream, const stub_command *command);
int stub_record(stub_event *event, stub_stream *stream);
int stub_wait(stub_stream *stream, stub_event *event);
void stub_finish(const stub_stream *stream);            // all that was asked of it is done; NULL: of any
void stub_note(const char *what, int stream, const void *data, size_t bytes);   // another line of the record: the host waits, or takes memory
bool stub_is_capturing(void);
int stub_capture_begin(stub_stream *stream);
int stub_capture_end(stub_stream *stream, stub_graph **graph);   // unjoined: a stream that was drawn in is not waited for by the first
stub_graph *stub_graph_copy(const stub_graph *graph);
void stub_graph_free(stub_graph *graph);
