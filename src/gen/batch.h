// batch.h: where a program reads what a loader writes: the two meet here, for neither folder sees the other.
#pragma once
#include "data/loader.h"
#include "graph/session.h"
#include "model/decoder.h"

// The inputs of programs micro and score as a batch of io->N / io->T rows; without weights, which are the caller's.
static inline hone_batch hone_batch_of(hone_session *session, const hone_train_io *io)
{
    return (hone_batch){ .ids = hone_session_data(session, io->ids), .target = hone_session_data(session, io->target), .pos = hone_session_data(session, io->pos),
                         .lo = hone_session_data(session, io->lo), .hi = hone_session_data(session, io->hi) };
}
