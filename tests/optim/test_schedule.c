// The learning rate follows its closed form; a run limited by time follows the same curve as its guess improves.
#include "optim/schedule.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { STEPS = 100, WARMUP = 10 };
// f64 throughout: only the order of operations differs.
static void near(double have, double want) { assert_true(fabs(have - want) <= 1e-15); }

static hone_schedule schedule(hone_choice kind)
{
    return (hone_schedule){ .kind = kind, .peak = 1e-3, .min_ratio = 0.1, .decay_ratio = 0.2, .warmup_steps = WARMUP };
}

static void test_warm_up_is_linear_and_starts_above_zero(void **state)
{
    (void)state;
    for (int kind = HONE_lr_scheduler_type_cosine; kind <= HONE_lr_scheduler_type_constant; kind++) {
        hone_schedule s = schedule((hone_choice)kind);
        for (int step = 0; step < WARMUP; step++) near(hone_schedule_rate(&s, step, STEPS), 1e-3 * (step + 1) / WARMUP);
        near(hone_schedule_rate(&s, WARMUP, STEPS), 1e-3);
    }
}

static void test_each_curve_has_its_closed_form(void **state)
{
    (void)state;
    hone_schedule cosine = schedule(HONE_lr_scheduler_type_cosine), linear = schedule(HONE_lr_scheduler_type_linear);
    hone_schedule wsd = schedule(HONE_lr_scheduler_type_wsd), constant = schedule(HONE_lr_scheduler_type_constant);
    for (int step = WARMUP; step <= STEPS; step++) {
        double t = (double)(step - WARMUP) / (STEPS - WARMUP);
        near(hone_schedule_rate(&cosine, step, STEPS), 1e-3 * (0.1 + 0.9 * 0.5 * (1 + cos(M_PI * t))));
        near(hone_schedule_rate(&linear, step, STEPS), 1e-3 * (1 - 0.9 * t));
        near(hone_schedule_rate(&wsd, step, STEPS), step <= 80 ? 1e-3 : 1e-3 * (1 - 0.9 * (step - 80) / 20.0));
        near(hone_schedule_rate(&constant, step, STEPS), 1e-3);
    }
}

static void test_the_rate_stays_at_its_end(void **state)
{
    (void)state;
    hone_schedule cosine = schedule(HONE_lr_scheduler_type_cosine), wsd = schedule(HONE_lr_scheduler_type_wsd);
    near(hone_schedule_rate(&cosine, 5 * STEPS, STEPS), 1e-4);
    near(hone_schedule_rate(&wsd, 5 * STEPS, STEPS), 1e-4);
}

static void test_warm_up_as_a_share_is_rounded_up(void **state)
{
    (void)state;
    hone_schedule s = schedule(HONE_lr_scheduler_type_constant);
    s.warmup_steps = 0;
    s.warmup_ratio = 0.035;
    near(hone_schedule_rate(&s, 0, STEPS), 1e-3 / 4); // ceil(3.5) = 4 steps
    near(hone_schedule_rate(&s, 3, STEPS), 1e-3);
    s.warmup_ratio = 0;
    near(hone_schedule_rate(&s, 0, STEPS), 1e-3);
}

// A warm-up as long as the run, and a decay longer than what is behind the warm-up, stay within [min, peak].
static void test_extreme_shapes_stay_in_range(void **state)
{
    (void)state;
    for (int kind = HONE_lr_scheduler_type_cosine; kind <= HONE_lr_scheduler_type_constant; kind++)
        for (int total = 1; total < 30; total++) {
            hone_schedule s = schedule((hone_choice)kind);
            s.decay_ratio = 1;
            for (int step = WARMUP; step < 40; step++) {
                double rate = hone_schedule_rate(&s, step, total);
                assert_true(rate >= 1e-4 - 1e-18 && rate <= 1e-3 + 1e-18);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warm_up_is_linear_and_starts_above_zero),
        cmocka_unit_test(test_each_curve_has_its_closed_form),
        cmocka_unit_test(test_the_rate_stays_at_its_end),
        cmocka_unit_test(test_warm_up_as_a_share_is_rounded_up),
        cmocka_unit_test(test_extreme_shapes_stay_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
