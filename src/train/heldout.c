// heldout.c: see heldout.h.
#include "train/heldout.h"
#include "base/cpu.h"
#include "gen/batch.h"

// bytes: added up where the tokenizer knows them.
static hone_status add_row(hone_evaluation *out, const float *logprob, const float *weight, const int32_t *target, int64_t T,
                           const hone_tokenizer *tokenizer)
{
    double nll = 0;
    int64_t tokens = 0;
    for (int64_t t = 0; t < T; t++) {
        if (weight[t] == 0) continue;
        size_t bytes = 0;
        if (tokenizer && hone_tokenizer_token_bytes(tokenizer, target[t], &bytes)) out->bytes += (double)bytes;
        nll -= (double)logprob[t];
        tokens++;
    }
    return hone_evaluation_add(out, nll, tokens);
}

hone_status hone_heldout_score(hone_session *session, const hone_train_io *io, hone_loader *loader, const hone_tokenizer *tokenizer,
                               int64_t most_tokens, bool (*stop)(void *context), void *context, hone_evaluation *out)
{
    *out = (hone_evaluation){ .texts = loader->data.n_documents };
    double start = hone_clock_s();
    int64_t T = io->T, per_run = io->N / T, windows = (most_tokens + T - 1) / T;
    if (windows > loader->windows) windows = loader->windows;
    HONE_ASSERT(loader->options.window == T && loader->options.order == HONE_ORDER_ONCE, "window %lld, T %lld",
                (long long)loader->options.window, (long long)T);
    float *weight = hone_alloc((size_t)io->N, sizeof *weight);
    hone_batch batch = hone_batch_of(session, io);
    batch.weight = weight;
    int32_t *count = hone_session_data(session, io->count);
    const float *logprob = hone_session_data(session, io->logprob);
    hone_status status = weight ? HONE_OK : HONE_FAILED;
    for (int64_t done = 0; done < windows && !status && !(stop && stop(context)); done += per_run) {
        int64_t rows = windows - done < per_run ? windows - done : per_run;
        for (int64_t r = 0; r < rows && !status; r++) status = hone_loader_read(loader, (done + r) * loader->windows / windows, r, &batch);
        if (status) break;
        *count = (int32_t)(rows * T);
        hone_session_run(session, "score");
        for (int64_t r = 0; r < rows && !status; r++)
            status = add_row(out, logprob + r * T, weight + r * T, batch.target + r * T, T, tokenizer);
    }
    *count = (int32_t)io->N;
    if (out->bytes == 0) out->bytes = hone_loader_bytes_per_token(loader) * (double)out->tokens; // 0 where that is unknown, too
    out->seconds = hone_clock_s() - start;
    hone_free(weight);
    return status;
}
