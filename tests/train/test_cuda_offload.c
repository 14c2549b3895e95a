// test_cuda_offload.c: `offload: host` on backend cuda, over the stub of its driver (tests/plugins/cuda_streams.h): moments, gradients and activations in
// pinned host memory, copied on two streams beside the nodes. Every step has the bits of a run that keeps all on the device, whether copies
// end as late as events allow or as early; an independent walk over what was asked of the streams finds every pair of commands that touch the
// same bytes in an order, and none where an event is dropped; what is planned is what is asked for; runs resume across both; refusals.
#include "base/file.h"
#include "base/memory.h"
#include "graph/capture.h"
#include "graph/offload.h"
#include "plan/forecast.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/stub.h"
#include "support/verb.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 3 };
#define SMALL "per_device_train_batch_size: 1\nwarmup_ratio: 0\neval_tokens: 37\nbackend: cuda\nlr_scheduler_type: constant\n"
#define ONE_STEP SMALL "max_grad_norm: 0.1\n"
static const char SHALLOW[] = "model.num_hidden_layers=2", DEEP[] = "model.num_hidden_layers=6";     // deep: the residual stream is worth a journey
static const char *blocks = SHALLOW;
static char *folder, *record_path;
static bool kernels;
#define NEED_KERNELS() do { if (!kernels) skip(); } while (0)

static int set_up(void **state)
{
    (void)state;
    folder = run_rig_folder();
    record_path = hone_path_join(folder, "record");
    kernels = stub_use("offloading from backend cuda");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hone_free(record_path);
    run_rig_remove(folder);
    return 0;
}

static char *within(const char *more, int64_t memory) { return memory ? hone_format("%smemory: %lld\noffload: host\n", more, (long long)memory) : hone_strdup(more); }

static void take(hone_recipe *recipe, const char *more)
{
    char *path = run_rig_recipe_file(folder, more), *keys[] = { (char *)(uintptr_t)blocks };
    if (hone_recipe_load(recipe, path, 1, keys)) fail_msg("%s", hone_error());
    hone_free(path);
}

static void open_rig(run_rig *r, const char *more)
{
    take(&r->recipe, more);
    run_rig_start(&r->job, &r->recipe);
    hone_loop_open(&r->loop, &r->job);
}

static int64_t arena_of(const char *more)
{
    hone_recipe recipe;
    hone_job job;
    take(&recipe, more);
    must(hone_job_open(&job, &recipe));
    const int64_t bytes = (int64_t)job.session.layout.arena_bytes;
    hone_job_close(&job);
    hone_recipe_release(&recipe);
    return bytes;
}

static int64_t count_parked(const hone_job *job, hone_class cls)
{
    int64_t count = 0;
    for (hone_tid id = 0; id < job->graph->n_tensor; id++) count += hone_at(job->graph, id)->parked && hone_at(job->graph, id)->cls == cls;
    return count;
}

static bool weights_stay;    // of least_memory(): parking none of them

static bool opens(const char *more, int64_t memory)
{
    hone_recipe recipe;
    hone_job job;
    char *all = within(more, memory);
    take(&recipe, all);
    const bool opened = hone_job_open(&job, &recipe) == HONE_OK, fits = opened && !(weights_stay && count_parked(&job, HONE_CLASS_param));
    if (opened) hone_job_close(&job);
    hone_recipe_release(&recipe);
    hone_free(all);
    return fits;
}

// To 8 KiB: the refusal says it in MiB, which is more than these models have.
static int64_t least_memory(const char *more)
{
    int64_t low = 1 << 20, high = arena_of(more);
    while (high - low > 8 << 10) {
        const int64_t middle = low + (high - low) / 2;
        *(opens(more, middle) ? &high : &low) = middle;
    }
    return high;
}

// Of all weights and moments, wherever they are.
static uint64_t hash_state(const hone_job *job)
{
    uint64_t hash = 0;
    for (hone_tid id = 0; id < job->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(job->graph, id);
        if (t->base != HONE_NONE || (t->cls != HONE_CLASS_param && t->cls != HONE_CLASS_moment)) continue;
        const size_t bytes = job->session.layout.bytes[id];
        void *data = hone_alloc(bytes, 1);
        must(hone_session_read(&job->session, id, 0, bytes, data));
        hash = hash * 1099511628211u + hone_hash64(data, bytes);
        hone_free(data);
    }
    return hash;
}

typedef struct { hone_step step[STEPS]; uint64_t hash[STEPS]; int64_t parked[3], replayed; } outcome;

static outcome train(const char *more, int64_t memory, int steps)
{
    run_rig r;
    outcome o = { 0 };
    char *all = within(more, memory);
    open_rig(&r, all);
    o.parked[0] = count_parked(&r.job, HONE_CLASS_moment), o.parked[1] = count_parked(&r.job, HONE_CLASS_grad), o.parked[2] = count_parked(&r.job, HONE_CLASS_activation);
    for (int i = 0; i < steps; i++) {
        must(hone_loop_step(&r.loop, 10, &o.step[i]));
        o.hash[i] = hash_state(&r.job);
    }
    o.replayed = hone_capture_counted(&r.job.session, "micro")->replayed + hone_capture_counted(&r.job.session, "update")->replayed;
    run_rig_close(&r);
    hone_free(all);
    return o;
}

static bool same(const outcome *a, const outcome *b, int steps)
{
    for (int i = 0; i < steps; i++)
        if (memcmp(&a->step[i].loss, &b->step[i].loss, sizeof a->step[i].loss) || memcmp(&a->step[i].norm, &b->step[i].norm, sizeof a->step[i].norm) || a->hash[i] != b->hash[i]) return false;
    return true;
}

// --- bits ----------------------------------------------------------------------------------------------------------------

static void compare(const char *more)
{
    const int64_t least = least_memory(more);
    const outcome plain = train(more, 0, STEPS);
    static const char *const copies[] = { "late", "early" };
    assert_int_equal(plain.parked[0] + plain.parked[1], 0);
    for (int i = 0; i < 2; i++) {
        setenv("CUDA_STUB_COPIES", copies[i], 1);
        const outcome parked = train(more, least, STEPS);
        unsetenv("CUDA_STUB_COPIES");
        print_message("  %lld moments, %lld gradients, %lld activations parked, copies end %s\n", (long long)parked.parked[0], (long long)parked.parked[1], (long long)parked.parked[2], copies[i]);
        assert_true(parked.parked[0] > 0);
        assert_true(parked.parked[2] > 1 || blocks == SHALLOW);
        assert_int_equal(parked.replayed, plain.replayed);      // captured as any other
        assert_true(parked.replayed > 0);
        if (!same(&plain, &parked, STEPS)) fail_msg("copies end %s: %.9g and %.9g, %.9g and %.9g (%s)", copies[i], plain.step[0].loss, parked.step[0].loss,
                                                    plain.step[STEPS - 1].loss, parked.step[STEPS - 1].loss, more);
    }
}

static void test_steps_have_the_bits_of_steps_on_the_device(void **state)
{
    (void)state;
    NEED_KERNELS();
    compare(SMALL "max_grad_norm: 0.1\n");
    compare(SMALL "max_grad_norm: 0.1\ngradient_accumulation_steps: 2\nprecision: bf16\noptimizer_state: bf16\n");
    compare(SMALL "max_grad_norm: 0\noptimizer: muon\n");
    if (SANITIZED) return;  // a minute of emulation, all of it code that has run above
    blocks = DEEP;
    compare(SMALL "max_grad_norm: 0.1\ngradient_accumulation_steps: 2\nprecision: bf16\n");
    blocks = SHALLOW;
}

// --- order ---------------------------------------------------------------------------------------------------------------

enum { MOST_STREAMS = 64, MOST_RANGES = 16, MOST_EVENTS = 4096 };
typedef struct { uint64_t at, bytes; bool written; } range;
typedef struct {
    char what[12];
    int stream, event, n;
    range range[MOST_RANGES];
    int64_t clock[MOST_STREAMS], index;     // of each stream, how many commands are surely done when it begins; its own number
    bool needed;                            // a wait that tells its stream something new
} command;
typedef struct { command *of; int64_t count, capacity; } record;

static record read_record(void)
{
    record r = { 0 };
    char *text = test_read(record_path), *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        must(hone_grow(&r.of, r.count, &r.capacity, sizeof *r.of));
        command *c = &r.of[r.count++];
        int used, more;
        char way;
        unsigned long long at, bytes;
        *c = (command){ 0 };
        assert_int_equal(sscanf(line, "%11s %d %d%n", c->what, &c->stream, &c->event, &used), 3);
        c->event %= MOST_EVENTS;    // a session's are numbered one after another, from any number on
        assert_true(c->stream < MOST_STREAMS);
        for (; sscanf(line + used, " %c %llx %llu%n", &way, &at, &bytes, &more) == 3; used += more) {
            assert_true(c->n < MOST_RANGES);
            c->range[c->n++] = (range){ at, bytes, way == 'w' };
        }
    }
    hone_free(text);
    return r;
}

static bool is(const command *c, const char *what) { return !strcmp(c->what, what); }

static bool join(int64_t *to, const int64_t *from)
{
    bool any = false;
    for (int s = 0; s < MOST_STREAMS; s++)
        if (from[s] > to[s]) to[s] = from[s], any = true;
    return any;
}

// What is known to be done when each command begins, from the order in which things were asked alone. dropped: the wait that is left out.
static void find_clocks(record *r, int64_t dropped)
{
    static int64_t stream[MOST_STREAMS][MOST_STREAMS], event[MOST_EVENTS][MOST_STREAMS], host[MOST_STREAMS];
    memset(stream, 0, sizeof stream), memset(event, 0, sizeof event), memset(host, 0, sizeof host);
    for (int64_t i = 0; i < r->count; i++) {
        command *c = &r->of[i];
        int64_t *now = stream[c->stream];
        join(now, host);
        if (is(c, "sync")) join(host, now);
        else if (is(c, "record")) memcpy(event[c->event], now, sizeof event[0]);
        else if (is(c, "wait")) c->needed = i != dropped && join(now, event[c->event]);
        memcpy(c->clock, now, sizeof c->clock);
        c->index = ++now[c->stream];
    }
}

static bool meet(const command *a, const command *b)
{
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < b->n; j++) {
            const range *x = &a->range[i], *y = &b->range[j];
            if ((x->written || y->written) && x->at < y->at + y->bytes && y->at < x->at + x->bytes) return true;
        }
    return false;
}

// Two commands of two streams that touch the same bytes, one writing, in no order: the later one's place; -1: there are none.
static int64_t find_race(record *r, int64_t dropped)
{
    find_clocks(r, dropped);
    for (int64_t b = 0; b < r->count; b++)
        for (int64_t a = b - 1; a >= 0 && r->of[b].n && !is(&r->of[b], "pinned") && !is(&r->of[b], "device"); a--) {
            const command *x = &r->of[a], *y = &r->of[b];
            if (x->stream == y->stream || is(x, "pinned") || is(x, "device") || y->clock[x->stream] >= x->index) continue;
            if (meet(x, y)) return b;
        }
    return -1;
}

// One step, walked: with every wait all is in order; without any one of those that tell their stream something new, nothing is, but where
// no command that touches the same bytes comes before the host waits for all (the end of a program).
static void test_every_copy_is_ordered_by_events_both_ways(void **state)
{
    (void)state;
    NEED_KERNELS();
    const char *more = SMALL "max_grad_norm: 0.1\n";
    const int64_t least = least_memory(more);
    unlink(record_path), setenv("CUDA_STUB_RECORD", record_path, 1);
    train(more, least, 2);      // walked, then replayed
    unsetenv("CUDA_STUB_RECORD");
    record r = read_record();
    const int64_t race = find_race(&r, -1);
    if (race >= 0) fail_msg("line %lld: %s on stream %d is not ordered behind what touches the same bytes", (long long)race + 1, r.of[race].what, r.of[race].stream);
    int64_t waits[3] = { 0 }, found[3] = { 0 }, copies[3] = { 0 };
    bool *needed = hone_alloc((size_t)r.count, sizeof *needed);
    for (int64_t i = 0; i < r.count; i++) needed[i] = is(&r.of[i], "wait") && r.of[i].needed;
    for (int64_t i = 0; i < r.count; i++) {
        copies[r.of[i].stream] += is(&r.of[i], "copy");
        if (!needed[i]) continue;
        waits[r.of[i].stream]++;
        found[r.of[i].stream] += find_race(&r, i) >= 0;
    }
    print_message("  %lld commands; copies in %lld, out %lld; waits that matter, of these missed when dropped: compute %lld, %lld; in %lld, %lld; out %lld, %lld\n", (long long)r.count,
                  (long long)copies[1], (long long)copies[2], (long long)waits[0], (long long)found[0], (long long)waits[1], (long long)found[1], (long long)waits[2], (long long)found[2]);
    assert_true(copies[1] > 8 && copies[2] > 8);
    for (int s = 0; s < 3; s++) assert_true(found[s] > 0 && found[s] <= waits[s]);
    hone_free(needed), hone_free(r.of);
}

// The same of a deep model, whose activations go home and come back within a run: all is in order, and is not without some of its waits.
static void test_copies_of_activations_are_ordered_both_ways(void **state)
{
    (void)state;
    NEED_KERNELS();
    blocks = DEEP;
    const int64_t least = least_memory(ONE_STEP);
    unlink(record_path), setenv("CUDA_STUB_RECORD", record_path, 1);
    const outcome o = train(ONE_STEP, least, 1);
    unsetenv("CUDA_STUB_RECORD");
    blocks = SHALLOW;
    record r = read_record();
    const int64_t race = find_race(&r, -1);
    if (race >= 0) fail_msg("line %lld: %s on stream %d is not ordered behind what touches the same bytes", (long long)race + 1, r.of[race].what, r.of[race].stream);
    int64_t tried[3] = { 0 }, found[3] = { 0 }, seen = 0;
    bool *needed = hone_alloc((size_t)r.count, sizeof *needed);
    for (int64_t i = 0; i < r.count; i++) needed[i] = is(&r.of[i], "wait") && r.of[i].needed;
    for (int64_t i = 0; i < r.count; i++) {
        if (!needed[i] || seen++ % 7 || SANITIZED) continue;
        tried[r.of[i].stream]++;
        found[r.of[i].stream] += find_race(&r, i) >= 0;
    }
    print_message("  %lld activations parked; %lld commands; waits dropped, of these missed: compute %lld, %lld; in %lld, %lld; out %lld, %lld\n", (long long)o.parked[2], (long long)r.count,
                  (long long)tried[0], (long long)found[0], (long long)tried[1], (long long)found[1], (long long)tried[2], (long long)found[2]);
    assert_true(o.parked[2] > 1);
    for (int s = 0; s < 3; s++) assert_true(found[s] > 0 || SANITIZED);    // dropping waits takes too long then
    hone_free(needed), hone_free(r.of);
}

// One step, told in a line: in a process of its own, since a kernel whose row numbers are torn may well die of it.
static void print_step(const char *more, int64_t memory)
{
    const outcome o = train(more, memory, 1);
    printf("step %a %a %016llx\n", o.step[0].loss, o.step[0].norm, (unsigned long long)o.hash[0]);
}

static void step_apart(int64_t memory, int drop, char line[200])
{
    char self[512] = "", line_of_shell[700];
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(line_of_shell, sizeof line_of_shell, "CUDA_STUB_DROP=%d timeout 60 %s %lld 2>/dev/null | grep ^step", drop, self, (long long)memory);
    FILE *out = popen(line_of_shell, "r");
    assert_non_null(out);
    if (!fgets(line, 200, out)) snprintf(line, 200, "it died");
    pclose(out);
}

// The same in bits: a step that waits for one event less, where the walk finds that to matter, is another step. (Not always: where a lane's
// earlier copies hold the early one up, as those of weights do: here they stay. A wait of compute for a fetch always is.)
static void test_a_dropped_event_shows(void **state)
{
    (void)state;
    NEED_KERNELS();
    char whole[200], less[200];
    weights_stay = true;
    const int64_t least = least_memory(ONE_STEP);
    weights_stay = false;
    step_apart(least, 0, whole);
    assert_says(whole, "step 0x");
    unlink(record_path), setenv("CUDA_STUB_RECORD", record_path, 1);
    train(ONE_STEP, least, 1);
    unsetenv("CUDA_STUB_RECORD");
    record r = read_record();
    int shown[3] = { 0 }, tried[3] = { 0 }, number = 0;
    for (int64_t i = 0; i < r.count; i++) {
        number += is(&r.of[i], "wait");
        const int s = r.of[i].stream;
        if (!is(&r.of[i], "wait") || tried[s] == 3 || find_race(&r, i) < 0) continue;
        tried[s]++;
        step_apart(least, number, less);
        shown[s] += strcmp(whole, less) != 0;
    }
    print_message("  dropped waits that show: of compute %d of %d, in %d of %d, out %d of %d\n", shown[0], tried[0], shown[1], tried[1], shown[2], tried[2]);
    assert_int_equal(shown[HONE_STREAM_COMPUTE], tried[HONE_STREAM_COMPUTE]);
    for (int s = 0; s < 3; s++) assert_true(tried[s] > 0 && shown[s] > 0);
    hone_free(r.of);
}

// --- plans ---------------------------------------------------------------------------------------------------------------

// What is locked and what the device is asked for are the plan's, to the byte, and a step copies what the plan says.
static void test_the_plan_is_what_is_asked_for(void **state)
{
    (void)state;
    NEED_KERNELS();
    const char *more = SMALL "max_grad_norm: 0.1\n";
    const int64_t least = least_memory(more);
    char *all = within(more, least);
    run_rig r;
    hone_plan plan;
    hone_buffer table = { 0 };
    hone_step step;
    unlink(record_path), setenv("CUDA_STUB_RECORD", record_path, 1);
    open_rig(&r, all);
    must(hone_plan_make(&r.job, &plan));
    must(hone_plan_print(&plan, &table));
    must(hone_loop_step(&r.loop, 10, &step));
    unsetenv("CUDA_STUB_RECORD");
    record asked = read_record();
    int64_t device = 0, pinned = 0, moved[3] = { 0 };
    for (int64_t i = 0; i < asked.count; i++) {
        const command *c = &asked.of[i];
        if (is(c, "device")) device += (int64_t)c->range[0].bytes - 1;  // the byte more that makes nothing something
        if (is(c, "pinned")) pinned += (int64_t)c->range[0].bytes - 1;
        if (is(c, "copy")) moved[c->stream] += (int64_t)c->range[0].bytes;
    }
    assert_int_equal(device, plan.arena_bytes);
    assert_int_equal(device, plan.device_bytes);
    assert_true(plan.arena_bytes <= least);
    assert_int_equal(pinned, plan.pinned_bytes);
    assert_int_equal(moved[HONE_STREAM_IN], plan.offload.read_bytes);
    assert_int_equal(moved[HONE_STREAM_OUT], plan.offload.written_bytes);
    assert_int_equal(plan.offload.file_bytes, 0);
    assert_true(plan.offload.pinned_bytes > 0 && plan.offload.pinned_bytes < pinned);
    assert_int_equal(plan.process_bytes, plan.base_bytes + plan.late_bytes + plan.pinned_bytes);
    assert_says(table.data, "pinned host memory");
    assert_says(table.data, "in pinned host memory: weights");
    hone_buffer_release(&table);
    hone_plan_release(&plan);
    run_rig_close(&r);
    hone_free(asked.of), hone_free(all);
}

// On another machine moves take bytes / (the row's rate x share), and the step waits for at most that.
static void test_moves_take_the_time_of_the_bus(void **state)
{
    (void)state;
    NEED_KERNELS();
    const char *more = SMALL "max_grad_norm: 0.1\nmax_steps: 10\n";
    char *all = within(more, least_memory(more)), *path = run_rig_recipe_file(folder, all), *says = NULL;
    hone_recipe recipe;
    hone_job job;
    hone_forecast f;
    run_rig_recipe(&recipe, folder, all);
    must(hone_job_open(&job, &recipe));
    must(hone_forecast_make(&f, &job, &(hone_forecast_options){ .on = "h100" }));
    const double seconds = (double)(f.plan.offload.read_bytes + f.plan.offload.written_bytes) / (64e9 * HONE_SHARE_OF_BANDWIDTH);
    assert_true(f.pace.moves_s > 0.999 * seconds && f.pace.moves_s < 1.001 * seconds);
    assert_true(f.pace.waited_s > 0 && f.pace.waited_s <= f.pace.moves_s && f.pace.waited_s < f.pace.step_s);
    hone_forecast_release(&f);
    hone_job_close(&job);
    hone_recipe_release(&recipe);
    assert_int_equal(verb(&says, (const char *[]){ "plan", path, "--on", "h100", NULL }), 0);
    assert_says(says, "in pinned host memory; a step reads");
    assert_says(says, "at 51 GB/s");
    hone_free(says), hone_free(path), hone_free(all);
}

static void test_what_does_not_apply_is_refused_with_what_does(void **state)
{
    (void)state;
    char *path = run_rig_recipe_file(folder, "per_device_train_batch_size: 1\nmax_steps: 1\n");
    verb_must_fail("backend cpu computes in the host's memory: what leaves that goes to a file; name a folder on a local disk", (const char *[]){ "plan", path, "memory=1GiB", "offload=host", NULL });
    if (!kernels) { hone_free(path); skip(); }
    verb_must_fail("what leaves the device goes to the host's memory; give offload: host", (const char *[]){ "plan", path, "backend=cuda", "memory=1GiB", "offload=/tmp", NULL });
    verb_must_fail("but none is given; say how much of the device the arena may take", (const char *[]){ "plan", path, "backend=cuda", "offload=host", NULL });
    verb_must_fail("Or give offload: host, lower per_device", (const char *[]){ "plan", path, "backend=cuda", "memory=1MiB", NULL });
    verb_must_fail("recomputed and offloaded; the least is memory: ", (const char *[]){ "plan", path, "backend=cuda", "memory=1MiB", "offload=host", NULL });
    hone_free(path);
}

// --- runs ----------------------------------------------------------------------------------------------------------------

// Four steps on the device; offloaded; and offloaded from the first one's second step on. Then back again.
static void test_saves_and_resumes_are_those_of_a_run_on_the_device(void **state)
{
    (void)state;
    NEED_KERNELS();
    const char *more = SMALL "max_steps: 4\nsave_steps: 2\nrun_store: none\n";
    char *memory = hone_format("memory=%lld", (long long)least_memory(more)), *path = run_rig_recipe_file(folder, more);
    static const struct { const char *from; bool offload; } run[] = { { NULL, false }, { NULL, true }, { "run0", true }, { "run1", false } };
    for (int i = 0; i < 4; i++) {
        char *out = hone_format("output_dir=%s/run%d", folder, i), *resume = run[i].from ? hone_format("resume=%s/%s/step-2", folder, run[i].from) : hone_strdup("resume=auto");
        verb_must("step", (const char *[]){ "pretrain", path, out, resume, run[i].offload ? memory : "memory=0", run[i].offload ? "offload=host" : NULL, NULL });
        assert_true(test_hash("%s/run%d/step-4/model.safetensors", folder, i) == test_hash("%s/run0/step-4/model.safetensors", folder));
        assert_true(test_hash("%s/run%d/step-4/optimizer.safetensors", folder, i) == test_hash("%s/run0/step-4/optimizer.safetensors", folder));
        hone_free(out), hone_free(resume);
    }
    hone_free(memory), hone_free(path);
}

// The second piece of pinned memory is that of what is parked: where the host has none, that is said before the start, with figures.
static void test_too_little_host_memory_is_told_before_the_start(void **state)
{
    (void)state;
    NEED_KERNELS();
    const char *more = SMALL "max_steps: 2\nrun_store: none\n";
    char *memory = hone_format("memory=%lld", (long long)least_memory(more)), *path = run_rig_recipe_file(folder, more), *out = hone_format("output_dir=%s/none", folder), *says;
    verb_must("", (const char *[]){ "plan", path, memory, "offload=host", NULL });      // measures, so that the run does not
    setenv("CUDA_STUB_FAIL", "cuMemHostAlloc:2:2", 1);
    const int code = verb(&says, (const char *[]){ "pretrain", path, out, memory, "offload=host", NULL });
    unsetenv("CUDA_STUB_FAIL");
    assert_int_equal(code, HONE_FAILED);
    assert_says(says, "offload: the plan parks ");
    assert_says(says, "in pinned host memory, which cannot be had: GPU 0 (stub): cuMemHostAlloc: CUDA_ERROR_OUT_OF_MEMORY");
    assert_says(says, "`ulimit -l` is ");
    assert_null(strstr(says, "step 1"));
    char *checkpoint = hone_format("%s/none/step-2", folder);
    assert_false(hone_dir_exists(checkpoint));
    verb_must("step", (const char *[]){ "pretrain", path, out, memory, "offload=host", NULL });    // and nothing is in the way of the next
    hone_free(says), hone_free(memory), hone_free(path), hone_free(out), hone_free(checkpoint);
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        set_up(NULL);
        print_step(ONE_STEP, strtoll(argv[1], NULL, 10));
        return tear_down(NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_have_the_bits_of_steps_on_the_device),
        cmocka_unit_test(test_every_copy_is_ordered_by_events_both_ways),
        cmocka_unit_test(test_copies_of_activations_are_ordered_both_ways),
        cmocka_unit_test(test_a_dropped_event_shows),
        cmocka_unit_test(test_the_plan_is_what_is_asked_for),
        cmocka_unit_test(test_moves_take_the_time_of_the_bus),
        cmocka_unit_test(test_what_does_not_apply_is_refused_with_what_does),
        cmocka_unit_test(test_saves_and_resumes_are_those_of_a_run_on_the_device),
        cmocka_unit_test(test_too_little_host_memory_is_told_before_the_start),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
