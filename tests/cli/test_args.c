// test_args.c: the option parser.
#include "support/cmocka_all.h"
#include "cli/args.h"

static int64_t number;
static double real;
static bool flag;
static const char *text;
static hone_cli_texts texts;
static const hone_cli_option options[] = {
    { "number", HONE_CLI_INT, &number, "N", "a number" }, { "real", HONE_CLI_REAL, &real, "X", "a real" },
    { "flag", HONE_CLI_FLAG, &flag, NULL, "a flag" },     { "text", HONE_CLI_TEXT, &text, "T", "a text" },
    { "stop", HONE_CLI_TEXTS, &texts, "T", "texts" },     { 0 } };
static const hone_cli_command command = { "test", "[options] FILE...", "Tests.", "hone test", options };

static char *argv[16];
static int argc;

// Parses up to 8 words; NULL ends them.
static hone_status parse(const char *const *words)
{
    static char copies[16][64];
    number = 1; real = 1; flag = false; text = "unset"; texts.count = 0;
    for (argc = 0; words[argc]; argc++) {
        snprintf(copies[argc], sizeof copies[argc], "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    bool done;
    return hone_cli_parse(&command, &argc, argv, &done);
}
#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static void test_options_and_operands_may_mix(void **state)
{
    (void)state;
    assert_int_equal(PARSE("a", "--number", "-5", "b", "--real=2.5e-1", "--flag", "-", "--stop", "x", "--stop=y"), HONE_OK);
    assert_int_equal(number, -5);
    assert_true(real == 0.25);
    assert_true(flag);
    assert_string_equal(text, "unset");
    assert_int_equal(texts.count, 2);
    assert_string_equal(texts.text[1], "y");
    assert_int_equal(argc, 3);
    assert_string_equal(argv[0], "a");
    assert_string_equal(argv[1], "b");
    assert_string_equal(argv[2], "-");
    assert_int_equal(PARSE("--text", "--flag", "--", "--number"), HONE_OK); // a value may look like an option
    assert_string_equal(text, "--flag");
    assert_int_equal(argc, 1);
    assert_string_equal(argv[0], "--number");
    assert_int_equal(PARSE("--text=a=b"), HONE_OK);
    assert_string_equal(text, "a=b");
}

static void expect_usage(hone_status status, const char *part)
{
    assert_int_equal(status, HONE_USAGE);
    if (!strstr(hone_error(), part)) fail_msg("\"%s\" lacks \"%s\"", hone_error(), part);
}

static void test_wrong_options_are_named_with_a_remedy(void **state)
{
    (void)state;
    expect_usage(PARSE("--numbr", "5"), "did you mean --number?");
    expect_usage(PARSE("--numbr=5"), "did you mean --number?");
    expect_usage(PARSE("--zzzzzzz"), "hone test --help");
    expect_usage(PARSE("--num", "5"), "--num"); // a prefix is not the option
    expect_usage(PARSE("-n"), "two dashes");
    expect_usage(PARSE("--number"), "needs a value");
    expect_usage(PARSE("--number", "5k"), "5k");
    expect_usage(PARSE("--number", ""), "whole number");
    expect_usage(PARSE("--number", "99999999999999999999"), "whole number");
    expect_usage(PARSE("--real", "nan"), "must be a number");
    expect_usage(PARSE("--flag=yes"), "takes no value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_and_operands_may_mix),
        cmocka_unit_test(test_wrong_options_are_named_with_a_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
