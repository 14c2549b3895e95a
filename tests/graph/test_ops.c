// test_ops.c: every op of ops.def, on every backend this machine has, against the portable one.
//
//     for each row, case, kind, presence of optional operands, live count:   run -> judge   (support/op_harness.h)
//
// and the controls: each kind of damage, done to each operand of each op, must be rejected by those same judges.
//
// Compiled a second time as test_ops_cuda: the CUDA backend's kernels, run by the emulator with the threads of a block in ascending
// ("1 thread") and in descending order ("2").
// (There one trial in three, and in eleven of comparisons with itself, a third of that under sanitizers; all where HONE_TEST_LONG is
// set. The controls are of the judges.)
// A third time as test_ops_gpu: backend cuda, on the GPU of this machine, or on what HONE_LIBCUDA names; products of a GPU's library
// need not give a row the same bits among other rows. (HONE_TEST_EVERY=N: one trial in N, for a tool under which each takes long.)
//
// Sanitizers look for wrong accesses, not for wrong numbers, and take six times as long: under them one trial in four runs on every
// backend once, plain and packed; the comparisons of a backend with itself take one in eight, the controls are left out.
#include "backend/backends.h"
#include "backend/ref/ref.h"
#ifdef HONE_TEST_CUDA
#include "backend/cuda/emulate/emulated.h"
#endif
#include "base/cpu.h"
#include "base/half.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/op_harness.h"

typedef struct target {
    const hone_backend *backend;
    void *self;
    char name[32];
    bool pairs; // its attention multiplies rows of bf16 in pairs
} target;

static target targets[1 + 2 * HONE_ISA_COUNT]; // ref, then each instruction set with 1 and 2 threads
static int n_target;

static void add_target(const hone_backend *backend, int threads, int isa)
{
    target *t = &targets[n_target++];
    hone_backend_options options = { .threads = threads, .force_isa = 1 + isa };
    HONE_ASSERT(backend->open(&options, &t->self) == HONE_OK, "%s", hone_error());
    t->backend = backend;
    t->pairs = isa == HONE_ISA_AVX512_BF16;
    snprintf(t->name, sizeof t->name, isa < 0 ? "%s" : "%s %s x %d", backend->name, isa < 0 ? "" : hone_isa_name[isa], threads);
}

static int open_targets(void **state)
{
    (void)state;
    add_target(&hone_backend_ref, 1, -1);
#ifdef HONE_TEST_GPU
    void *found = NULL;
    if (hone_backend_cuda.open(&(hone_backend_options){ 0 }, &found)) {
        print_message("skipped: the op harness on a GPU: %s\n", hone_error());
        exit(0);
    }
    hone_backend_cuda.close(found);
    add_target(&hone_backend_cuda, 1, -1);
    op_fp8_sums_are_short = true;
#elif defined HONE_TEST_CUDA
    for (int order = 1; order <= 2; order++) add_target(&hone_backend_emulated, order, -1);
#else
    for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa))
        for (int threads = 1; threads <= 2; threads++) add_target(&hone_backend_cpu, threads, (int)isa);
#endif
    return 0;
}

static int close_targets(void **state)
{
    (void)state;
    for (int i = 0; i < n_target; i++) targets[i].backend->close(targets[i].self);
    return 0;
}

static int wrong;      // of one test: all are reported, not only the first
static void report(const target *on, const char *verdict)
{
    if (!verdict) return;
    if (wrong++ < 20) print_error("%s: %s\n", on->name, verdict);
}

// A fresh copy of `made`, run; false where the backend declines it.
static bool run_copy(op_trial *trial, const op_trial *made, const target *on)
{
    const char *why_not = "";
    op_trial_copy(trial, made);
    if (op_trial_run(trial, on->backend, on->self, &why_not)) return true;
    op_trial_free(trial);
    return false;
}

static void run_reference(op_trial *reference, const op_trial *made)
{
    HONE_ASSERT(run_copy(reference, made, &targets[0]), "ref declines %s", made->label);
}

// Which operands are stored in 16 bits, by turns: none; each one alone that some backend but ref takes so (a weight, say); of those
// that ops.def marks `~` every set where they are few or the shapes are the smallest, else all of them. No operand but in the
// first turn: nothing to do. False behind the last.
static bool next_half(const hone_op_info *info, int number, int *turn, unsigned *half)
{
    unsigned marked[HONE_MAX_IN + HONE_MAX_OUT], all = 0;
    int n = 0;
    for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++) {
        bool exists = i < HONE_MAX_IN ? i < info->n_in : i - HONE_MAX_IN < info->n_out;
        if (exists && (i < HONE_MAX_IN ? info->in[i].half : info->out[i - HONE_MAX_IN].half)) all |= marked[n++] = 1u << i;
    }
    *half = 0;
    int at = (*turn)++, sets = n <= 4 || number == 0 ? 1 << n : 1;
    if (at == 0) return true;
    if (at <= HONE_MAX_IN + HONE_MAX_OUT) *half = sets > 1 ? 1u << (at - 1) & ~all : 1u << (at - 1); // those alone are sets, too
    else if ((at -= HONE_MAX_IN + HONE_MAX_OUT + 1) >= sets) return false;
    else if (sets == 1) *half = all;
    else for (int k = 0; k < n; k++) *half |= at >> k & 1 ? marked[k] : 0;
    return true;
}

// False where an operand of `half` is absent, no real one, or the same tensor as another.
static bool stored_so(op_trial *t, unsigned half)
{
    for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++)
        if (half >> i & 1 && (!t->block[i] || hone_dtype_bytes(op_trial_operand(t, i)->dtype) != 2)) return false;
    return true;
}

// Calls `check` for one in `every` of all variants of each op, the first among them; where `half_too`, also with operands stored in bf16,
// or, every other time, in f16 where a backend has that.
typedef void (*check_fn)(const op_trial *made, void *context);

static bool anyone_supports(const op_trial *made)
{
    const char *why_not;
    bool any = false;
    for (int i = 1; i < n_target; i++) any |= targets[i].backend->supports(targets[i].self, &made->args, &why_not);
    return any;
}

// Of how many variants one is taken, of backends with ref and with themselves; JUDGED: targets that are compared with ref, it among them.
#ifdef HONE_TEST_GPU
enum { CONTROLS = false, WHOLE = false, EVERY = 1, SELF_EVERY = 1, JUDGED = 2, ROWS_ALONE = false, F16_TOO = true };
#elif defined HONE_TEST_CUDA
enum { CONTROLS = false, WHOLE = false, EVERY = SANITIZED ? 9 : 3, SELF_EVERY = SANITIZED ? 33 : 11, JUDGED = 2, ROWS_ALONE = true, F16_TOO = true };
#else
enum { CONTROLS = !SANITIZED, WHOLE = true, EVERY = SANITIZED ? 4 : 1, SELF_EVERY = SANITIZED ? 8 : 1, JUDGED = 1 + 2 * HONE_ISA_COUNT, ROWS_ALONE = true, F16_TOO = false };
#endif

static void for_variants(int every, bool half_too, check_fn check, void *context)
{
    if (getenv("HONE_TEST_LONG")) every = 1;
    const char *sample = getenv("HONE_TEST_EVERY");
    if (sample && atoi(sample) > 0) every = atoi(sample);
    wrong = 0;
    for (int op = 0; op < HONE_OP_COUNT; op++) {
        if (hone_op_get((hone_op)op)->flags & HONE_MOVE) continue;   // the executor's own: test_offload.c
        int count = 0;
        op_variant v = op_variant_first((hone_op)op);
        do {
            unsigned half;
            for (int turn = 0; next_half(hone_op_get(v.op), v.number, &turn, &half) && (turn == 1 || half_too);) {
                op_trial made;
                if (turn == 1 && count++ % every) continue;
                v.half = half;
                v.narrow = F16_TOO && (turn + v.kind + v.number + (int)v.present + v.live) % 2 ? HONE_f16 : HONE_bf16;
                op_trial_make(&made, &v);
                v.half = 0;
                bool wanted = turn == 1 || (half && stored_so(&made, half) && anyone_supports(&made) && count++ % every == 0);
                if (wanted) check(&made, context);
                op_trial_free(&made);
            }
        } while (op_variant_next(&v));
    }
    assert_int_equal(wrong, 0);
}

static void judge_on_all(const op_trial *made, void *context)
{
    bool (*accepted)[HONE_OP_COUNT] = context;
    op_trial reference;
    run_reference(&reference, made);
    for (int i = 0; i < n_target && i < JUDGED; i++) {
        op_trial trial;
        if (!run_copy(&trial, made, &targets[i])) continue;
        accepted[i][made->variant.op] = true;
        op_attention_in_pairs = targets[i].pairs;
        op_shares_are_half = targets[i].backend == &hone_backend_cpu;
        report(&targets[i], op_trial_judge(&trial, &reference));
        op_trial_free(&trial);
    }
    op_trial_free(&reference);
}

static void test_every_backend_agrees_with_ref(void **state)
{
    (void)state;
    bool accepted[1 + 2 * HONE_ISA_COUNT][HONE_OP_COUNT] = { 0 };
    for_variants(EVERY, true, judge_on_all, accepted);
    for (int i = 0; i < n_target && i < JUDGED; i++)
        for (int op = 0; op < HONE_OP_COUNT; op++)
            if (!accepted[i][op] && !(hone_op_get((hone_op)op)->flags & HONE_MOVE)) {
                if (WHOLE) fail_msg("%s declines every trial of %s", targets[i].name, hone_op_get((hone_op)op)->name);
                print_message("skipped: %s has no %s\n", targets[i].name, hone_op_get((hone_op)op)->name);
            }
}

static void judge_forms(const op_trial *made, void *context)
{
    op_trial reference;
    bool have_reference = false;
    for (int i = 0; i < n_target; i++)
        for (int form = HONE_FORM_PLAIN + 1; form < HONE_FORM_COUNT; form++) {
            op_trial trial;
            const char *why_not = "";
            op_trial_copy(&trial, made);
            if (op_trial_pack(&trial, targets[i].backend, targets[i].self, (hone_form)form)) {
                if (!have_reference) run_reference(&reference, made);
                have_reference = true;
                ++*(int *)context;
                bool ran = op_trial_run(&trial, targets[i].backend, targets[i].self, &why_not);
                report(&targets[i], ran ? op_trial_judge(&trial, &reference) : why_not);
            }
            op_trial_free(&trial);
        }
    if (have_reference) op_trial_free(&reference);
}

static void test_packed_weights_give_what_plain_ones_give(void **state)
{
    (void)state;
    int forms = 0;
    for_variants(EVERY, true, judge_forms, &forms);
    print_message("           %d trials with a private form\n", forms);
}

static void judge_threads(const op_trial *made, void *context)
{
    (void)context;
    for (int i = 1; i + 1 < n_target; i += 2) {
        op_trial one, two;
        if (!run_copy(&one, made, &targets[i])) continue;
        if (run_copy(&two, made, &targets[i + 1])) {
            report(&targets[i + 1], op_trial_same(&two, &one, -1));
            op_trial_free(&two);
        }
        op_trial_free(&one);
    }
}

static void test_two_threads_give_the_bits_of_one(void **state)
{
    (void)state;
    for_variants(SELF_EVERY, true, judge_threads, NULL);
}

static void judge_in_place(const op_trial *made, void *context)
{
    (void)context;
    for (int i = 0; i < n_target; i++) {
        op_trial apart, together;
        const char *why_not;
        if (!run_copy(&apart, made, &targets[i])) continue;
        op_trial_copy(&together, made);
        if (op_trial_place(&together)) {
            op_trial_run(&together, targets[i].backend, targets[i].self, &why_not);
            report(&targets[i], op_trial_same(&together, &apart, -1));
        }
        op_trial_free(&together);
        op_trial_free(&apart);
    }
}

static void test_working_in_place_gives_the_same_bits(void **state)
{
    (void)state;
    for_variants(SELF_EVERY, false, judge_in_place, NULL);
}

// Row-invariance: the rows below a live count are computed from the same operands whether the rest runs or not.
// (attention_back of a fused tensor is no function of rows: later queries add to the gradients of earlier keys. Nor is pair_loss, which sums
// over replies.)
static void judge_rows(const op_trial *made, void *context)
{
    (void)context;
    if (!made->variant.live || made->variant.op == HONE_OP_attention_back || made->variant.op == HONE_OP_pair_loss) return;
    if (!ROWS_ALONE && hone_op_get(made->variant.op)->flags & HONE_PRODUCT) return;
    op_variant whole = made->variant;
    whole.live = false;
    op_trial all;
    op_trial_make(&all, &whole);
    for (int i = 0; i < n_target; i++) {
        op_trial few, many;
        if (!run_copy(&few, made, &targets[i])) continue;
        if (run_copy(&many, &all, &targets[i])) {
            report(&targets[i], op_trial_same(&few, &many, made->live));
            op_trial_free(&many);
        }
        op_trial_free(&few);
    }
    op_trial_free(&all);
}

static void test_a_row_does_not_depend_on_how_many_rows_run(void **state)
{
    (void)state;
    for_variants(SELF_EVERY, true, judge_rows, NULL);
}

// The head of training and the head of scoring: bit-identical log-probabilities.
static void test_both_heads_give_the_same_log_probabilities(void **state)
{
    (void)state;
    wrong = 0;
    for (int number = 0; number < hone_op_get(HONE_OP_linear_xent)->n_case + 1; number++)
        for (int i = 0; i < n_target; i++) {
            op_trial xent, score;
            const char *why_not = "";
            op_variant v = op_variant_first(HONE_OP_linear_xent), s = op_variant_first(HONE_OP_linear_logprob);
            const bool capped = number == hone_op_get(HONE_OP_linear_xent)->n_case;
            v.number = s.number = capped ? 1 : number;
            v.kind = s.kind = capped ? 2 : 0;
            op_trial_make(&xent, &v);
            op_trial_make(&score, &s);
            assert_true(score.bytes[0] == xent.bytes[0] && score.bytes[1] == xent.bytes[1]);
            memcpy(score.args.in[0].data, xent.args.in[0].data, xent.bytes[0]);
            memcpy(score.args.in[1].data, xent.args.in[1].data, xent.bytes[1]);
            int64_t N = xent.args.in[0].dim[0], J = score.args.in[2].dim[1];
            for (int64_t n = 0; n < N; n++) ((int32_t *)xent.args.in[2].data)[n] = ((int32_t *)score.args.in[2].data)[n * J];
            bool ran = op_trial_run(&xent, targets[i].backend, targets[i].self, &why_not)
                    && op_trial_run(&score, targets[i].backend, targets[i].self, &why_not);
            const float *weight = xent.args.in[3].data, *trained = xent.args.out[0].data, *scored = score.args.out[0].data;
            for (int64_t n = 0; ran && n < N; n++)
                if (weight[n] != 0 && memcmp(&trained[n], &scored[n * J], sizeof(float))) report(&targets[i], xent.label);
            op_trial_free(&xent);
            op_trial_free(&score);
        }
    assert_int_equal(wrong, 0);
}

// ref's numbers of 16 bits, written apart from those that kernels and files take (base/half.h): each of them there and back, and what
// lies between two of them.
static void test_halves_are_the_same_in_ref(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 1 << 16; h++) {
        const float f = hone_f16_to_f32((uint16_t)h), next = hone_f16_to_f32((uint16_t)(h + 1));
        if (isnan(f)) { assert_true(isnan(hone_ref_f16_to_f64((uint16_t)h)) && isnan(hone_ref_f16_to_f64(hone_ref_f64_to_f16((double)f)))); continue; }
        assert_true(hone_ref_f16_to_f64((uint16_t)h) == (double)f);
        assert_true(hone_ref_f64_to_f16((double)f) == h && hone_f32_to_f16(f) == h);
        if (!isfinite(f) || !isfinite(next)) continue;
        for (int i = 1; i < 8; i++) {
            const float between = f + (next - f) * (float)i / 8;
            assert_int_equal(hone_ref_f64_to_f16((double)between), hone_f32_to_f16(between));
        }
    }
}

// -- controls ---------------------------------------------------------------------------------------------------------

typedef struct controls { int done[HONE_OP_COUNT][SPOIL_COUNT][HONE_MAX_IN + HONE_MAX_OUT], accepted, rejected; } controls;

static void spoil(const op_trial *made, const op_trial *reference, op_spoil damage, int operand, controls *c)
{
    op_spoiler spoiler = { .backend = targets[0].backend, .self = targets[0].self, .spoil = damage, .operand = operand };
    target on = { .backend = &op_spoiler_backend, .self = &spoiler, .name = "spoiled" };
    op_trial trial;
    HONE_ASSERT(run_copy(&trial, made, &on), "%s", made->label);
    // Some damage is none: 0 x 1.01, rows that no id names, a row of an all-zero gradient.
    bool harmless = true;
    for (int i = 0; i < HONE_MAX_OUT; i++)
        harmless &= !trial.args.out[i].present || !memcmp(trial.args.out[i].data, reference->args.out[i].data, trial.bytes[HONE_MAX_IN + i]);
    const char *verdict = damage == SPOIL_ULP ? op_trial_same(&trial, reference, -1) : op_trial_judge(&trial, reference);
    if (!harmless) {
        c->done[made->variant.op][damage][operand]++;
        if (verdict) c->rejected++;
        else {
            c->accepted++;
            print_error("accepted: %s with operand %d spoiled: %s\n", made->label, operand, op_spoil_name[damage]);
        }
    }
    op_trial_free(&trial);
}

static void spoil_all(const op_trial *made, void *context)
{
    op_trial reference;
    run_reference(&reference, made);
    for (int damage = SPOIL_NOTHING + 1; damage < SPOIL_COUNT; damage++)
        for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++)
            if (op_spoil_applies(made, (op_spoil)damage, i)) spoil(made, &reference, (op_spoil)damage, i, context);
    op_trial_free(&reference);
}

// A gradient that ends as 0.
static bool is_cleared(int op, int output) { return (op == HONE_OP_adamw || op == HONE_OP_adamw8 || op == HONE_OP_momentum) && output == 1; }

// Outputs marked `+` that are nevertheless overwritten whole: nothing of their old value is left to lose.
static bool forgets(int op, int output)
{
    return op == HONE_OP_kv_write || op == HONE_OP_kv_write8 || op == HONE_OP_sum_squares || op == HONE_OP_clip_factor || is_cleared(op, output);
}

// Every kind of damage that an operand can take was done at least once, else the control controls nothing.
static void check_complete(const controls *c)
{
    for (int op = 0; op < HONE_OP_COUNT; op++) {
        const hone_op_info *info = hone_op_get((hone_op)op);
        if (info->flags & HONE_MOVE) continue;
        for (int i = 0; i < info->n_in; i++)
            if (info->in[i].optional && strcmp(info->in[i].name, "slot") && strcmp(info->in[i].name, "table"))
                assert_true(c->done[op][SPOIL_DROP][i] > 0);
        for (int i = 0; i < info->n_out; i++) {
            const int *of[SPOIL_COUNT];
            for (int damage = 0; damage < SPOIL_COUNT; damage++) of[damage] = &c->done[op][damage][HONE_MAX_IN + i];
            bool done = *of[SPOIL_SKIP] > 0 && (is_cleared(op, i) || (*of[SPOIL_SCALE] > 0 && *of[SPOIL_ULP] > 0));
            done &= !info->out[i].optional || *of[SPOIL_DROP] > 0;
            done &= !info->out[i].update || forgets(op, i) || *of[SPOIL_OVERWRITE] > 0;
            if (!done) fail_msg("%s: some damage to %s was never done", info->name, info->out[i].name);
        }
    }
}

static void test_the_judges_reject_every_damage(void **state)
{
    (void)state;
    static controls c;
    if (!CONTROLS) { print_message("skipped: the op harness' controls, %s\n", SANITIZED ? "under sanitizers" : "which test_ops runs"); skip(); }
    for_variants(1, false, spoil_all, &c);
    print_message("           %d spoiled runs rejected\n", c.rejected);
    assert_int_equal(c.accepted, 0);
    check_complete(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halves_are_the_same_in_ref),
        cmocka_unit_test(test_the_judges_reject_every_damage),
        cmocka_unit_test(test_every_backend_agrees_with_ref),
        cmocka_unit_test(test_packed_weights_give_what_plain_ones_give),
        cmocka_unit_test(test_two_threads_give_the_bits_of_one),
        cmocka_unit_test(test_working_in_place_gives_the_same_bits),
        cmocka_unit_test(test_a_row_does_not_depend_on_how_many_rows_run),
        cmocka_unit_test(test_both_heads_give_the_same_log_probabilities),
    };
    return cmocka_run_group_tests(tests, open_targets, close_targets);
}
