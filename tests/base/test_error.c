// test_error.c: messages, contexts, threads.
#include "support/cmocka_all.h"
#include "base/error.h"
#include <pthread.h>

static void test_failure_keeps_its_message_and_status(void **state)
{
    (void)state;
    assert_int_equal(hone_fail("a.txt:%d: bad", 7), HONE_FAILED);
    assert_string_equal(hone_error(), "a.txt:7: bad");
    assert_int_equal(hone_fail_usage("unknown verb %s", "x"), HONE_USAGE);
    assert_string_equal(hone_error(), "unknown verb x");
    hone_error_clear();
    assert_string_equal(hone_error(), "");
}

static void test_context_stands_in_front_and_message_may_quote_itself(void **state)
{
    (void)state;
    hone_fail("cut short");
    hone_fail_context("shard %d", 3);
    assert_string_equal(hone_error(), "shard 3: cut short");
    hone_fail("again: %s", hone_error());
    assert_string_equal(hone_error(), "again: shard 3: cut short");
}

static void test_overlong_message_is_cut_not_overrun(void **state)
{
    (void)state;
    char *big = malloc(100001);
    memset(big, 'x', 100000);
    big[100000] = 0;
    hone_fail("%s", big);
    size_t n = strlen(hone_error());
    assert_in_range(n, 1000, 4096);
    hone_fail_context("%s", big);
    assert_in_range(strlen(hone_error()), 1000, 4096);
    free(big);
}

static void *fails_elsewhere(void *unused)
{
    (void)unused;
    hone_fail("other thread");
    return NULL;
}

static void test_message_belongs_to_its_thread(void **state)
{
    (void)state;
    pthread_t thread;
    hone_fail("mine");
    assert_int_equal(pthread_create(&thread, NULL, fails_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    assert_string_equal(hone_error(), "mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_keeps_its_message_and_status),
        cmocka_unit_test(test_context_stands_in_front_and_message_may_quote_itself),
        cmocka_unit_test(test_overlong_message_is_cut_not_overrun),
        cmocka_unit_test(test_message_belongs_to_its_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
