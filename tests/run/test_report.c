// A report says what the log says: predictions of the plan beside what was measured, in a terminal, Markdown and JSON.
#include "base/file.h"
#include "run/report.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/verb.h"
#include <math.h>
#include <string.h>

static char *write_log(bool ended)
{
    const char *run = test_path("run");
    hone_dir_remove(run);
    assert_int_equal(hone_dir_create(run), HONE_OK);
    char *path = hone_path_join(run, "log.jsonl");
    hone_buffer rows = { 0 };
    hone_status bad = hone_buffer_print(&rows, "{\"event\":\"start\",\"time\":\"2026-01-31T12:00:00Z\",\"recipe\":{\"max_steps\":100,\"price_per_hour\":7.2,\"gco2_per_kwh\":100},"
                                        "\"plan\":{\"process_bytes\":104857600,\"energy_kwh\":0.01,\"money\":0.2,\"co2_g\":1,"
                                        "\"tokens_per_second\":1000},\"machine\":{\"name\":\"x\",\"cpu\":\"A cpu\",\"threads\":2,\"instructions\":\"avx2\"}}\n");
    for (int s = 1; s <= 100; s++) // rates 901..1000, median 951
        bad |= hone_buffer_print(&rows, "{\"event\":\"step\",\"step\":%d,\"loss\":%g,\"tokens_per_second\":%d,\"resident_bytes\":%d}\n", s, 5 - s / 50.0, 900 + s, 1000000 + s);
    bad |= hone_buffer_print(&rows, "{\"event\":\"eval\",\"step\":50,\"loss\":3.25,\"standard_error\":0.01}\n{\"event\":\"eval\",\"step\":100,\"loss\":3.5,\"standard_error\":0.02}\n");
    bad |= hone_buffer_print(&rows, "{\"event\":\"save_failed\",\"step\":60,\"error\":\"disk is full\"}\n{\"event\":\"save\",\"step\":100,\"bytes\":1048576,\"seconds\":0.5}\n");
    if (ended) bad |= hone_buffer_print(&rows, "{\"event\":\"end\",\"step\":100,\"elapsed_seconds\":125,\"peak_resident_bytes\":99614720,\"energy_kwh\":0.012}\n");
    assert_int_equal(bad, HONE_OK);
    assert_int_equal(hone_file_write(path, rows.data, rows.size), HONE_OK);
    hone_buffer_release(&rows);
    hone_free(path);
    return hone_strdup(run);
}

static double measured(const json_t *report, const char *what)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(report, "predicted_measured"), i, row)
        if (strcmp(json_string_value(json_object_get(row, "what")), what) == 0) return json_number_value(json_object_get(row, "measured"));
    fail_msg("no row %s", what);
    return 0;
}

static void test_predicted_stands_beside_measured(void **state)
{
    (void)state;
    char *run = write_log(true);
    json_t *report;
    if (hone_report_of_folder(run, &report)) fail_msg("%s", hone_error());
    assert_true(measured(report, "process memory") == 99614720);
    assert_true(measured(report, "tokens a second") == 951);
    assert_true(measured(report, "time") == 125);
    const json_t *course = json_object_get(report, "course");
    assert_int_equal(json_array_size(course), 12);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(course, 0), "step")), 1);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(course, 11), "step")), 100);
    hone_buffer text = { 0 }, markdown = { 0 };
    assert_int_equal(hone_report_print(report, HONE_REPORT_TERMINAL, &text), HONE_OK);
    assert_int_equal(hone_report_print(report, HONE_REPORT_MARKDOWN, &markdown), HONE_OK);
    static const char *const said[] = { "process memory                 100 MiB        95.0 MiB     -5.0 %\n", "energy                         10.0 Wh         12.0 Wh    +20.0 %\n",
                                        "cost                              0.20            0.25    +25.0 %\n", "CO2                             1.00 g          1.20 g    +20.0 %\n", "held-out loss                   3.5000  +- 0.0200 at step 100\n",
                                        "best held-out loss              3.2500  at step 50\n", "save_failed", "disk is full", "  ended  ", "A cpu, 2 threads, avx2" };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (!strstr(text.data, said[i])) fail_msg("no \"%s\" in\n%s", said[i], text.data);
    assert_non_null(strstr(markdown.data, "| process memory | 100 MiB | 95.0 MiB | -5.0 % |\n"));
    assert_non_null(strstr(markdown.data, "|---|---:|---:|---:|\n"));
    hone_buffer_release(&text);
    hone_buffer_release(&markdown);
    json_decref(report);
    hone_free(run);
}

static void test_run_under_way_is_reported_by_what_it_has_logged(void **state)
{
    (void)state;
    char *run = write_log(false), *output;
    json_t *report;
    assert_int_equal(hone_report_of_folder(run, &report), HONE_OK);
    assert_true(measured(report, "process memory") == 1000100); // the most of any step
    json_decref(report);
    assert_int_equal(verb(&output, (const char *[]){ "report", run, "--format", "json", NULL }), 0);
    assert_int_equal(hone_json_parse("report", output, strlen(output), &report), HONE_OK);
    json_decref(report);
    hone_free(output);
    assert_int_equal(verb(&output, (const char *[]){ "report", run, "--format", "xml", NULL }), 2);
    hone_free(output);
    assert_int_equal(verb(&output, (const char *[]){ "report", "/no/such/run", NULL }), 1);
    assert_non_null(strstr(output, "holds no log.jsonl"));
    hone_free(output);
    hone_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_predicted_stands_beside_measured), cmocka_unit_test(test_run_under_way_is_reported_by_what_it_has_logged) };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
