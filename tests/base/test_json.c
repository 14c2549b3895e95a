// test_json.c: reading with places in messages, typed access, saving that reads back the same.
#include "support/cmocka_all.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "support/fault.h"
#include <unistd.h>

static json_t *parse(const char *text)
{
    json_t *value;
    assert_int_equal(hone_json_parse("t.json", text, strlen(text), &value), HONE_OK);
    return value;
}

static void test_syntax_error_names_line_and_column(void **state)
{
    (void)state;
    json_t *value;
    const char *text = "{\n  \"a\": 1,\n  oops\n}";
    assert_int_equal(hone_json_parse("t.json", text, strlen(text), &value), HONE_FAILED);
    assert_null(value);
    assert_non_null(strstr(hone_error(), "t.json:3:"));
    assert_int_equal(hone_json_load("/nonexistent/x.json", &value), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "/nonexistent/x.json"));
}

static void test_typed_reading_takes_defaults_and_refuses_wrong_types(void **state)
{
    (void)state;
    json_t *o = parse("{\"n\": 7, \"whole\": 2048.0, \"half\": 0.5, \"b\": true, \"s\": \"x\", \"nul\": \"a\\u0000b\", \"none\": null}");
    int64_t n = -1;
    double r = -1;
    bool b = false;
    const char *s = "kept";
    assert_int_equal(hone_json_int(o, "n", "t", true, &n), HONE_OK);
    assert_int_equal(n, 7);
    assert_int_equal(hone_json_int(o, "whole", "t", true, &n), HONE_OK);
    assert_int_equal(n, 2048);
    assert_int_equal(hone_json_int(o, "half", "t.json", true, &n), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "t.json"));
    assert_non_null(strstr(hone_error(), "half"));
    assert_int_equal(hone_json_int(o, "s", "t", false, &n), HONE_FAILED);
    assert_int_equal(n, 2048);
    assert_int_equal(hone_json_real(o, "n", "t", true, &r), HONE_OK);
    assert_true(r == 7);
    assert_int_equal(hone_json_bool(o, "b", "t", true, &b), HONE_OK);
    assert_true(b);
    assert_int_equal(hone_json_bool(o, "n", "t", true, &b), HONE_FAILED);
    assert_int_equal(hone_json_text(o, "none", "t", false, &s), HONE_OK);
    assert_string_equal(s, "kept");
    assert_int_equal(hone_json_text(o, "none", "t", true, &s), HONE_FAILED);
    assert_int_equal(hone_json_text(o, "missing", "t", true, &s), HONE_FAILED);
    assert_int_equal(hone_json_text(o, "nul", "t", true, &s), HONE_FAILED); // not cut short in silence
    json_t *array = parse("[1]");
    assert_int_equal(hone_json_int(array, "n", "t", false, &n), HONE_FAILED);
    json_decref(array);
    json_decref(o);
}

static void test_saved_file_reads_back_equal_and_short(void **state)
{
    char *path = hone_path_join(*state, "v.json"), *text;
    size_t size;
    json_t *value = parse("{\"eps\": 1e-05, \"z\": 1, \"a\": [\"\\u00fc\", 10000.0]}"), *again;
    assert_int_equal(hone_json_save(path, value), HONE_OK);
    assert_int_equal(hone_json_load(path, &again), HONE_OK);
    assert_true(json_equal(value, again));
    assert_int_equal(hone_file_read(path, &text, &size), HONE_OK);
    assert_non_null(strstr(text, "1e-5,"));
    assert_true(strstr(text, "\"z\"") < strstr(text, "\"a\"")); // order kept
    hone_free(text);
    json_decref(again);
    json_object_set_new(value, "third", json_real(1.0 / 3)); // needs all 17 digits or 16
    assert_int_equal(hone_json_save(path, value), HONE_OK);
    assert_int_equal(hone_json_load(path, &again), HONE_OK);
    assert_true(json_equal(value, again));
    json_decref(again);
    json_decref(value);
    hone_free(path);
}

static void test_each_failed_allocation_of_load_and_save_is_reported(void **state)
{
    char *path = hone_path_join(*state, "t.json");
    const char *text = "{\"a\": [1, 2.5, \"three\", {\"b\": null}]}";
    assert_int_equal(hone_file_write(path, text, strlen(text)), HONE_OK);
    int64_t n = 1, calls;
    for (;; n++) { // until no call is left to fail
        json_t *value = NULL, *whole;
        hone_error_clear();
        hone_test_fail(HONE_CALL_ALLOC, n);
        hone_status status = hone_json_load(path, &value);
        if (!status) status = hone_json_save(path, value);
        calls = hone_test_fail_end();
        json_decref(value);
        if (calls < n) break;
        assert_int_equal(status, HONE_FAILED);
        assert_non_null(strstr(hone_error(), "memory"));
        assert_int_equal(hone_json_load(path, &whole), HONE_OK); // never half-written
        json_decref(whole);
    }
    assert_true(n > 20);
    hone_free(path);
}

// Names and values of many lengths, so that a buffer is full in the midst of each kind of piece: the whole text or none.
static void test_no_allocation_that_fails_while_dumping_leaves_a_part(void **state)
{
    (void)state;
    int64_t failed = 0;
    for (int extra = 0; extra < 200; extra++) {
        char name[320];
        json_t *value = json_object(), *again;
        for (int i = 0; i < 12; i++) {
            snprintf(name, sizeof name, "%0*d", 1 + (17 * i + extra) % 300, i);
            json_object_set_new(value, name, json_integer(i));
        }
        for (int64_t n = 1, calls = 0; calls >= n - 1; n++) { // until no call is left to fail
            hone_test_fail(HONE_CALL_ALLOC, n);
            char *text = hone_json_dumps(value, JSON_COMPACT);
            calls = hone_test_fail_end();
            failed += text == NULL;
            if (text) {
                assert_int_equal(hone_json_parse("the text", text, strlen(text), &again), HONE_OK);
                assert_true(json_equal(value, again));
                json_decref(again);
            }
            hone_free(text);
        }
        json_decref(value);
    }
    assert_true(failed > 1000);
}

// Strings whose closing quote is the byte that a full buffer has no room for, of every length around a buffer's sizes; deep
// lists; long lists and tables that grow: once refused, always refused. AddressSanitizer would see a byte past a room.
static void test_no_allocation_that_fails_while_scanning_harms(void **state)
{
    (void)state;
    static const int length[] = { 0, 13, 14, 15, 16, 29, 30, 31, 32, 61, 62, 63, 64, 126, 127, 254, 255, 1022, 1023, 4094, 4095 };
    hone_buffer text = { 0 };
    hone_buffer_print(&text, "[");
    for (size_t i = 0; i < sizeof length / sizeof *length; i++) hone_buffer_print(&text, "{\"k%0*d\": \"%0*d\\n\"},", length[i], 1, length[i], 2);
    for (int i = 0; i < 300; i++) hone_buffer_print(&text, "%d.5,", i);
    for (int i = 0; i < 900; i++) hone_buffer_print(&text, "[");
    for (int i = 0; i < 900; i++) hone_buffer_print(&text, "]");
    hone_buffer_print(&text, ",{\"a\":0");
    for (int i = 0; i < 300; i++) hone_buffer_print(&text, ",\"a%d\":[%d]", i, i);
    assert_int_equal(hone_buffer_print(&text, "}]"), HONE_OK);
    int64_t n = 0;
    for (;;) { // until no call is left to fail
        json_t *value = NULL;
        hone_test_fail(HONE_CALL_ALLOC, ++n);
        hone_status status = hone_json_parse("t.json", text.data, text.size, &value);
        int64_t calls = hone_test_fail_end();
        assert_int_equal(status, calls < n ? HONE_OK : HONE_FAILED);
        assert_int_equal(value != NULL, calls < n);
        if (status) assert_non_null(strstr(hone_error(), "t.json: out of memory"));
        json_decref(value);
        if (calls < n) break;
    }
    assert_true(n > 3000);
    hone_buffer_release(&text);
}

static int make_folder(void **state)
{
    char name[] = "/tmp/hone-test-XXXXXX";
    if (!mkdtemp(name)) return -1;
    *state = strdup(name);
    return 0;
}

static int remove_folder(void **state)
{
    hone_status status = hone_dir_remove(*state);
    free(*state);
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax_error_names_line_and_column),
        cmocka_unit_test(test_no_allocation_that_fails_while_scanning_harms),
        cmocka_unit_test(test_no_allocation_that_fails_while_dumping_leaves_a_part),
        cmocka_unit_test(test_typed_reading_takes_defaults_and_refuses_wrong_types),
        cmocka_unit_test(test_saved_file_reads_back_equal_and_short),
        cmocka_unit_test(test_each_failed_allocation_of_load_and_save_is_reported),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
