// test_memory.c: the heap, growing arrays and strings, pages, and what the system says.
#include "support/cmocka_all.h"
#include "base/memory.h"
#include "support/fault.h"

static void test_allocation_is_zeroed_and_overflow_is_refused(void **state)
{
    (void)state;
    int64_t *a = hone_alloc(1000, sizeof *a);
    for (int i = 0; i < 1000; i++) assert_int_equal(a[i], 0);
    hone_free(a);
    void *none = hone_alloc(0, 8); // NULL is kept for failure
    assert_non_null(none);
    hone_free(none);
    hone_error_clear();
    assert_null(hone_alloc(SIZE_MAX / 4, 8));
    assert_non_null(strstr(hone_error(), "out of memory"));
}

static void test_array_grows_and_keeps_what_it_holds(void **state)
{
    (void)state;
    int32_t *a = NULL;
    int64_t capacity = 0;
    for (int32_t i = 0; i < 1000; i++) {
        assert_int_equal(hone_grow(&a, i, &capacity, sizeof *a), HONE_OK);
        a[i] = i;
    }
    for (int32_t i = 0; i < 1000; i++) assert_int_equal(a[i], i);
    assert_in_range(capacity, 1000, 2048);
    hone_test_fail(HONE_CALL_ALLOC, 1); // a failed growth leaves the array as it was
    int32_t *before = a;
    assert_int_equal(hone_grow(&a, capacity, &capacity, sizeof *a), HONE_FAILED);
    assert_int_equal(hone_test_fail_end(), 1);
    assert_ptr_equal(a, before);
    assert_int_equal(a[999], 999);
    hone_free(a);
}

static void test_buffer_appends_prints_and_ends_with_nul(void **state)
{
    (void)state;
    hone_buffer buffer = { 0 };
    for (int i = 0; i < 500; i++) {
        assert_int_equal(hone_buffer_append(&buffer, "ab", 2), HONE_OK);
        assert_int_equal(hone_buffer_print(&buffer, "%03d", i), HONE_OK);
    }
    assert_int_equal(buffer.size, 2500);
    assert_int_equal(strlen(buffer.data), 2500);
    assert_string_equal(buffer.data + 2495, "ab499");
    hone_buffer_release(&buffer);
    assert_null(buffer.data);
    char *text = hone_format("%s-%d", "x", 5);
    assert_string_equal(text, "x-5");
    hone_free(text);
}

// Every allocation of a small task fails in turn: NULL, a message, nothing leaked (the sanitizer run sees leaks).
static void test_each_failed_allocation_is_reported(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 4; n++) { // three allocations, then none is left to fail
        hone_buffer buffer = { 0 };
        hone_error_clear();
        hone_test_fail(HONE_CALL_ALLOC, n);
        char *text = hone_strdup("hello"), *more = hone_format("%d", 7);
        hone_status status = hone_buffer_append(&buffer, "x", 1);
        assert_int_equal(hone_test_fail_end(), 3);
        assert_int_equal(!text + !more + (status != HONE_OK), n <= 3);
        assert_int_equal(strstr(hone_error(), "out of memory") != NULL, n <= 3);
        hone_free(text);
        hone_free(more);
        hone_buffer_release(&buffer);
    }
}

static void test_pages_are_zeroed_aligned_and_resident(void **state)
{
    (void)state;
    const size_t bytes = (40 << 20) + 12345;
    int64_t before = hone_memory_resident_bytes();
    uint8_t *pages = hone_pages_alloc(bytes);
    assert_non_null(pages);
    assert_int_equal((uintptr_t)pages % 64, 0);
    int64_t gained = hone_memory_resident_bytes() - before;
    assert_true(gained >= (int64_t)bytes - (256 << 10)); // resident now, before any touch (VmRSS lags by a batch a thread)
    assert_true(gained <= (int64_t)bytes + (1 << 20));   // and nothing beyond
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i++) sum += pages[i];
    assert_int_equal(sum, 0);
    pages[bytes - 1] = 1;
    hone_pages_free(pages, bytes);
    assert_true(hone_memory_resident_bytes() < before + (8 << 20));
    assert_true(hone_memory_peak_bytes() >= before + (int64_t)bytes - (256 << 10));
}

static void test_pages_beyond_memory_are_refused_with_the_size(void **state)
{
    (void)state;
    hone_error_clear();
    size_t bytes = (size_t)hone_memory_available_bytes() + ((size_t)8 << 30); // must not get the process killed
    assert_null(hone_pages_alloc(bytes));
    assert_non_null(strstr(hone_error(), "MiB"));
    assert_null(hone_pages_alloc(SIZE_MAX - 5));
    hone_test_fail(HONE_CALL_ALLOC, 1);
    assert_null(hone_pages_alloc(100));
    hone_test_fail_end();
}

static void test_system_figures_make_sense(void **state)
{
    (void)state;
    assert_true(hone_memory_resident_bytes() > 100 << 10);
    assert_true(hone_memory_peak_bytes() >= hone_memory_resident_bytes() - (1 << 20));
    assert_true(hone_memory_available_bytes() > 1 << 20);
    assert_true(hone_memory_total_bytes() >= hone_memory_available_bytes());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocation_is_zeroed_and_overflow_is_refused),
        cmocka_unit_test(test_array_grows_and_keeps_what_it_holds),
        cmocka_unit_test(test_buffer_appends_prints_and_ends_with_nul),
        cmocka_unit_test(test_each_failed_allocation_is_reported),
        cmocka_unit_test(test_pages_are_zeroed_aligned_and_resident),
        cmocka_unit_test(test_pages_beyond_memory_are_refused_with_the_size),
        cmocka_unit_test(test_system_figures_make_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
