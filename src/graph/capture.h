// capture.h: which runs the backend notes down and repeats (CUDA graphs), so that a step costs one call instead of a launch a node.
//
// A run is nodes [from, to) of a program, and the live counts that the host reads while it launches them (how many rows of decoding, of
// scoring): these are its key. All else that changes from run to run (hyper-parameters, ids, positions, block tables, how long a
// sequence has become) lies in tensors, and a repetition reads them where a walk does.
//
//     a key's first run    walked: whatever is made at a first run is made (the product library's choice for a shape)
//     its second           captured on the way, and replayed
//     from then on         replayed
//
// A program keeps HONE_CAPTURE_KEYS keys; for one more, the one that ran longest ago is forgotten and begins anew when it returns. Where
// the backend has no capture, and in programs with moves to and from a file (moves.h), every run is walked.
#pragma once
#include "graph/session.h"

enum { HONE_CAPTURE_KEYS = 16, HONE_CAPTURE_LIVE = 4 };

typedef struct hone_capture_counts { int64_t walked, captured, replayed, forgotten; } hone_capture_counts; // runs; a captured one is replayed, too

hone_status hone_capture_open(hone_session *session);        // behind the arena's allocation
void hone_capture_close(hone_session *session);
// Nodes [from, to) of a program, one way or the other; the caller waits and settles.
hone_status hone_capture_run(hone_session *session, int program, int64_t from, int64_t to);
const hone_capture_counts *hone_capture_counted(const hone_session *session, const char *program); // since the arena was allocated
