// pairs.c: see pairs.h.
#include "base/cpu.h"
#include "base/units.h"
#include "gen/batch.h"
#include "graph/pair.h"
#include "run/stop.h"
#include "train/run.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

// --- program score on replies

// Told of each pair: the log-probabilities of its replies; document: the chosen one's.
typedef hone_status (*take_fn)(void *context, const hone_loader *loader, int64_t document, const double logprob[2]);

typedef struct room { float *weight; int32_t *pair; int64_t *document; double *sum; } room; // sum (pairs, 2)

static hone_status room_open(room *r, int64_t N)
{
    *r = (room){ hone_alloc((size_t)N, sizeof *r->weight), hone_alloc((size_t)N, sizeof *r->pair), hone_alloc((size_t)N / 2 + 1, sizeof *r->document),
                 hone_alloc((size_t)N + 2, sizeof *r->sum) };
    return r->weight && r->pair && r->document && r->sum ? HONE_OK : HONE_FAILED;
}

static void room_close(room *r)
{
    hone_free(r->weight);
    hone_free(r->pair);
    hone_free(r->document);
    hone_free(r->sum);
}

static hone_status take_pairs(const hone_loader *loader, const float *logprob, const room *r, int64_t rows, int64_t n_pairs, take_fn take, void *context)
{
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < 2 * n_pairs; i++) r->sum[i] = 0;
    for (int64_t n = 0; n < rows * loader->options.window; n++)
        if (r->weight[n] != 0) r->sum[2 * r->pair[n] + (r->weight[n] < 0)] += (double)logprob[n];
    for (int64_t e = 0; e < n_pairs && !status; e++) status = take(context, loader, r->document[e], &r->sum[2 * e]);
    return status;
}

// Scores `most` rows of an epoch (or all), spread evenly over it.
static hone_status score_replies(hone_job *job, hone_loader *loader, int64_t most, take_fn take, void *context)
{
    hone_session *session = &job->session;
    const hone_train_io *io = &job->score;
    const int64_t rows = most < loader->windows ? most : loader->windows, per_run = io->N / io->T;
    int32_t *count = hone_session_data(session, io->count);
    room r;
    hone_status status = room_open(&r, io->N);
    hone_batch batch = hone_batch_of(session, io);
    batch.weight = r.weight, batch.pair = r.pair, batch.document = r.document;
    for (int64_t done = 0; done < rows && !status && !hone_stop_asked(NULL); done += per_run) {
        const int64_t now = rows - done < per_run ? rows - done : per_run;
        batch.n_pairs = 0;
        for (int64_t at = 0; at < now && !status; at++) status = hone_loader_read(loader, (done + at) * loader->windows / rows, at, &batch);
        *count = (int32_t)(now * io->T);
        if (!status) status = hone_session_run(session, "score");
        if (!status) status = take_pairs(loader, hone_session_data(session, io->logprob), &r, now, batch.n_pairs, take, context);
    }
    *count = (int32_t)io->N;
    room_close(&r);
    return status;
}

// --- the starting model

static uint64_t chain(uint64_t hash, uint64_t next) { return hone_hash64((uint64_t[]){ hash, next }, 2 * sizeof hash); }

static char *reference_path(hone_job *job, const char *folder)
{
    uint64_t hash = chain(hone_model_hash(&job->model, hone_job_borrow, job), (uint64_t)job->model.product);
    for (int64_t i = 0; i < job->model.n_param; i++) hash = chain(hash, (uint64_t)hone_at(job->graph, job->model.param[i])->dtype);
    hone_loader *loader;
    for (int64_t i = 0; (loader = hone_job_loader(job, i)); i++)
        for (int64_t s = 0; s < loader->data.n_shards; s++) hash = chain(chain(hash, hone_shard_hash(&loader->data.shard[s])), hone_shard_hash(&loader->data.trained[s]));
    char name[64];
    snprintf(name, sizeof name, "reference-%016" PRIx64 ".f32", hash);
    return hone_path_join(folder, name);
}

static size_t reference_bytes(const hone_job *job) { return (size_t)job->n_reference * sizeof *job->reference; }

// False: there is none that is whole.
static bool read_reference(hone_job *job, const char *path)
{
    hone_map map;
    if (!hone_file_exists(path) || hone_map_open(&map, path)) return false;
    const size_t bytes = reference_bytes(job);
    uint64_t hash;
    bool whole = map.size == bytes + sizeof hash;
    if (whole) {
        memcpy(&hash, (const char *)map.data + bytes, sizeof hash);
        if ((whole = hash == hone_hash64(map.data, bytes))) memcpy(job->reference, map.data, bytes);
    }
    hone_map_close(&map);
    return whole;
}

static hone_status note_reference(void *run, const hone_loader *loader, int64_t document, const double logprob[2])
{
    const hone_job *job = &((hone_run *)run)->job;
    for (int side = 0; side < 2; side++) job->reference[loader->reference - job->reference + document + side] = (float)logprob[side];
    return HONE_OK;
}

hone_status hone_run_open_pairs(hone_run *run)
{
    hone_job *job = &run->job;
    const double start = hone_clock_s();
    hone_status status = HONE_OK;
    char *path = reference_path(job, run->recipe->output_dir);
    if (!path) return HONE_FAILED;
    if (read_reference(job, path)) goto out;
    fprintf(run->out, "%s  log-probabilities of %s replies under the model as it is, once\n", run->verb ? run->verb : "hone replay", hone_units_grouped(job->n_reference).s);
    fflush(run->out);
    hone_loader *loader;
    for (int64_t i = 0; (loader = hone_job_loader(job, i)) && !status; i++) status = score_replies(job, loader, loader->windows, note_reference, run);
    if (!status && hone_stop_asked(NULL)) {
        hone_fail("stopped before the first step, while the replies were scored by the model as it is; the same command begins anew");
        status = hone_stop_status();
    }
    const uint64_t hash = hone_hash64(job->reference, reference_bytes(job));
    memcpy(job->reference + job->n_reference, &hash, sizeof hash);
    if (!status) status = hone_file_write(path, job->reference, reference_bytes(job) + sizeof hash);
    if (!status) run->reference_s = hone_clock_s() - start;
out:
    hone_free(path);
    return status;
}

// --- held-out pairs

typedef struct { const hone_run *run; hone_pair_sums sums; hone_evaluation *losses; } evaluated;

static hone_status judge_pair(void *context, const hone_loader *loader, int64_t document, const double logprob[2])
{
    evaluated *e = context;
    const hone_recipe *r = e->run->recipe;
    const double chosen = r->pref_beta * (logprob[0] - (double)loader->reference[document]), rejected = r->pref_beta * (logprob[1] - (double)loader->reference[document + 1]);
    const double loss = hone_pair_loss(chosen - rejected, r->dpo_label_smoothing, &(double){ 0 });
    hone_pair_sums_add(&e->sums, loss, chosen, rejected);
    return hone_evaluation_add(e->losses, loss, 1);
}

hone_status hone_run_evaluate_pairs(hone_run *run)
{
    hone_job *job = &run->job;
    hone_evaluation all = { 0 };
    evaluated e = { .run = run, .losses = &all };
    const int64_t tokens = job->n_held > 0 ? (run->recipe->eval_tokens + job->n_held - 1) / job->n_held : 0;
    const double start = hone_clock_s();
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < job->n_held && !status; i++) status = score_replies(job, &job->held[i].loader, (tokens + job->T - 1) / job->T, judge_pair, &e);
    all.seconds = hone_clock_s() - start;
    if (!status && e.sums.count > 0 && !hone_stop_asked(NULL)) status = hone_report_held_pairs(run, &all, &e.sums);
    hone_evaluation_release(&all);
    return status;
}
