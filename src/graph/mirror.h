// mirror.h: what the host sees of a session whose backend has memory of its own.
//
// Inputs and outputs (classes.def) lie first in the arena (layout.h) and have a twin in the backend's host space, at the same offsets:
// inputs are carried over before the first node that runs, outputs come back when the run settles. So the host's pointers stay.
//
//     device   [ inputs | outputs | weights, gradients ... | transients ]
//     host     [ inputs | outputs ]   + a shadow of each other tensor that somebody asked for
//
// A shadow is a copy made when hone_session_data() asks; since whoever asked may have written to it, it is carried back before the
// next node runs. Asking again makes it anew. Any thread may ask, as long as no program that changes the tensor is under way.
#pragma once
#include "graph/session.h"

// What the host will have of a session that is planned, for good: the twin, and shadows of all weights (loaded and saved through
// them; moments are carried piece by piece). 0 where memory is the host's.
size_t hone_mirror_bytes(const hone_session *session);
size_t hone_mirror_pinned_bytes(const hone_session *session);    // of these, the twin
hone_status hone_mirror_open(hone_session *session);     // behind the arena's allocation; does nothing where memory is the host's
void hone_mirror_close(hone_session *session);
void *hone_mirror_data(const hone_session *session, hone_tid tensor);
void hone_mirror_push(hone_session *session);             // inputs and shadows, before a node
void hone_mirror_pull(hone_session *session);             // outputs, behind the last; waits
// Bytes of a tensor to or from data, wherever the newest lie. Any thread.
void hone_mirror_carry(const hone_session *session, hone_tid tensor, size_t first, size_t size, void *data, bool store);
void hone_mirror_clear(const hone_session *session, hone_tid tensor);
// Between the two a program is captured: what is pending is carried over first, and other threads that ask for a copy wait.
void hone_mirror_hold(hone_session *session);
void hone_mirror_let_go(hone_session *session);
