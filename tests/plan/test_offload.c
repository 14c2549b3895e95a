// test_offload.c: moments, gradients, weights and activations in a file. Nothing but places changes: every step has the bits of a run that keeps all in
// memory, through saves and resumes; a disk that is full, in memory or failing is told, and the last checkpoint stands.
#include "base/file.h"
#include "base/scratch.h"
#include "plan/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/fault.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"

static char *folder;

static int make_folder(void **state)
{
    (void)state;
    folder = run_rig_folder_on_disk();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    run_rig_remove(folder);
    return 0;
}

static const char WIDE[] = "model.hidden_size=256", DEEP[] = "model.num_hidden_layers=3", MLP[] = "model.intermediate_size=1056";
static const char *const wide[4] = { WIDE, DEEP, MLP, "cutoff_len=37" };     // states outweigh activations
static const char *const deep[4] = { "model.hidden_size=64", "model.num_hidden_layers=6", "model.intermediate_size=176", "cutoff_len=512" };
static const char *const *shape = wide;
#define LONG_ROWS "per_device_train_batch_size: 11\n"

// A recipe of a few MiB with `more`; offload NULL: all in memory, else within so many bytes.
static void load(hone_recipe *recipe, const char *more, int64_t memory)
{
    char *path = run_rig_recipe_file(folder, more), *key[6] = { (char *)shape[0], (char *)shape[1], (char *)shape[2], (char *)shape[3] };
    int n = 4;
    if (memory) {
        key[n++] = hone_format("memory=%lld", (long long)memory);
        key[n++] = hone_format("offload=%s", folder);
    }
    if (hone_recipe_load(recipe, path, n, key)) fail_msg("%s", hone_error());
    for (int i = 4; i < n; i++) hone_free(key[i]);
    hone_free(path);
}

// The least memory that a refusal of far too little names. (This process is larger by some pages the next time.)
static int64_t find_least(const char *refusal)
{
    static const char words[] = "the least is memory: ";
    const char *said = strstr(refusal, words);
    assert_non_null(said);
    assert_says(refusal, "recomputed and offloaded");
    assert_says(refusal, "  offloaded ");
    return (strtoll(said + strlen(words), NULL, 10) + 4) << 20;
}

static int64_t least_memory(const char *more)
{
    hone_recipe recipe;
    hone_job job;
    load(&recipe, more, 8 << 20);
    assert_int_equal(hone_job_open(&job, &recipe), HONE_FAILED);
    hone_recipe_release(&recipe);
    return find_least(hone_error());
}

static void open_rig(run_rig *r, const char *more, int64_t memory)
{
    load(&r->recipe, more, memory);
    run_rig_start(&r->job, &r->recipe);
    hone_loop_open(&r->loop, &r->job);
}

static int64_t count_parked(const hone_job *job, hone_class cls)
{
    int64_t count = 0;
    for (hone_tid id = 0; id < job->graph->n_tensor; id++) count += hone_at(job->graph, id)->parked && hone_at(job->graph, id)->cls == cls;
    return count;
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

// Three steps of `more`, all in memory and within the least memory: the same losses, norms, weights and moments.
static void compare(const char *more)
{
    run_rig plain, parked;
    open_rig(&plain, more, 0);
    open_rig(&parked, more, least_memory(more));
    for (hone_class cls = HONE_CLASS_param; cls <= HONE_CLASS_moment; cls++) assert_true(count_parked(&parked.job, cls) > 0);
    assert_int_equal(count_parked(&plain.job, HONE_CLASS_moment) + count_parked(&plain.job, HONE_CLASS_grad), 0);
    for (int i = 0; i < 3; i++) {
        hone_step a, b;
        must(hone_loop_step(&plain.loop, 10, &a));
        must(hone_loop_step(&parked.loop, 10, &b));
        assert_true(a.verdict == HONE_STEP_GOOD && b.verdict == HONE_STEP_GOOD);
        assert_true(a.loss == b.loss && a.norm == b.norm && a.factor == b.factor);
        assert_true(a.factor < 1 || strstr(more, "max_grad_norm: 0"));     // clipping clips
        assert_true(hash_state(&plain.job) == hash_state(&parked.job));
    }
    run_rig_close(&plain);
    run_rig_close(&parked);
}

// What a refusal without offload says is the least, and the bytes of all gradients and moments.
static int64_t least_without(const char *more, int64_t *states)
{
    static const char words[] = "the least is memory: ";
    hone_recipe recipe;
    hone_job job;
    *states = 0;
    load(&recipe, more, 0);
    must(hone_job_open(&job, &recipe));
    for (hone_tid id = 0; id < job.graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(job.graph, id);
        if (t->base == HONE_NONE && (t->cls == HONE_CLASS_grad || t->cls == HONE_CLASS_moment)) *states += (int64_t)job.session.layout.bytes[id];
    }
    hone_job_close(&job);
    recipe.memory = 8 << 20;
    assert_int_equal(hone_job_open(&job, &recipe), HONE_FAILED);
    hone_recipe_release(&recipe);
    const char *said = strstr(hone_error(), words);
    assert_non_null(said);
    return strtoll(said + strlen(words), NULL, 10) << 20;
}

// Rows so long that the residual stream outweighs all states: within the least memory that recomputation leaves less than even a file for
// every gradient and moment would make possible, steps are those in memory, within the arena that was planned.
static void long_rows(const char *more)
{
    int64_t states;
    run_rig plain, parked;
    hone_plan plan;
    open_rig(&plain, more, 0);      // part of this process from here on
    const int64_t least = least_memory(more), without = least_without(more, &states);
    assert_true(least - (4 << 20) < without - states - (1 << 20));   // (find_least adds the four)
    open_rig(&parked, more, least);
    must(hone_plan_make(&parked.job, &plan));
    assert_true(plan.offload.class_bytes[HONE_CLASS_activation] > 0 && plan.process_bytes <= least);
    for (int i = 0; i < 2; i++) {
        hone_step a, b;
        must(hone_loop_step(&plain.loop, 10, &a));
        must(hone_loop_step(&parked.loop, 10, &b));
        assert_true(a.verdict == HONE_STEP_GOOD && b.verdict == HONE_STEP_GOOD);
        assert_true(a.loss == b.loss && a.norm == b.norm);
        assert_true(hash_state(&plain.job) == hash_state(&parked.job));
    }
    print_message("  least %.0f MiB without, %.0f with; states %.1f MiB; activations at home %.1f MiB; arena planned %.2f MiB, asked for %.2f MiB, of %.2f\n",
                  (double)without / 0x1p20, (double)least / 0x1p20, (double)states / 0x1p20, (double)plan.offload.class_bytes[HONE_CLASS_activation] / 0x1p20,
                  (double)plan.arena_bytes / 0x1p20, (double)parked.job.session.layout.arena_bytes / 0x1p20, (double)plain.job.session.layout.arena_bytes / 0x1p20);
    assert_int_equal(plan.arena_bytes, parked.job.session.layout.arena_bytes);
    hone_plan_release(&plan);
    run_rig_close(&plain);
    run_rig_close(&parked);
}

static void test_longer_rows_fit_where_activations_go_home(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    shape = deep;
    long_rows(LONG_ROWS "max_grad_norm: 0.1\n");
    long_rows(LONG_ROWS "max_grad_norm: 0.1\ngradient_accumulation_steps: 2\nprecision: bf16\n");
    shape = wide;
}

static void test_steps_have_the_bits_of_steps_in_memory(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    compare("max_grad_norm: 0.1\n");
    compare("max_grad_norm: 0.1\ngradient_accumulation_steps: 3\nper_device_train_batch_size: 2\noptimizer_state: int8\n");
    compare("max_grad_norm: 0.1\noptimizer_state: bf16\nprecision: bf16\n");
    compare("max_grad_norm: 0\noptimizer: muon\ngradient_accumulation_steps: 2\nper_device_train_batch_size: 2\n");
}

// A step that is not finite, or is stopped, leaves nothing behind: the next is that of a run without it.
static void test_a_dropped_step_leaves_no_gradient(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    static const char *const more[] = { "optimizer_state: int8\n", "gradient_accumulation_steps: 2\nper_device_train_batch_size: 2\n" };
    for (int i = 0; i < 2; i++) {
        run_rig plain, parked;
        hone_step a, b;
        open_rig(&plain, more[i], 0);
        open_rig(&parked, more[i], least_memory(more[i]));
        must(hone_session_run(&parked.job.session, "micro"));     // as if a step had been left in its middle
        must(hone_loop_drop_step(&parked.loop, 0));
        must(hone_loop_step(&plain.loop, 10, &a));
        must(hone_loop_step(&parked.loop, 10, &b));
        assert_true(a.loss == b.loss && a.norm == b.norm);
        assert_true(hash_state(&plain.job) == hash_state(&parked.job));
        run_rig_close(&plain);
        run_rig_close(&parked);
    }
}

// The fewer bytes, the more is parked; what is planned is kept.
static void test_less_memory_parks_more(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    const char *more = "per_device_train_batch_size: 4\n";
    int64_t least = least_memory(more), last = INT64_MAX;
    for (int i = 0; i < 5; i++) {
        hone_recipe recipe;
        hone_job job;
        hone_plan plan;
        int64_t memory = least + i * (10 << 20);
        load(&recipe, more, memory);
        must(hone_job_open(&job, &recipe));
        must(hone_plan_make(&job, &plan));
        print_message("  memory %.1f MiB: process %.1f MiB, %.1f MiB in the file, a step reads %.1f, writes %.1f MiB\n", (double)memory / 0x1p20,
                      (double)plan.process_bytes / 0x1p20, (double)plan.offload.file_bytes / 0x1p20, (double)plan.offload.read_bytes / 0x1p20,
                      (double)plan.offload.written_bytes / 0x1p20);
        assert_true(plan.process_bytes <= memory);
        assert_true(plan.offload.file_bytes <= last);
        assert_int_equal(plan.offload.class_bytes[HONE_CLASS_param] > 0, i < 1);     // the last to go
        last = plan.offload.file_bytes;
        hone_plan_release(&plan);
        hone_job_close(&job);
        hone_recipe_release(&recipe);
    }
    assert_int_equal(last, 0);     // enough is enough
}

// Four steps in memory; offloaded; and offloaded from the first one's second step on, which the memory of another shape left.
static void test_saves_and_resumes_are_those_of_a_run_in_memory(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    const char *more = "max_steps: 4\nsave_steps: 2\nrun_store: none\neval_tokens: 300\noptimizer_state: int8\n";
    char *path = run_rig_recipe_file(folder, more), *offload = hone_format("offload=%s", folder), *refusal;
    assert_int_equal(verb(&refusal, (const char *[]){ "plan", path, WIDE, DEEP, MLP, offload, "memory=8MiB", NULL }), 1);
    char *memory = hone_format("memory=%lld", (long long)find_least(refusal)), *resume = hone_format("resume=%s/run0/step-2", folder), *out[3], *text;
    for (int i = 0; i < 3; i++) {
        out[i] = hone_format("output_dir=%s/run%d", folder, i);
        int code = verb(&text, (const char *[]){ "pretrain", path, WIDE, DEEP, MLP, out[i], i == 2 ? resume : "resume=auto", i ? memory : "memory=0", i ? offload : NULL, NULL });
        if (code) fail_msg("run %d: %s", i, text);
        hone_free(text);
        char *log_path = hone_format("%s/run%d/log.jsonl", folder, i), *log = test_read(log_path);
        assert_int_equal(count_in(log, "\"file_bytes\":0") > 0, i == 0);     // of the plan: the others are offloaded
        assert_says(log, "\"file_bytes\":");
        hone_free(log), hone_free(log_path);
        for (int file = 0; file < 2; file++) {
            const char *name = file ? "optimizer.safetensors" : "model.safetensors";
            assert_true(test_hash("%s/run%d/step-4/%s", folder, i, name) == test_hash("%s/run0/step-4/%s", folder, name));
        }
    }
    // and back: what an offloaded run saved, a run in memory goes on from
    char *back = hone_format("resume=%s/run1/step-2", folder), *out3 = hone_format("output_dir=%s/run3", folder);
    verb_must("", (const char *[]){ "pretrain", path, WIDE, DEEP, MLP, out3, back, NULL });
    assert_true(test_hash("%s/run3/step-4/optimizer.safetensors", folder) == test_hash("%s/run0/step-4/optimizer.safetensors", folder));
    char **names;
    int64_t count;
    must(hone_dir_list(folder, &names, &count));
    for (int64_t i = 0; i < count; i++) {
        assert_null(strstr(names[i], "offload"));     // the file has no name
        hone_free(names[i]);
    }
    hone_free(names);
    for (int i = 0; i < 3; i++) hone_free(out[i]);
    hone_free(back), hone_free(out3), hone_free(refusal), hone_free(path), hone_free(memory), hone_free(offload), hone_free(resume);
}

// Of a model with adapters nearly all that is left are frozen matrices: loaded to the file, whatever they are kept in, and read from it alone.
static void test_frozen_matrices_stay_in_the_file(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    static const char *const how[] = { "finetuning_type: lora\nuse_dora: true\n", "finetuning_type: lora\nprecision: bf16\nlora_dropout: 0.1\ngradient_accumulation_steps: 2\n",
                                       "finetuning_type: qlora\nquantization_type: q8_0\nprecision: int8\n", "finetuning_type: full\naverage_ratio: 0.5\n" };
    char *start = run_rig_recipe_file(folder, "max_steps: 1\nrun_store: none\n"), *base = hone_format("output_dir=%s/base", folder);
    char *offload = hone_format("offload=%s", folder);
    verb_must("", (const char *[]){ "pretrain", start, WIDE, DEEP, MLP, base, NULL });
    for (int h = 0; h < 4; h++) {
        char *more = hone_format("model_name_or_path: %s/base/model\nmax_steps: 3\nsave_steps: 2\nrun_store: none\neval_tokens: 300\n%s", folder, how[h]);
        char *path = run_rig_recipe_file(folder, more), *refusal;
        assert_int_equal(verb(&refusal, (const char *[]){ "plan", path, offload, "memory=8MiB", NULL }), 1);
        assert_says(strstr(refusal, "  offloaded "), "weights ");
        char *memory = hone_format("memory=%lld", (long long)find_least(refusal));
        for (int i = 0; i < 2; i++) {
            char *out = hone_format("output_dir=%s/tuned%d.%d", folder, h, i);
            verb_must("", (const char *[]){ "tune", path, out, i ? memory : "memory=0", i ? offload : NULL, NULL });
            hone_free(out);
        }
        const char *file = h == 3 ? "model/model.safetensors" : "adapter/adapter_model.safetensors";
        assert_true(test_hash("%s/tuned%d.1/%s", folder, h, file) == test_hash("%s/tuned%d.0/%s", folder, h, file));
        hone_free(more), hone_free(path), hone_free(refusal), hone_free(memory);
    }
    hone_free(start), hone_free(base), hone_free(offload);
}

static int64_t calls_of_step(run_rig *r, unsigned kind)
{
    hone_step step;
    hone_test_fail(kind, 0);
    must(hone_loop_step(&r->loop, 10, &step));
    return hone_test_fail_end();
}

// In the middle of a step; activations: at the first move that way, which is one of theirs (behind the reads of the batch).
static void fail_the_disk(const char *more, bool activations)
{
    run_rig plain;
    open_rig(&plain, more, 0);
    calls_of_step(&plain, HONE_CALL_READ);
    const int64_t rows = calls_of_step(&plain, HONE_CALL_READ);     // of the second step
    run_rig_close(&plain);
    const int64_t least = least_memory(more);
    for (int way = 0; way < 2; way++) {
        const unsigned kind = way ? HONE_CALL_WRITE : HONE_CALL_READ;
        run_rig r;
        hone_step step;
        open_rig(&r, more, least);
        const int64_t calls = calls_of_step(&r, kind);
        assert_true(calls > 4 && (!activations || count_parked(&r.job, HONE_CLASS_activation) > 2));
        hone_test_fail(kind, !activations ? calls / 2 : way ? 1 : rows + 1);
        assert_int_equal(hone_loop_step(&r.loop, 10, &step), HONE_FAILED);
        hone_test_fail_end();
        assert_says(hone_error(), folder);
        assert_says(hone_error(), way ? "the offload file cannot be written" : "the offload file cannot be read");
        assert_int_equal(hone_loop_step(&r.loop, 10, &step), HONE_FAILED);    // and by every one behind it
        run_rig_close(&r);
    }
}

static void test_a_failing_disk_is_told_by_the_step(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    fail_the_disk("", false);
    shape = deep;
    fail_the_disk(LONG_ROWS, true);
    shape = wide;
}

// Weights that are loaded go to the file one by one: what does not get there is told before a step.
static void test_a_failing_disk_is_told_by_loading(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    const int64_t least = least_memory("");
    for (int way = 0; way < 2; way++) {
        run_rig r;
        open_rig(&r, "", least);
        hone_test_fail(way ? HONE_CALL_WRITE : HONE_CALL_READ, 1);
        hone_model_init(&r.job.model, 1, hone_job_borrow, &r.job);
        hone_test_fail_end();
        assert_int_equal(hone_session_settle(&r.job.session), HONE_FAILED);
        assert_says(hone_error(), way ? "the offload file cannot be written" : "the offload file cannot be read");
        run_rig_close(&r);
    }
}

static void test_room_is_reserved_before_anything_runs(void **state)
{
    (void)state;
    hone_scratch *scratch;
    assert_int_equal(hone_scratch_open(&scratch, folder, INT64_C(1) << 52), HONE_FAILED);
    assert_says(hone_error(), "offloading takes ");
    assert_says(hone_error(), "are free");
    assert_int_equal(hone_scratch_open(&scratch, "/nowhere/at/all", 4096), HONE_FAILED);
    assert_says(hone_error(), "No such file");
    if (hone_dir_exists("/dev/shm")) {
        assert_int_equal(hone_scratch_open(&scratch, "/dev/shm", 4096), HONE_FAILED);
        assert_says(hone_error(), "name a folder on a disk");
    }
}

// Many moves of one page: what was written last is read, in the order begun, and what was never written is zero.
static void test_moves_keep_their_order(void **state)
{
    (void)state;
    enum { PAGES = 8, TURNS = 300, PAGE = HONE_SCRATCH_ALIGN };
    hone_scratch *scratch;
    must(hone_scratch_open(&scratch, folder, PAGES * PAGE));
    uint8_t *out = hone_pages_alloc(PAGES * PAGE), *in = hone_pages_alloc(PAGES * PAGE), *cached = hone_alloc(PAGE, 1);
    memset(in, 1, PAGE);
    hone_scratch_wait(scratch, hone_scratch_begin_read(scratch, 7 * PAGE, in, PAGE, 0));
    assert_true(in[0] == 0 && in[PAGE - 1] == 0);
    for (int turn = 0; turn < TURNS; turn++) {
        const int page = turn % PAGES;
        memset(out + page * PAGE, 1 + turn % 200, PAGE);
        int64_t written = hone_scratch_begin_write(scratch, page * PAGE, out + page * PAGE, PAGE);
        hone_scratch_wait(scratch, hone_scratch_begin_read(scratch, page * PAGE, in + page * PAGE, PAGE, written));
        assert_int_equal(in[page * PAGE], 1 + turn % 200);
        assert_int_equal(in[page * PAGE + PAGE - 1], 1 + turn % 200);
    }
    must(hone_scratch_check(scratch));
    must(hone_scratch_write(scratch, PAGE + 5, "across", 6));
    must(hone_scratch_read(scratch, PAGE + 4, cached, 9));
    assert_memory_equal(cached + 1, "across", 6);
    hone_scratch_wait(scratch, hone_scratch_begin_read(scratch, PAGE, in, PAGE, 0));
    assert_memory_equal(in + 5, "across", 6);
    hone_scratch_close(scratch);
    hone_pages_free(out, PAGES * PAGE);
    hone_pages_free(in, PAGES * PAGE);
    hone_free(cached);
}

static void test_the_key_wants_memory_and_a_folder(void **state)
{
    (void)state;
    char *path = run_rig_recipe_file(folder, ""), *offload = hone_format("offload=%s", folder);
    verb_must_fail("offload moves what does not fit into `memory`, but none is given", (const char *[]){ "plan", path, offload, NULL });
    verb_must_fail("no such folder", (const char *[]){ "plan", path, "memory=1GiB", "offload=/nowhere/at/all", NULL });
    hone_free(path);
    hone_free(offload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves_keep_their_order),
        cmocka_unit_test(test_room_is_reserved_before_anything_runs),
        cmocka_unit_test(test_steps_have_the_bits_of_steps_in_memory),
        cmocka_unit_test(test_longer_rows_fit_where_activations_go_home),
        cmocka_unit_test(test_a_dropped_step_leaves_no_gradient),
        cmocka_unit_test(test_less_memory_parks_more),
        cmocka_unit_test(test_saves_and_resumes_are_those_of_a_run_in_memory),
        cmocka_unit_test(test_frozen_matrices_stay_in_the_file),
        cmocka_unit_test(test_a_failing_disk_is_told_by_the_step),
        cmocka_unit_test(test_a_failing_disk_is_told_by_loading),
        cmocka_unit_test(test_the_key_wants_memory_and_a_folder),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
