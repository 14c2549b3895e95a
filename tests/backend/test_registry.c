// test_registry.c: finding a backend by name and by path; what does not fit is refused with a message that says why.
#include "support/cmocka_all.h"
#include "backend/backends.h"

static void test_built_in_backends_are_found_by_name(void **state)
{
    (void)state;
    const hone_backend *found = NULL;
    assert_int_equal(hone_backend_find("cpu", &found), HONE_OK);
    assert_ptr_equal(found, &hone_backend_cpu);
    assert_int_equal(hone_backend_find("ref", &found), HONE_OK);
    assert_ptr_equal(found, &hone_backend_ref);
}

static void test_a_plugin_is_loaded_by_path_and_runs(void **state)
{
    (void)state;
    const hone_backend *found = NULL;
    if (hone_backend_find(HONE_BINARY_DIR "/plugin_good.so", &found) != HONE_OK) fail_msg("%s", hone_error());
    assert_string_equal(found->name, "adder");
    float a[] = { 1, 2, 3 }, b[] = { 10, 20, 30 }, y[3];
    hone_operand row = { .dim = { 1, 3 }, .rank = 2, .present = true };
    hone_args args = { .op = HONE_OP_add, .in = { row, row }, .out = { row } };
    const char *why_not = NULL;
    args.in[0].data = a, args.in[1].data = b, args.out[0].data = y;
    assert_true(found->supports(NULL, &args, &why_not));
    found->run(NULL, &args, NULL, 0);
    assert_true(y[0] == 11 && y[1] == 22 && y[2] == 33);
}

static void refused(const char *name_or_path, const char *because)
{
    const hone_backend *found = NULL;
    hone_error_clear();
    assert_int_equal(hone_backend_find(name_or_path, &found), HONE_FAILED);
    assert_null(found);
    if (!strstr(hone_error(), because)) fail_msg("'%s' does not say '%s'", hone_error(), because);
    if (!strstr(hone_error(), name_or_path)) fail_msg("'%s' does not name '%s'", hone_error(), name_or_path);
}

static void test_what_does_not_fit_is_refused_by_name(void **state)
{
    (void)state;
    refused(HONE_BINARY_DIR "/plugin_wrong_hash.so", "another op table");
    refused(HONE_BINARY_DIR "/plugin_wrong_abi.so", "backend ABI 5, this hone has 4");
    refused(HONE_BINARY_DIR "/plugin_no_symbol.so", "exports no hone_backend_plugin");
    refused(HONE_BINARY_DIR "/no_such_file.so", "cannot be loaded");
    refused("gpu", "there are: cpu cuda cuda_planned ref");
}

static void test_the_cpu_backend_names_what_it_cannot_do(void **state)
{
    (void)state;
    void *self = NULL;
    const hone_backend_options options = { .threads = 1 };
    assert_int_equal(hone_backend_cpu.open(&options, &self), HONE_OK);
    hone_operand row = { .dim = { 1, 3 }, .rank = 2, .dtype = HONE_f32, .present = true };
    hone_args args = { .op = HONE_OP_add, .in = { row, row }, .out = { row } };
    const char *why_not = NULL;
    assert_true(hone_backend_cpu.supports(self, &args, &why_not));
    args.in[1].dtype = HONE_f64;
    assert_false(hone_backend_cpu.supports(self, &args, &why_not));
    assert_string_equal(why_not, "the cpu backend's add takes no f64 as b");
    hone_backend_cpu.close(self);
    const hone_backend_options wrong = { .threads = 1, .force_isa = 18 };
    assert_int_equal(hone_backend_cpu.open(&wrong, &self), HONE_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_built_in_backends_are_found_by_name),
        cmocka_unit_test(test_a_plugin_is_loaded_by_path_and_runs),
        cmocka_unit_test(test_what_does_not_fit_is_refused_by_name),
        cmocka_unit_test(test_the_cpu_backend_names_what_it_cannot_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
