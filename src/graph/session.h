// session.h: the executor. A graph, a backend, one arena; programs run thousands of times without an allocation.
//
// Moves (ops.def) are its own (moves.h): fetch and park begin a transfer between arena and home and return; a node
// waits for what is under way of its own operands, the end of a program for all. A transfer that fails is told by the run.
#pragma once
#include "graph/layout.h"

typedef struct hone_mirror hone_mirror;
typedef struct hone_captures hone_captures;
typedef struct hone_moves hone_moves;

typedef struct hone_session {
    hone_graph *graph;                 // borrowed
    const hone_backend *backend;
    void *self;                        // the backend's
    hone_layout_options options;
    hone_layout layout;
    uint8_t *arena;
    hone_args *args[HONE_PROGRAMS];                // per program: (count,) operands resolved to pointers
    void **handle[HONE_PROGRAMS];
    hone_mirror *mirror;               // mirror.h; NULL: the backend's memory is the host's
    hone_captures *captures;           // capture.h: what the backend replays instead of walking the list
    const char *offload;               // folder of the offload file, where tensors are parked and memory is the host's; borrowed
    hone_moves *moves;                 // moves.h; NULL: nothing is parked
    bool caches_valid;                 // since the last run of "refresh" no program wrote over them
    bool poison;                       // tests: fill transients with NaN before birth and after death
} hone_session;

typedef struct hone_session_options {
    const char *backend;               // "cpu" if NULL
    hone_backend_options hardware;     // threads <= 0: hone_cpu_threads()
    hone_layout_options layout;
    bool poison;
    const char *offload;               // as in the session
} hone_session_options;

// Plans only: arena stays NULL (hone plan, and the check against available memory before a run).
hone_status hone_session_plan(hone_session *session, hone_graph *graph, const hone_session_options *options);
hone_status hone_session_replan(hone_session *session);      // programs were rewritten since: their layout anew
hone_status hone_session_allocate(hone_session *session);    // after plan: the arena, zeroed and resident
hone_status hone_session_open(hone_session *session, hone_graph *graph, const hone_session_options *options); // both
void hone_session_release_arena(hone_session *session);      // back to what plan left; NULL arena is fine
void hone_session_close(hone_session *session);
// Fails only where moves do: then what the program wrote is not to be used.
hone_status hone_session_run(hone_session *session, const char *program);
// Nodes [from, to) of a program of training (it must not touch caches); to < 0: all that are left. For what must look between them.
hone_status hone_session_run_part(hone_session *session, const char *program, int64_t from, int64_t to);
// One node of a program, for whoever walks the list himself: node 0 first waits for what a walk that was given up left under way, and
// hone_session_settle() comes last.
void hone_session_run_node(hone_session *session, int program, int64_t node);
hone_status hone_session_settle(hone_session *session);      // waits for all moves; fails where one has
void *hone_session_data(const hone_session *session, hone_tid tensor);   // where the host reads and writes it (mirror.h); NULL: it is parked
// The same for setting up, where a parked one has a place as well, until the next is borrowed or a program runs (moves.h); what fails is told
// by hone_session_settle() or the run.
void *hone_session_borrow(hone_session *session, hone_tid tensor);
// Bytes [first, first + size) of a persistent tensor, wherever its home is, between runs. Any thread.
hone_status hone_session_read(const hone_session *session, hone_tid tensor, size_t first, size_t size, void *data);
hone_status hone_session_write(hone_session *session, hone_tid tensor, size_t first, size_t size, const void *data);
hone_status hone_session_clear(hone_session *session, hone_tid tensor);  // zeros
// Where a run of a program spends its time: seconds per op, summed over nodes; for benches and progress.
typedef struct hone_profile { double seconds[HONE_OP_COUNT]; int64_t runs[HONE_OP_COUNT]; } hone_profile;
void hone_session_profile(hone_session *session, const char *program, hone_profile *profile);
