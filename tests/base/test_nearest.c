// test_nearest.c: what "did you mean" offers, and when it keeps silent.
#include "support/cmocka_all.h"
#include "base/nearest.h"

static void test_typos_find_their_name(void **state)
{
    (void)state;
    static const char *const names[] = { "learning_rate", "lora_rank", "lora_alpha", "seed", "max_steps", "eval" };
    static const char *const typos[][2] = {
        { "learning_rte", "learning_rate" }, { "laerning_rate", "learning_rate" }, { "lora_rnak", "lora_rank" },
        { "sead", "seed" }, { "maxsteps", "max_steps" }, { "evla", "eval" }, { "evl", "eval" },
    };
    for (size_t i = 0; i < sizeof typos / sizeof *typos; i++) {
        const char *found = hone_nearest(typos[i][0], names, 6);
        assert_non_null(found);
        assert_string_equal(found, typos[i][1]);
    }
}

static void test_strangers_find_nothing(void **state)
{
    (void)state;
    static const char *const names[] = { "learning_rate", "seed" };
    char big[200];
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = 0;
    assert_null(hone_nearest("output_dir", names, 2));
    assert_null(hone_nearest("x", names, 2));
    assert_null(hone_nearest("", names, 2));
    assert_null(hone_nearest(big, names, 2));
    assert_null(hone_nearest("seed", NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typos_find_their_name),
        cmocka_unit_test(test_strangers_find_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
