// What a run shows: numbers in stable widths, whole lines when piped, one redrawn line on a terminal, rows of JSON.
#include "base/file.h"
#include "base/memory.h"
#include "base/units.h"
#include "run/log.h"
#include "run/progress.h"
#include "support/cmocka_all.h"
#include <pty.h>
#include <unistd.h>

static void test_numbers_read_well(void **state)
{
    (void)state;
    assert_string_equal(hone_units_count(512).s, "512");
    assert_string_equal(hone_units_count(999.6).s, "1.00k");
    assert_string_equal(hone_units_count(4.66e6).s, "4.66M");
    assert_string_equal(hone_units_count(13.8e6).s, "13.8M");
    assert_string_equal(hone_units_count(1.236e9).s, "1.24B");
    assert_string_equal(hone_units_grouped(1234567).s, "1,234,567");
    assert_string_equal(hone_units_grouped(-1000).s, "-1,000");
    assert_string_equal(hone_units_grouped(12).s, "12");
    assert_string_equal(hone_units_bytes(100).s, "100 B");
    assert_string_equal(hone_units_energy(2e-5).s, "20 mWh");
    assert_string_equal(hone_units_energy(0.0117).s, "11.7 Wh");
    assert_string_equal(hone_units_energy(12.34).s, "12.3 kWh");
    assert_string_equal(hone_units_mass(4.68).s, "4.68 g");
    assert_string_equal(hone_units_mass(1236).s, "1.24 kg");
    assert_string_equal(hone_units_bytes(412 * 1048576.0).s, "412 MiB");
    assert_string_equal(hone_units_bytes(1.36 * 1073741824).s, "1.36 GiB");
    assert_string_equal(hone_units_time(7).s, "0:07");
    assert_string_equal(hone_units_time(751).s, "12:31");
    assert_string_equal(hone_units_time(11100).s, "3:05:00");
    assert_string_equal(hone_units_flops(171e9).s, "171 GFLOP/s");
}

static const hone_progress_row row = { .step = 350, .steps = 700, .done = 0.5, .loss = 4.8123, .bits_per_byte = 1.8701, .tokens_per_s = 1912.4,
                                       .flops_per_s = 171e9, .left_s = 751, .memory_bytes = 540 << 20 };

static size_t read_all(FILE *file, char *text, size_t size)
{
    fflush(file);
    rewind(file);
    size_t n = fread(text, 1, size - 1, file);
    text[n] = '\0';
    return n;
}

static void test_piped_progress_is_whole_lines_every_so_many_steps(void **state)
{
    (void)state;
    char text[1024];
    FILE *file = tmpfile();
    hone_progress progress;
    hone_progress_open(&progress, file, 50, 228e9);
    hone_progress_held(&progress, 300, 4.9, 1.91);
    hone_progress_row off = row;
    off.step = 349;
    hone_progress_step(&progress, &off);
    hone_progress_step(&progress, &row);
    hone_progress_end(&progress);
    read_all(file, text, sizeof text);
    assert_string_equal(text, "  step 350/700   50%  loss 4.812  bpb 1.870 (held out 1.910 @300)   1,912 tok/s  171 GFLOP/s 75% of peak  540 MiB  left 12:31\n");
    fclose(file);
}

// On a terminal a line is redrawn in place: a carriage return, never a newline before the end, never wider than the screen.
static void test_terminal_line_is_redrawn_in_place(void **state)
{
    (void)state;
    int master, slave;
    struct winsize size = { .ws_row = 24, .ws_col = 80 };
    assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
    FILE *file = fdopen(slave, "w");
    hone_progress progress;
    hone_progress_open(&progress, file, 50, 228e9);
    assert_true(progress.terminal);
    hone_progress_step(&progress, &row);
    progress.drawn_s = 0; // long ago
    hone_progress_step(&progress, &row);
    hone_progress_say(&progress, "hello");
    char text[1024] = "";
    for (size_t used = 0; !strstr(text, "hello"); ) { // the terminal hands bytes on when it likes
        ssize_t n = read(master, text + used, sizeof text - 1 - used);
        assert_true(n > 0);
        text[used += (size_t)n] = '\0';
    }
    assert_int_equal(text[0], '\r');
    char *second = strchr(text + 1, '\r');
    assert_non_null(second);
    assert_true(second - text <= 80);
    assert_memory_equal(text, second, (size_t)(second - text));
    assert_null(memchr(text, '\n', (size_t)(strstr(text, "hello") - text)));
    fclose(file);
    close(master);
}

static void test_log_rows_are_json_lines(void **state)
{
    (void)state;
    char folder[] = "/tmp/hone_log_XXXXXX", *text;
    size_t size;
    assert_non_null(mkdtemp(folder));
    hone_log log;
    assert_int_equal(hone_log_open(&log, folder), HONE_OK);
    assert_int_equal(hone_log_add(&log, "step", json_pack("{s:i, s:f}", "step", 3, "loss", 1.5)), HONE_OK);
    assert_int_equal(hone_log_add(&log, "end", json_object()), HONE_OK);
    assert_int_equal(hone_log_add(&log, "end", NULL), HONE_FAILED);
    assert_int_equal(hone_file_read(log.path, &text, &size), HONE_OK);
    char *second = strchr(text, '\n') + 1;
    json_t *first = json_loadb(text, (size_t)(second - text), 0, NULL), *last = json_loads(second, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(first, "event")), "step");
    assert_true(json_real_value(json_object_get(first, "loss")) == 1.5);
    assert_string_equal(json_string_value(json_object_get(last, "event")), "end");
    json_decref(first);
    json_decref(last);
    hone_free(text);
    hone_log_close(&log);
    assert_int_equal(hone_dir_remove(folder), HONE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_read_well),
        cmocka_unit_test(test_piped_progress_is_whole_lines_every_so_many_steps),
        cmocka_unit_test(test_terminal_line_is_redrawn_in_place),
        cmocka_unit_test(test_log_rows_are_json_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
