// A slow step is told while it lasts, with what it was doing; one that is no slower than the others is not.
#include "support/cmocka_all.h"
#include "run/watchdog.h"
#include <stdatomic.h>
#include <unistd.h>

static atomic_int told;
static char said[512];
static void say(void *context, const char *text)
{
    (void)context;
    snprintf(said, sizeof said, "%s", text);
    atomic_fetch_add(&told, 1);
}

static hone_watchdog *open_dog(double factor)
{
    hone_watchdog *dog;
    atomic_store(&told, 0);
    assert_int_equal(hone_watchdog_open(&dog, &(hone_watchdog_options){ factor, 0.15, say, NULL }), HONE_OK);
    for (int step = 1; step <= 8; step++) {
        hone_watchdog_begin(dog, step);
        usleep(2000);
        hone_watchdog_end(dog);
    }
    return dog;
}

static void assert_said(const char *words) { if (!strstr(said, words)) fail_msg("\"%s\" is not in: %s", words, said); }

static void test_a_slow_step_is_told_while_it_lasts(void **state)
{
    (void)state;
    hone_slow_step slow;
    hone_watchdog *dog = open_dog(20);
    assert_false(hone_watchdog_take(dog, &slow));
    hone_watchdog_begin(dog, 9);
    hone_watchdog_doing(dog, "waiting for a bus", 2, 5);
    for (int i = 0; i < 500 && !atomic_load(&told); i++) usleep(10000);
    assert_int_equal(atomic_load(&told), 1);
    assert_false(hone_watchdog_take(dog, &slow));        // not before it has ended
    hone_watchdog_end(dog);
    assert_said("step 9 takes ");
    assert_said(": waiting for a bus 2 of 5, for ");
    assert_said(": it was stopped, or waits for the disk");
    assert_true(hone_watchdog_take(dog, &slow));
    assert_false(hone_watchdog_take(dog, &slow));
    assert_int_equal(slow.step, 9);
    assert_true(slow.seconds >= 0.15 && slow.median_s >= 0.002 && slow.median_s < 0.1);
    assert_string_equal(slow.doing, "waiting for a bus 2 of 5");
    hone_watchdog_close(dog);
}

static void test_a_usual_step_and_a_wait_between_steps_are_not(void **state)
{
    (void)state;
    hone_slow_step slow;
    hone_watchdog *dog = open_dog(20);
    usleep(250000);                                       // an evaluation: within no step
    hone_watchdog_begin(dog, 9);
    hone_watchdog_end(dog);
    hone_watchdog_close(dog);
    dog = open_dog(0);                                    // off
    hone_watchdog_begin(dog, 9);
    usleep(250000);
    hone_watchdog_end(dog);
    assert_false(hone_watchdog_take(dog, &slow));
    hone_watchdog_close(dog);
    assert_int_equal(atomic_load(&told), 0);
    hone_watchdog_begin(NULL, 1);                         // without one, nothing
    hone_watchdog_end(NULL);
    assert_false(hone_watchdog_take(NULL, &slow));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slow_step_is_told_while_it_lasts),
        cmocka_unit_test(test_a_usual_step_and_a_wait_between_steps_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
