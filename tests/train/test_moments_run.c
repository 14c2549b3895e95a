// A training with moments in fewer bits goes as one with f32 moments.
#include "support/cmocka_all.h"
#include "support/run_rig.h"
#include <math.h>

static char *folder;
static int make_folder(void **state) { (void)state; folder = run_rig_folder(); return 0; }
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

// Mean training loss of steps 81 .. 120, from 4.8 at the start down to about the entropy of the data.
static double loss_of(const char *more)
{
    enum { STEPS = 120, LAST = 40 };
    run_rig r;
    double sum = 0;
    char *text = hone_format("max_steps: %d\nwarmup_steps: 5\n%s", STEPS, more);
    run_rig_open(&r, folder, text);
    for (int s = 0; s < STEPS; s++) {
        hone_step step;
        assert_int_equal(hone_loop_step(&r.loop, STEPS, &step), HONE_OK);
        if (s >= STEPS - LAST) sum += step.loss / LAST;
    }
    run_rig_close(&r);
    hone_free(text);
    return sum;
}

// The same data and start: half a percent is what two roundings of one run may differ by, ten times less than what it gains
// in its last third.
static void check_like_f32(const char *optimizer)
{
    static const char *const states[] = { "bf16", "int8" };
    char *whole = hone_format("optimizer: %s\n", optimizer);
    double f32 = loss_of(whole);
    hone_free(whole);
    for (int i = 0; i < 2; i++) {
        char *more = hone_format("optimizer: %s\noptimizer_state: %s\n", optimizer, states[i]);
        double loss = loss_of(more);
        print_message("           %s %s: %.4f, f32 %.4f\n", optimizer, states[i], loss, f32);
        assert_true(fabs(loss / f32 - 1) < 0.005);
        assert_true(loss != f32);
        hone_free(more);
    }
}

static void test_adamw_with_small_moments_trains_as_with_f32(void **state) { (void)state; check_like_f32("adamw"); }
static void test_muon_with_small_moments_trains_as_with_f32(void **state) { (void)state; check_like_f32("muon"); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_with_small_moments_trains_as_with_f32),
        cmocka_unit_test(test_muon_with_small_moments_trains_as_with_f32),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
