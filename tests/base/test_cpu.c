// test_cpu.c: forced instruction sets and thread counts, and agreement with what the compiler's own probe says.
#include "support/cmocka_all.h"
#include "base/cpu.h"
#include <unistd.h>

static void test_features_agree_with_the_compilers_probe(void **state)
{
    (void)state;
    const hone_cpu_info *cpu = hone_cpu();
    __builtin_cpu_init();
    assert_int_equal(cpu->avx2, !!__builtin_cpu_supports("avx2") && !!__builtin_cpu_supports("fma"));
    assert_int_equal(cpu->avx512, cpu->avx2 && !!__builtin_cpu_supports("avx512f") && !!__builtin_cpu_supports("avx512bw") &&
                                      !!__builtin_cpu_supports("avx512dq") && !!__builtin_cpu_supports("avx512vl"));
    assert_int_equal(cpu->avx512_vnni, cpu->avx512 && !!__builtin_cpu_supports("avx512vnni"));
    assert_int_equal(cpu->avx512_bf16, cpu->avx512 && !!__builtin_cpu_supports("avx512bf16"));
    assert_in_range(cpu->cores, 1, sysconf(_SC_NPROCESSORS_CONF));
    assert_true(cpu->model[0] != 0);
}

static void test_isa_can_be_forced_down_but_not_up_or_astray(void **state)
{
    (void)state;
    hone_isa isa;
    unsetenv("HONE_ISA");
    assert_int_equal(hone_cpu_isa(&isa), HONE_OK);
    assert_int_equal(isa, hone_cpu()->best);
    for (int i = 0; i < HONE_ISA_COUNT; i++) {
        setenv("HONE_ISA", hone_isa_name[i], 1);
        hone_status wanted = hone_cpu()->has[i] ? HONE_OK : HONE_FAILED;
        assert_int_equal(hone_cpu_isa(&isa), wanted);
        if (!wanted) assert_int_equal(isa, i);
    }
    setenv("HONE_ISA", "sse9", 1);
    assert_int_equal(hone_cpu_isa(&isa), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "sse9"));
    unsetenv("HONE_ISA");
}

static void test_threads_can_be_forced_within_reason(void **state)
{
    (void)state;
    int threads;
    unsetenv("HONE_THREADS");
    assert_int_equal(hone_cpu_threads(&threads), HONE_OK);
    assert_int_equal(threads, hone_cpu()->cores);
    setenv("HONE_THREADS", "3", 1);
    assert_int_equal(hone_cpu_threads(&threads), HONE_OK);
    assert_int_equal(threads, 3);
    static const char *const wrong[] = { "0", "-1", "two", "1x", "99999999999999999999" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("HONE_THREADS", wrong[i], 1);
        assert_int_equal(hone_cpu_threads(&threads), HONE_FAILED);
        assert_non_null(strstr(hone_error(), wrong[i]));
    }
    unsetenv("HONE_THREADS");
}

static void test_clock_moves_forward_in_seconds(void **state)
{
    (void)state;
    double begin = hone_clock_s();
    usleep(20000);
    double passed = hone_clock_s() - begin;
    assert_true(passed >= 0.02 && passed < 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features_agree_with_the_compilers_probe),
        cmocka_unit_test(test_isa_can_be_forced_down_but_not_up_or_astray),
        cmocka_unit_test(test_threads_can_be_forced_within_reason),
        cmocka_unit_test(test_clock_moves_forward_in_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
