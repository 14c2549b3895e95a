// heldout.h: the held-out loss of a model that is being trained: the sums of gen/evaluate.h over rows of a loader, in the
// training session's own program "score", so that evaluating takes no memory of its own.
#pragma once
#include "data/loader.h"
#include "gen/evaluate.h"
#include "text/tokenizer.h"

// Scores rows of a loader (order once), spread evenly over it, until `most_tokens` are foretold. io: of
// hone_model_build_score, whose rows are as long as the loader's window. tokenizer may be NULL.
// stop(context): asked between runs; true ends early with what is done so far. NULL: never.
// hone_evaluation_release(out) also after a failure.
hone_status hone_heldout_score(hone_session *session, const hone_train_io *io, hone_loader *loader, const hone_tokenizer *tokenizer,
                               int64_t most_tokens, bool (*stop)(void *context), void *context, hone_evaluation *out);
