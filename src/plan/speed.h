// speed.h: how fast a recipe runs on this machine, foretold from its own nodes.
//
//     programs of the job -> nodes -> kinds: nodes of one op, shapes, forms, dtypes and attributes take one time
//     seconds(program) = sum over kinds of (nodes of that kind) x (seconds of one)
//     seconds(step)    = micro-batches x (read its rows + micro) + update
//
// A kind's seconds come from the cache (speed_cache.c) or are measured (speed_measure.c). Adding up single nodes is right
// because programs run node after node; moves of what is offloaded run beside them, as graph/offload.h has it. Tests put seconds of their own in.
#pragma once
#include "plan/job.h"

typedef struct hone_speed_kind {
    char *key;              // "linear f32[4096,384] f32[1152,384]packed - - > f32[4096,1152] #3f2a..."
    double seconds;         // of one run; 0: not known
} hone_speed_kind;

typedef struct hone_speed {
    hone_job *job;                      // borrowed
    hone_speed_kind *kind; int64_t n_kind, capacity;
    int32_t *kind_of[HONE_PROGRAMS];                // per program (count,): NULL for those that are not timed (decode, refresh)
    int32_t rows_kind;                  // a micro-batch's rows read from the data, counted and copied
    double peak_flops;                  // of this machine (peak.h), 0 unknown
    double watts;                       // that this machine took meanwhile, 0: not metered
    double measured_s;                  // how long measuring took just now, 0: all was in the cache
} hone_speed;

// The kinds of a job's programs, their seconds not known. On failure nothing is left to close.
hone_status hone_speed_open(hone_speed *speed, hone_job *job);
void hone_speed_close(hone_speed *speed);
// One run of a program; NAN where a kind is not known, 0 where the job has no such program.
double hone_speed_program_s(const hone_speed *speed, const char *program);
double hone_speed_recompute_s(const hone_speed *speed); // of one run of micro: the nodes that run a second time
double hone_speed_waited_s(const hone_speed *speed);    // of a step: waited for moves of what is offloaded
double hone_speed_moves_s(const hone_speed *speed);     // of a step: these moves, one after another
double hone_speed_step_s(const hone_speed *speed);      // NAN where a kind is not known
bool hone_speed_known(const hone_speed *speed);         // every kind of every program

// How much may be measured where the cache does not know: nothing that takes over half a second (a run begins with it);
// what it takes, two seconds or, for the largest micro-batches, some more; the same, whatever the cache knows.
typedef enum { HONE_SPEED_QUICK, HONE_SPEED_FULL, HONE_SPEED_ANEW } hone_speed_effort;
// From the cache, else measured in the job's own arena, which is allocated for that and given back: the caller has seen
// that it fits. With QUICK the seconds may stay unknown.
hone_status hone_speed_find(hone_speed *speed, hone_speed_effort effort);
hone_status hone_speed_find_step(hone_job *job, hone_speed_effort effort, double *seconds);   // all in one: of a step

// Times every kind; the session is allocated and holds nothing. quick: for a third of a second, not two seconds.
hone_status hone_speed_measure(hone_speed *speed, bool quick);
bool hone_speed_is_quick(const hone_speed *speed);      // by FLOPs and bytes; speed->peak_flops is known

// The cache: $XDG_CACHE_HOME/hone or ~/.cache/hone, a file for each machine, backend, thread count and build of hone.
// It only ever saves time: a file that is absent, damaged or not writable is not an error.
void hone_speed_load(hone_speed *speed);
void hone_speed_save(const hone_speed *speed);
