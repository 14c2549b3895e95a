// moves.h: how parked tensors (offload.h) get to the arena and home again: the executor's part of ops.def's MOVE rows.
//
// Homes lie in the offload file (base/scratch.h), or, where the backend has memory of its own, in pinned host memory, at the same offsets.
// Either way a move is begun and runs beside the nodes: by a thread for each direction, or on a stream for each, where events order it:
//
//     in                |copy=======|                      a copy begins behind all nodes that stand before it in the list
//     compute    n0 n1 -+ n2 n3 ... +- n4 n5 -+ n6 ...     a node waits for the moves of its own operands,
//     out                                     |copy===|    a fetch for the last park of its home, the end of a walk for all
//
// So a place in the arena may be given to another tensor once the list has passed the last node that touches the first, `settle` for one
// that was parked: the compute stream has then waited for every copy of it, and whatever is begun later on another stream, behind it.
// Moves are numbered, each direction from 1 on; "done" is a comparison, and an event is shared by the numbers that are EVENTS apart, the
// later of which stands for both. Nothing waits on the host, so that a run with moves is captured as any other (capture.h): it begins
// and ends with none under way.
#pragma once
#include "graph/session.h"

hone_status hone_moves_open(hone_session *session);       // behind the arena's allocation: homes, zeroed; does nothing where nothing is parked
void hone_moves_close(hone_session *session);
void hone_moves_begin(hone_session *session, const hone_node *node);
void hone_moves_wait(hone_session *session, const hone_node *node);    // for those of the node's operands
void hone_moves_join(hone_session *session);              // for all; on streams, so that what is asked of `compute` next runs behind them
hone_status hone_moves_check(const hone_session *session);      // the first that failed says why; only files fail
bool hone_moves_on_streams(const hone_session *session);
// Where the host reads and writes a parked tensor between runs, until the next is borrowed or a program runs: in pinned memory its home, else
// the place of one of its staging tensors, from which it then goes home. What fails is told by hone_moves_check().
void *hone_moves_borrow(hone_session *session, hone_tid tensor);
// Bytes of a parked tensor at home, between runs. Any thread.
hone_status hone_moves_carry(const hone_session *session, hone_tid tensor, size_t first, size_t size, void *data, bool store);
