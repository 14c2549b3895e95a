// test_line_reader.c: lines of files and pipes, whatever their length and end.
#include "support/cmocka_all.h"
#include "base/file.h"
#include "base/line_reader.h"
#include <unistd.h>

static void test_lines_come_whole_whatever_their_length_and_end(void **state)
{
    (void)state;
    char path[] = "/tmp/hone-test-XXXXXX", *line;
    close(mkstemp(path));
    enum { LONG = 300000 }; // several pieces
    hone_buffer text = { 0 };
    hone_buffer_print(&text, "first\n\n");
    for (int i = 0; i < LONG; i++) hone_buffer_append(&text, "x", 1);
    hone_buffer_print(&text, "\nlast without an end");
    assert_int_equal(hone_file_write(path, text.data, text.size), HONE_OK);
    static const size_t sizes[] = { 5, 0, LONG, 19 };
    hone_line_reader lines;
    size_t size;
    assert_int_equal(hone_line_reader_open(&lines, path), HONE_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(hone_line_reader_next(&lines, &line, &size), HONE_OK);
        assert_non_null(line);
        assert_int_equal(size, sizes[i]);
        assert_int_equal(strlen(line), sizes[i]);
        assert_int_equal(lines.number, i + 1);
    }
    for (int i = 0; i < 2; i++) { // the end stays the end
        assert_int_equal(hone_line_reader_next(&lines, &line, &size), HONE_OK);
        assert_null(line);
    }
    hone_line_reader_close(&lines);
    hone_buffer_release(&text);
    unlink(path);
}

static void test_folder_and_absent_file_are_named(void **state)
{
    (void)state;
    hone_line_reader lines;
    char *line;
    size_t size;
    assert_int_equal(hone_line_reader_open(&lines, "/nonexistent/a"), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "/nonexistent/a"));
    assert_int_equal(hone_line_reader_open(&lines, "/tmp"), HONE_OK);
    assert_int_equal(hone_line_reader_next(&lines, &line, &size), HONE_FAILED); // not taken for an empty text
    assert_non_null(strstr(hone_error(), "/tmp:1"));
    hone_line_reader_close(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_come_whole_whatever_their_length_and_end),
        cmocka_unit_test(test_folder_and_absent_file_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
